"""What waits for the customer's yes: the SDK's interrupted RunState, asked, stored, decided."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from agents import Agent, RunState
from agents.items import ToolApprovalItem
from pymongo.errors import PyMongoError

from database import Document
from engine.events import Refusal

Arguments = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Approval:
    """What the shop says around a tool that needs a yes.

    `ask`: the question, from the run's context and the call's arguments. It tells facts from the
    database, and raises Refusal if the tool would refuse, so that nobody is asked in vain.
    `done`: after a yes, what the database now says was done, or None. `declined`: after a no.
    """

    ask: Callable[[Any, Arguments], Awaitable[str]]
    done: Callable[[Any, Arguments], Awaitable[str | None]]
    declined: str


class Commit(Protocol):
    """Runs a write after a yes: it is committed together with the end of its question."""

    async def __call__(self, write: Callable[[], Awaitable[T]]) -> T: ...


async def commit_alone(write: Callable[[], Awaitable[T]]) -> T:
    """For a tool that runs outside a conversation."""
    return await write()


def call_of(state: RunState[Any]) -> ToolApprovalItem:
    """The call that waits. If several wait, the customer is asked about one at a time."""
    return state.get_interruptions()[0]


def arguments_of(call: ToolApprovalItem) -> Arguments:
    """The call's arguments. Raises Refusal if the model did not write a JSON object."""
    try:
        arguments = json.loads(call.arguments or "")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise Refusal("The arguments of that call are not a JSON object. Call it again.")
    return arguments


def decide(state: RunState[Any], *, yes: bool, reason: str = "") -> None:
    """Write the decision into `state`; after a no, the model is told `reason`."""
    if yes:
        state.approve(call_of(state))
    else:
        state.reject(call_of(state), rejection_message=reason)


class Questions:
    """The questions of one conversation: asked, kept in MongoDB, and taken up again."""

    def __init__(self, approvals: Mapping[str, Approval], agent: Agent[Any], context: Any) -> None:
        """`approvals` by the names of their tools; `agent` leads to all agents."""
        self._approvals = approvals
        self._agent = agent
        self._context = context
        self._kept: tuple[str, RunState[Any]] | None = None  # saves reading the last state again

    async def ask(self, state: RunState[Any]) -> str | None:
        """What to ask the customer; None if the shop refuses; `state` then holds the refusal."""
        call = call_of(state)
        try:
            approval = self._approvals.get(call.name or "")
            if approval is None:
                raise Refusal(f"{call.name} cannot be approved here.")
            return await approval.ask(self._context, arguments_of(call))
        except Refusal as refusal:
            decide(state, yes=False, reason=str(refusal))
            return None

    def suspended(self, state: RunState[Any]) -> Document:
        """`conversations.pending`: what `state` waits for, in words, and the state itself."""
        call, new_id = call_of(state), uuid.uuid4().hex
        self._kept = new_id, state
        return {
            "id": new_id,
            "agent": call.agent.name,
            "tool": call.name,
            "arguments": call.arguments,
            "state": state.to_string(context_serializer=lambda _: {}),
        }

    async def restored(self, pending: Document) -> RunState[Any] | None:
        """The run that `pending` holds; None if it cannot be read."""
        kept, self._kept = self._kept, None
        if kept and kept[0] == pending["id"]:
            return kept[1]
        try:
            # Without context_override, the tools would get an empty context.
            return await RunState.from_string(
                self._agent, pending["state"], context_override=self._context
            )
        except Exception:  # another version of the SDK or of the agents wrote it
            return None

    async def done(self, call: ToolApprovalItem) -> str | None:
        """What the database now says was done by `call`, which was approved."""
        with suppress(Refusal, PyMongoError):
            approval = self._approvals[call.name or ""]
            return await approval.done(self._context, arguments_of(call))
        return None

    def declined(self, pending: Document) -> str:
        """What to tell the customer if `pending` is not done."""
        approval = self._approvals.get(pending.get("tool") or "")
        return approval.declined if approval else "Nothing was done."
