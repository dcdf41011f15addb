"""What the builder gave `Conversation.open`, as the engine uses it in each turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from agents import Agent, AgentHooks, Handoff, Model, RunConfig, RunHooks, Tool
from pydantic_core import to_json

from engine.errors import failure
from engine.events import Reason, TurnFailed
from engine.history import text_of
from engine.models.checked import CheckedModel, CheckedProvider
from engine.options import Approval, Limits, Words
from engine.text import clean

# Called with the call's id, its output and its tool's name.
INNER: ContextVar[Callable[[str | None, object, str], None]] = ContextVar("inner")
Content: TypeAlias = "str | list[dict[str, Any]]"


@dataclass(frozen=True)
class Setup:
    """See `Conversation.open` for what each of them is."""

    agent: Agent[Any]
    agents: Mapping[str, Agent[Any]]  # by name, all that `agent` leads to
    guards_outputs: bool  # whether a guardrail may withhold what a tool has answered
    context: Any
    approvals: Mapping[str, Approval]
    check: Callable[[Content], str | None]
    instead: Callable[[Mapping[str, object]], str | None]
    run_config: RunConfig
    hooks: RunHooks[Any]
    limits: Limits
    words: Words

    def checked(self, message: Content) -> Content:
        """`message`, cleaned. Raises TurnFailed if it is not taken."""
        content: Content = clean(message).strip() if isinstance(message, str) else _parts(message)
        text = text_of({"content": message})
        if len(text) > self.limits.message:
            told = (
                f"That message has {len(text):,} characters; {self.limits.message:,} is the most."
            )
            raise TurnFailed(Reason.MESSAGE_TOO_LONG, told)
        if not content:
            raise TurnFailed(Reason.MESSAGE_EMPTY)
        if len(to_json(content)) > self.limits.message_bytes:
            raise TurnFailed(Reason.MESSAGE_TOO_LONG)
        try:
            refused = self.check(content)
        except Exception as error:
            raise failure(error) from error
        if refused:
            raise TurnFailed(Reason.MESSAGE_BLOCKED, refused)
        return content


def _parts(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The content parts, with their texts cleaned; none of them if there is nothing to read."""
    parts = [_cleaned(part) for part in content]
    read = [part for part in parts if "text" not in part or str(part["text"] or "").strip()]
    return parts if read else []


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {name: _cleaned(each) for name, each in value.items()}
    return [_cleaned(each) for each in value] if isinstance(value, list) else value


def prepared(agent: Agent[Any]) -> Iterator[tuple[Agent[Any], bool]]:
    """All agents that `agent` leads to, and whether as a tool.

    It changes them: from here on, their models are checked, and those that are tools tell what
    happens in them.
    """
    seen: set[tuple[int, bool]] = set()
    waiting: list[tuple[Any, bool]] = [(agent, False)]
    while waiting:
        target, is_tool = waiting.pop()
        if isinstance(target, Handoff):
            target = target._agent_ref() if target._agent_ref else None
        if not isinstance(target, Agent) or (id(target), is_tool) in seen:
            continue
        seen.add((id(target), is_tool))
        if isinstance(target.model, Model):
            target.model = CheckedModel.of(target.model)
        if is_tool:
            target.hooks = InnerHooks.of(target.hooks)
        yield target, is_tool
        waiting += [(each, is_tool) for each in target.handoffs]
        waiting += [(getattr(tool, "_agent_instance", None), True) for tool in target.tools]


def by_name(agents: Iterable[Agent[Any]]) -> dict[str, Agent[Any]]:
    """Raises ValueError if two have one name: who answers next is stored by the name."""
    found: dict[str, Agent[Any]] = {}
    for agent in agents:
        if found.setdefault(agent.name, agent) is not agent:
            raise ValueError(f'Two agents have the name "{agent.name}".')
    return found


def guards_outputs(agent: Agent[Any]) -> bool:
    """Whether a guardrail may withhold what a tool of `agent` has answered."""
    sources = *agent.tools, *agent.mcp_servers
    of_tools = (getattr(each, "tool_output_guardrails", None) for each in sources)
    return bool(agent.output_guardrails) or any(of_tools)


class InnerHooks(AgentHooks[Any]):
    """The hooks of an agent that is a tool: the SDK tells its run to nobody else.

    The builder's agents may serve many conversations at once, so each run leaves in INNER whom to
    tell.
    """

    def __init__(self, builders: AgentHooks[Any]) -> None:
        names = "on_start", "on_end", "on_handoff", "on_tool_start", "on_llm_start", "on_llm_end"
        for name in names:
            setattr(self, name, getattr(builders, name))
        self._builders = builders

    @classmethod
    def of(cls, hooks: AgentHooks[Any] | None) -> InnerHooks:
        return hooks if isinstance(hooks, cls) else cls(hooks or AgentHooks())

    async def on_tool_end(self, context: Any, agent: Any, tool: Tool, result: object) -> None:
        if settle := INNER.get(None):
            settle(getattr(context, "tool_call_id", None), result, tool.name)
        await self._builders.on_tool_end(context, agent, tool, result)


def completed(given: RunConfig, conversation: str) -> RunConfig:
    """The builder's run config, with what the engine needs. Raises ValueError."""
    if given.session_input_callback:
        raise ValueError(
            "The engine's input is the history, so a session_input_callback gets no new message: "
            "use RunConfig.call_model_input_filter, or Limits."
        )
    return dataclasses.replace(
        given,
        model=CheckedModel.of(given.model) if isinstance(given.model, Model) else given.model,
        model_provider=CheckedProvider(given.model_provider),
        session_settings=None,  # `Limits` rules; the SDK asks with one only for the last items
        group_id=given.group_id or conversation,
        tool_not_found_behavior="return_error_to_model",
    )
