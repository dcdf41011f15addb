"""What a builder may set: limits, the engine's own sentences, and what is said around a yes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Arguments = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one conversation may use."""

    turns: int = 20  # the model sees so many whole turns at most ...
    items: int = 100  # ... out of so many stored items; MongoDB's first batch holds 101
    tokens: int | None = None  # and of them, as many as fit in about so many tokens
    message: int = 4_000  # characters of one message's texts
    message_bytes: int = 2_000_000  # of one message with its pictures and files
    model_calls: int = 10  # in one turn
    seconds: float = 300.0  # for these calls and the tools between; a running tool finishes
    lease_seconds: float = 10.0  # a killed process blocks the conversation for no longer


@dataclass(frozen=True)
class Words:
    """What the engine itself says; `to_model_…` are read by the model, the rest by the owner."""

    too_many_steps: str = "I am sorry, I could not finish this. Please ask for one thing at a time."
    refused: str = "I am sorry, I cannot help with that."
    not_done: str = "It was not done."
    stopped: str = "*(stopped)*"  # ends an answer that the owner stopped
    to_model_declined: str = "The answer was no, so it was not done."
    to_model_gone: str = "This tool is not available any more. Say so."


@dataclass(frozen=True)
class Approval:
    """What is said around a tool that needs a yes. A tool without one gets a plain question.

    `ask`: the question, from the run's context and the call's arguments. It should tell facts, and
    raise Refusal if the tool would refuse, so that nobody is asked in vain. `declined`: what to
    tell after a no. `withdrawn`: what to tell, from the call's arguments, to somebody who was not
    shown the question, such as the owner in another terminal; if None, `declined`.
    """

    ask: Callable[[Any, Arguments], Awaitable[str]]
    declined: str
    withdrawn: Callable[[Arguments], str] | None = None


class Commit(Protocol):
    """Runs a tool's write under the lease; after a yes, together with the end of its approval.

    If the write returns a text, the text must be what the tool answers. It may run more than once,
    so it must do nothing but write to MongoDB, through the session's client. To write nothing after
    all, it raises, for example Refusal. After a kill, a write that needed no approval may be made
    again, since the step with its output is stored later: let it change nothing the second time.
    """

    async def __call__(self, write: Callable[[], Awaitable[T]]) -> T: ...
