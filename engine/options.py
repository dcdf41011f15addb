"""What a builder may set: how much one conversation may use, and the engine's own sentences."""

from __future__ import annotations

from dataclasses import dataclass


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
    """What the engine itself says; `to_model` is read by the model, the rest by the owner."""

    too_many_steps: str = "I am sorry, I could not finish this. Please ask for one thing at a time."
    refused: str = "I am sorry, I cannot help with that."
    not_done: str = "It was not done."
    stopped: str = "*(stopped)*"  # ends an answer that the owner stopped
    to_model_declined: str = "The answer was no, so it was not done."
    to_model_gone: str = "This tool is not available any more. Say so."
