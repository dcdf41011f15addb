"""What one turn of a conversation tells whoever shows it: plain values, no SDK and no screen."""

from __future__ import annotations

from dataclasses import dataclass
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
class Notice:
    """A line for the customer about the conversation itself, no part of the answer."""

    text: str


@dataclass(frozen=True)
class ApprovalNeeded:
    """The turn stands still until the customer decides; nothing has been done yet.

    Pass it to `Conversation.decide`. `question` holds facts from the database, never words of
    the model. Where the approval is older than the message of this turn, the message waits with
    it and is answered after the decision.
    """

    id: str
    question: str


@dataclass(frozen=True)
class Stopped:
    """The customer stopped the answer; what was stored until then stays."""


Event: TypeAlias = Waiting | Text | HandedOff | ToolStarted | Notice | ApprovalNeeded | Stopped


class TurnFailed(Exception):
    """A turn ended without an answer; the text says why and what to do, in plain words."""


class Refusal(Exception):
    """The answer is no; the text says why, in words for the customer."""
