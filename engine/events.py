"""What one turn of a conversation tells whoever shows it: plain values, no SDK and no screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


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
    """The turn ends here until the customer decides; nothing has been done yet.

    Pass it to `Conversation.decide`. `question` holds facts from the database, never words of
    the model.
    """

    id: str
    question: str


@dataclass(frozen=True)
class Settled:
    """A question is closed: `text` says what was done, or, if not `done`, that nothing was."""

    done: bool
    text: str


@dataclass(frozen=True)
class QuestionLost:
    """The stored question cannot be read: another version of the SDK or the agents wrote it."""


@dataclass(frozen=True)
class Stopped:
    """The customer stopped the answer; what was shown of it stays, marked as stopped."""


Event: TypeAlias = (
    Waiting | Text | HandedOff | ToolStarted | ApprovalNeeded | Settled | QuestionLost | Stopped
)


class Reason(Enum):
    """Why a turn failed. The value says what happened; the screen says what to do about it."""

    MESSAGE_TOO_LONG = "That message is too long."
    MESSAGE_EMPTY = "There was nothing to read in that message."
    NOTHING_TO_RETRY = "No message waits for an answer: there is nothing to retry."
    DECIDED_ELSEWHERE = "That question was already answered elsewhere, or forgotten."
    OTHER_EMAIL = "This conversation belongs to another address."
    TAKEN_OVER = "Another terminal took this conversation over."
    DATABASE_REFUSED = "MongoDB refused a command."
    DATABASE_SILENT = "MongoDB stopped answering."
    KEY_REFUSED = "The model's server refused the API key."
    MODEL_UNKNOWN = "The model's server does not know this model."
    QUOTA_USED_UP = "The quota of this API key is used up."
    MODEL_BUSY = "The model is busy."
    MODEL_SILENT = "The model did not answer."
    MODEL_UNREACHABLE = "No connection to the model's server."
    HISTORY_TOO_LONG = "This conversation is too long for the model."
    REQUEST_REFUSED = "The model's server refused the request."
    ANSWER_EMPTY = "The model gave an empty answer."
    ANSWER_UNREADABLE = "The model's answer could not be read."


class TurnFailed(Exception):
    """A turn ended without an answer; `reason` says why, and `str()` says it in plain words.

    `shown`: the customer has seen a part of the answer. `maybe_stored`: MongoDB did not confirm
    the last write, which may be there all the same.
    """

    def __init__(
        self,
        reason: Reason,
        text: str | None = None,
        *,
        shown: bool = False,
        maybe_stored: bool = False,
    ) -> None:
        super().__init__(text or reason.value)
        self.reason = reason
        self.shown = shown
        self.maybe_stored = maybe_stored


class Refusal(Exception):
    """The answer is no; the text says why, in words for the customer."""
