"""One call of the SDK's Runner, told as events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from agents import (
    Agent,
    RawResponsesStreamEvent,
    RunContextWrapper,
    RunErrorHandlerInput,
    RunHooks,
    RunItemStreamEvent,
    Runner,
    RunState,
    Tool,
    Usage,
    default_tool_error_function,
)
from agents.items import MessageOutputItem, ToolCallItem, ToolCallOutputItem
from agents.stream_events import AgentUpdatedStreamEvent

from engine.events import (
    CutOff,
    HandedOff,
    Reason,
    ServerBusy,
    Settled,
    Text,
    ToolStarted,
    TurnFailed,
)
from engine.history import CUT_OFF, first_line, text_of
from engine.models.checked import Pause
from engine.session import TurnSession
from engine.setup import INNER, Setup
from engine.stream import Stream

DELTAS = ("response.output_text.delta", "response.refusal.delta")
ENDS = ("response.completed", "response.incomplete")
# What a tool that raised has answered, unless the builder words it.
RAISED = default_tool_error_function(RunContextWrapper(None), Exception())


class Run:
    """It begins when it is made; `tell_all` tells what happens, to its end."""

    def __init__(
        self,
        setup: Setup,
        agent: Agent[Any],
        todo: list[Any] | RunState[Any],
        *,
        earlier: Run | None,
        approved: Mapping[str, str],
        stream: Stream,
        session: TurnSession,
    ) -> None:
        """`earlier` is the run before, in the same turn; `approved` the calls in `todo` that have
        got a yes: the name of the tool by the call's id."""
        self.unfinished = ""  # what was shown of a response that has not come to its end
        self.overdue = False  # whether its time was up before it came to its end
        self.busy = isinstance(todo, RunState)  # a tool may run, or a response is complete
        self.unsettled = dict(approved)  # those whose end the owner was not told yet
        self.ended: set[str] = set()  # ids of calls whose tools have run: no guardrail refused them
        self.stopped = False  # by the owner, or because its time is up
        self._stream = stream
        self._session = session
        # All runs of a turn share its time.
        now = asyncio.get_running_loop().time()
        self._deadline: float = earlier._deadline if earlier else now + setup.limits.seconds
        INNER.set(self.settle)
        self.result = Runner.run_streamed(
            agent,
            todo,
            context=setup.context,
            session=session,
            run_config=setup.run_config,
            hooks=_Hooks(self, session, setup.hooks),
            max_turns=setup.limits.model_calls,
            error_handlers={
                "max_turns": lambda error: _says(error, setup.words.too_many_steps),
                "model_refusal": lambda error: _says(error, setup.words.refused),
            },
        )
        # A state that waited for approval brings the usage of the turns before.
        self._used_before: tuple[int, ...] = earlier._used_before if earlier else self._used()

    @property
    def usage(self) -> Usage:
        """What the turn has used up to now, inner agents included."""
        calls, read, cached, written, total = (
            now - before for now, before in zip(self._used(), self._used_before, strict=True)
        )
        usage = Usage(requests=calls, input_tokens=read, output_tokens=written, total_tokens=total)
        usage.input_tokens_details.cached_tokens = cached
        return usage

    @property
    def withheld(self) -> bool:
        """Whether an approved call has written, and a guardrail withholds what it answered."""
        deed = self._session.deed
        return bool(deed.written and self.unsettled and not deed.outputs)

    def _used(self) -> tuple[int, ...]:
        """Calls of the model; tokens in, of them cached, out; all tokens."""
        usage = self.result.context_wrapper.usage
        cached = usage.input_tokens_details.cached_tokens or 0
        return (usage.requests, usage.input_tokens, cached, usage.output_tokens, usage.total_tokens)

    def cancel(self) -> None:
        """Stop the run. A running tool finishes, and its step is stored."""
        self.stopped = True
        self.result.cancel("after_turn" if self.busy else "immediate")

    async def tell_all(self) -> None:
        """Tell what happens, until the run ends.

        Raises what the SDK raises, and TimeoutError if its time is up before anything was shown.
        """
        overdue = asyncio.Event()

        def out_of_time() -> None:
            overdue.set()
            self.cancel()

        # One timer: ModelSettings.timeout costs a task for each piece of an answer.
        timer = asyncio.get_running_loop().call_at(self._deadline, out_of_time)
        try:
            await self._tell_events()
        finally:
            timer.cancel()
            # If the reader has gone, the SDK keeps running, and even after a cancel it may still
            # write. So wait for its task.
            task = self.result.run_loop_task
            if task and not task.done():
                await asyncio.wait({task})
        if task and task.cancelled() and not self.stopped:  # by the builder's code, or a client's
            raise TurnFailed(Reason.PROGRAM_ERROR)
        self.overdue = (
            overdue.is_set()
            and self.result.final_output is None
            and not self.result.interruptions  # what waits for the owner is an end, too
        )
        if self.overdue and not self.unfinished.strip():
            raise TimeoutError

    async def _tell_events(self) -> None:
        agent = self.result.current_agent
        is_told = _writes_text(agent)
        streamed, message = 0, None  # messages that came in pieces; the one that comes now
        async for event in self.result.stream_events():
            match event:
                case RawResponsesStreamEvent(data=data) if data.type in DELTAS:
                    delta = getattr(data, "delta", "")
                    # llama.cpp's server gives no index, and the SDK gives all messages one id.
                    place = getattr(data, "output_index", None), getattr(data, "item_id", None)
                    if not delta or not is_told:
                        continue
                    if place != message:
                        message, streamed, delta = place, streamed + 1, self._apart(delta)
                    self.unfinished += delta
                    self._stream.tell(Text(delta))
                case RawResponsesStreamEvent(data=Pause(seconds)):
                    self._stream.tell(ServerBusy(seconds))
                case RawResponsesStreamEvent(data=data):
                    if data.type in ("response.created", *ENDS):
                        self.unfinished = ""  # what is complete is stored by the SDK
                case AgentUpdatedStreamEvent(new_agent=new) if new is not agent:
                    agent, is_told = new, _writes_text(new)
                    self._stream.tell(HandedOff(agent.name))
                case RunItemStreamEvent(name="tool_called", item=ToolCallItem() as called):
                    self._stream.tell(ToolStarted(called.tool_name or "a tool"))
                    self._settle_hosted(called.raw_item)
                case RunItemStreamEvent(item=ToolCallOutputItem() as output):
                    is_function = output.to_input_item().get("type") == "function_call_output"
                    made = not is_function or output.call_id in self.ended
                    self.settle(output.call_id, output.output, made=made)
                case RunItemStreamEvent(item=MessageOutputItem() as said):
                    # A message that no model streamed, such as the one on too many steps.
                    message, text = None, text_of(said.to_input_item())
                    if streamed:
                        streamed -= 1
                    elif text and is_told:
                        self._stream.tell(Text(self._apart(text)))
                    if text.endswith(CUT_OFF):
                        self._stream.tell(CutOff())

    def settle(
        self, call_id: str | None, output: object, tool: str | None = None, *, made: bool = True
    ) -> None:
        """If the call was approved, tell what it answered: a model may tell something else."""
        if self._session.deed.in_doubt:
            return
        if call_id in self.unsettled and tool in (None, self.unsettled[call_id]):
            del self.unsettled[call_id]
            if (written := self._session.deed.written) is None:
                written = made and output != RAISED
            self._stream.tell(Settled(written, first_line(output)))

    def _settle_hosted(self, call: Any) -> None:
        """Tell what a call answered that the model's server has made, after its approval."""
        if approval := getattr(call, "approval_request_id", None):
            made = call.output is not None
            said = call.output if made else call.error
            self.settle(approval, getattr(said, "message", said), made=made)

    def _apart(self, text: str) -> str:
        """`text` as a paragraph of its own, if this turn has shown words before."""
        return "\n\n" + text if self._stream.said else text


class _Hooks(RunHooks[Any]):
    """What the SDK tells of a run; the builder's own hooks are told the same."""

    def __init__(self, run: Run, session: TurnSession, builders: RunHooks[Any]) -> None:
        self._run = run
        self._session = session
        self._builders = builders
        for name in ("on_agent_start", "on_agent_end", "on_tool_start"):
            setattr(self, name, getattr(builders, name))

    async def on_llm_start(self, context: Any, agent: Agent[Any], *args: Any) -> None:
        self._run.busy = False
        if self._run.stopped:  # since the SDK last looked, between two calls of the model
            self._run.cancel()
        await self._builders.on_llm_start(context, agent, *args)

    async def on_llm_end(self, context: Any, agent: Agent[Any], response: Any) -> None:
        self._run.busy = True  # its tools come next, or its answer is stored
        await self._builders.on_llm_end(context, agent, response)

    async def on_tool_end(
        self, context: Any, agent: Agent[Any], tool: Tool, result: object
    ) -> None:
        self._run.ended.add(getattr(context, "tool_call_id", ""))
        await self._builders.on_tool_end(context, agent, tool, result)

    async def on_handoff(self, context: Any, from_agent: Agent[Any], to_agent: Agent[Any]) -> None:
        self._session.agent = to_agent.name
        await self._builders.on_handoff(context, from_agent, to_agent)


def _writes_text(agent: Agent[Any]) -> bool:
    return agent.output_type in (None, str)


def _says(error: RunErrorHandlerInput[Any], text: str) -> str | None:
    """`text` as the answer of an agent that writes text; for any other, the error is raised."""
    return text if _writes_text(error.run_data.last_agent) else None
