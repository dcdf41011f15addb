"""What one turn of a conversation tells whoever shows it: plain values, no SDK and no screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # the SDK loads late
    from agents import Usage


@dataclass(frozen=True)
class Waiting:
    """Another process is answering in this conversation; this turn starts when it ends."""


@dataclass(frozen=True)
class Text:
    """A piece of the answer, Markdown, in the order in which the model writes it."""

    delta: str


@dataclass(frozen=True)
class HandedOff:
    """Another agent goes on from here; `agent` is its name, such as `Orders`."""

    agent: str


@dataclass(frozen=True)
class ToolStarted:
    """The model called a tool; `tool` is its name, such as `list_orders`."""

    tool: str


@dataclass(frozen=True)
class ApprovalNeeded:
    """The turn ends here until the owner decides; nothing has been done yet.

    Pass it to `Conversation.decide`. `question` is what `Approval.ask` says; without an Approval,
    the call as the model wrote it.
    """

    id: str
    question: str


@dataclass(frozen=True)
class Settled:
    """An approval is closed. If `done`, the call was made, and `text` is the first line of what it
    answered. Else `text` says that nothing was done, or why: a guardrail refused the call, the tool
    raised an error, or it refused to write. After a crash on a standalone mongod, `done`
    may be True with a `text` that says that it is not known."""

    done: bool
    text: str


@dataclass(frozen=True)
class ApprovalLost:
    """The approval that waits cannot be read: another version of the SDK or the agents wrote it,
    or a tool server is down. It waits until it can be read, or a new message withdraws it."""


@dataclass(frozen=True)
class Stopped:
    """The owner stopped the answer; what was shown of it, if anything, stays, marked as stopped."""


@dataclass(frozen=True)
class CutOff:
    """The answer was not finished, by the model's server or in the turn's time; the piece stays,
    marked as cut off."""


@dataclass(frozen=True)
class ServerBusy:
    """The model's server asks to wait; after `seconds` the turn goes on by itself."""

    seconds: float


@dataclass(frozen=True)
class Finished:
    """The turn has its answer, and the answer is stored.

    `output`: the text; or what `output_type` or a tool that ends the run made of it, which is told
    here only. `agent` gave it. `usage`: what the turn used, inner agents included.
    """

    agent: str
    output: Any
    usage: Usage


Event: TypeAlias = (
    Waiting
    | Text
    | HandedOff
    | ToolStarted
    | ApprovalNeeded
    | Settled
    | ApprovalLost
    | Stopped
    | CutOff
    | ServerBusy
    | Finished
)


class Reason(Enum):
    """Why a turn failed. The value says what happened; the screen says what to do about it."""

    MESSAGE_TOO_LONG = "That message is too long."
    MESSAGE_EMPTY = "There was nothing to read in that message."
    NOTHING_TO_RETRY = "No message waits for an answer: there is nothing to retry."
    ALREADY_ANSWERING = "An answer is under way: wait for its end, or stop it."
    DECIDED_ELSEWHERE = "That question was already answered elsewhere, or forgotten."
    OTHER_OWNER = "This conversation belongs to somebody else."
    NEWER_FORMAT = "A newer version of this program wrote this conversation. Update this one."
    TOO_LARGE = "That is too large to be stored."
    PROGRAM_ERROR = "This program made a mistake."
    MESSAGE_BLOCKED = "That message was not taken."
    ANSWER_BLOCKED = "The answer was withheld by a check."
    TOO_MANY_STEPS = "The model took too many steps."
    MODEL_REFUSED = "The model refused to answer."
    TAKEN_OVER = "Another process took this conversation over."
    DATABASE_REFUSED = "MongoDB refused a command."
    DATABASE_SILENT = "MongoDB stopped answering."
    KEY_REFUSED = "The model's server refused the API key."
    MODEL_UNKNOWN = "The model's server does not know this model, or this address."
    QUOTA_USED_UP = "The quota of this API key is used up."
    MODEL_BUSY = "The model is busy."
    MODEL_SILENT = "The model did not answer."
    MODEL_UNREACHABLE = "No connection to the model's server."
    TOOLS_UNREACHABLE = "A server of tools did not answer."
    HISTORY_TOO_LONG = "This conversation is too long for the model."
    REQUEST_REFUSED = "The model's server refused the request."
    ANSWER_EMPTY = "The model gave an empty answer."
    ANSWER_UNREADABLE = "The model's answer could not be read."


class TurnFailed(Exception):
    """A turn ended without an answer; `reason` says why, and `str()` says it in plain words.

    `shown`: the owner has seen a part of the answer. `accepted`: the message is stored, and `retry`
    answers it. `maybe_stored`: MongoDB did not confirm the last write, which may be there all the
    same.
    """

    def __init__(
        self,
        reason: Reason,
        text: str | None = None,
        *,
        shown: bool = False,
        accepted: bool = False,
        maybe_stored: bool = False,
    ) -> None:
        super().__init__(text or reason.value)
        self.reason = reason
        self.shown = shown
        self.accepted = accepted
        self.maybe_stored = maybe_stored


class Refusal(Exception):
    """The answer is no; the text says why, in words for the owner."""
