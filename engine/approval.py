"""What waits for the owner's yes: the SDK's interrupted RunState, asked, stored, decided."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from agents import RunContextWrapper, RunState
from agents.items import ToolApprovalItem, ToolCallItem, ToolCallOutputItem
from pydantic_core import to_json

from engine.events import ApprovalNeeded, Refusal
from engine.history import Item, waiting_call
from engine.options import Arguments
from engine.record import Pending, Withdrawn
from engine.session import Tail
from engine.setup import Setup

logger = logging.getLogger(__name__)


def call_of(state: RunState[Any]) -> ToolApprovalItem:
    """The call that waits. If several wait, the owner is asked about one at a time."""
    return state.get_interruptions()[0]


def call_in_history(state: RunState[Any]) -> Item | None:
    """The same call as the history has it, or the call of the agent around it, if it is a tool."""
    kinds = ToolCallItem, ToolCallOutputItem
    made = [item.to_input_item() for item in state._generated_items if isinstance(item, kinds)]
    return waiting_call(made, call_of(state).call_id)


class Approvals:
    """The approvals of one conversation: asked, kept in MongoDB, and taken up again."""

    def __init__(self, setup: Setup, tail: Tail) -> None:
        self._setup = setup
        self._tail = tail
        self._last: tuple[str, RunState[Any]] | None = None  # saves reading it again
        self._shown = ""  # the id of the last approval that the owner was asked for here

    async def question_or_refuse(self, state: RunState[Any]) -> str | None:
        """What to ask the owner; None if the call is refused: `state` then holds the refusal."""
        call = call_of(state)
        try:
            if not await self._is_there(call):
                raise Refusal(self._setup.words.to_model_gone)
            if approval := self._setup.approvals.get(call.name or ""):
                return await approval.ask(self._setup.context, _arguments(_written(call)))
            return f"{call.name}({_written(call)})"
        except Refusal as refusal:
            state.reject(call, rejection_message=str(refusal))
            return None

    async def decide(self, state: RunState[Any], yes: bool) -> bool:
        """Write the decision into `state`. Returns whether the call is made: not without a tool."""
        call, to_model = call_of(state), self._setup.words.to_model_declined
        if yes:
            if await self._is_there(call):
                state.approve(call)
                return True
            to_model = self._setup.words.to_model_gone
        state.reject(call, rejection_message=to_model)
        return False

    def show(self, pending: Pending, question: str) -> ApprovalNeeded:
        """The event that asks the owner."""
        self._shown = pending["id"]
        return ApprovalNeeded(pending["id"], question)

    async def suspend(self, state: RunState[Any], approved: Mapping[str, str]) -> Pending:
        """What `state` waits for, as it is stored; `approved` are calls that it will make, too."""
        call, new_id = call_of(state), uuid.uuid4().hex
        self._last = new_id, state
        wanted = {"type": "function_call", "name": call.name, "arguments": _written(call)}
        return {
            "id": new_id,
            "tool": call.name or "",
            "approved": [list(pair) for pair in approved.items()],
            "call": await self._tail.seal(wanted),
            "state": await self._tail.seal(state.to_json(context_serializer=lambda _: {})),
        }

    async def restore(self, pending: Pending) -> RunState[Any] | None:
        """The run that `pending` holds; None if it cannot be read, for now or for good."""
        last, self._last = self._last, None
        if last and last[0] == pending["id"]:
            return last[1]
        try:
            state = await self._tail.unseal(pending["state"])
            # Without context_override, the tools would get an empty context.
            return await RunState.from_json(
                self._setup.agent, state, context_override=self._setup.context
            )
        except Exception:  # another version wrote it, or a tool server is down
            logger.warning("The approval that waits cannot be read", exc_info=True)
            return None

    async def declined(self, of: Pending | Withdrawn) -> str:
        """What to tell the owner if the call is not done."""
        if not (approval := self._setup.approvals.get(of["tool"])):
            return self._setup.words.not_done
        if of["id"] == self._shown or not approval.withdrawn:
            return approval.declined
        try:
            call = await self._tail.unseal(of["call"])
            return approval.withdrawn(_arguments(call["arguments"]))
        except Exception:  # a model wrote something else, or an earlier version did
            logger.warning("What was withdrawn cannot be told", exc_info=True)
            return approval.declined

    async def _is_there(self, call: ToolApprovalItem) -> bool:
        """Whether the agent still has the tool that a local call names."""
        if _raw(call).get("type") != "function_call":
            return True  # the model's server has the tool, or the SDK itself
        tools = await call.agent.get_all_tools(RunContextWrapper(self._setup.context))
        return call.name in {tool.name for tool in tools}


def _raw(call: ToolApprovalItem) -> Item:
    raw: Any = call.raw_item
    return raw if isinstance(raw, dict) else dict(raw.model_dump())


def _written(call: ToolApprovalItem) -> str:
    """The call's arguments; of a shell, an editor or a custom tool, what it is to do, as JSON."""
    raw = _raw(call)
    done_by = (name for name in ("action", "operation", "input") if raw.get(name))
    return next((to_json({name: raw[name]}).decode() for name in done_by), call.arguments or "")


def _arguments(written: str | None) -> Arguments:
    """The call's arguments. Raises Refusal if the model did not write a JSON object."""
    try:
        arguments = json.loads(written or "")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise Refusal("The arguments of that call are not a JSON object. Call it again.")
    return arguments
