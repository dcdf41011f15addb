"""The document of one conversation in `conversations`: what the SDK's session does not remember.

This is the only description of it. Every write of it is in lease.py; the comments say on whose
behalf it is made. A step is what the SDK stores at once: what one `add_items` is given. Values that
hold the owner's words are sealed: strings that the session's own `_serialize_item` wrote, as in
`agent_messages`, so that a session that encrypts covers them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypedDict

from pymongo import ReadPreference
from pymongo.asynchronous.collection import AsyncCollection

from engine.events import Reason, TurnFailed

FORMAT = 2  # 1 had no inbox, `email` for `owner`, and a pending approval that was not sealed
REMEMBERED = 20  # ids of accepted messages
# No lease (to MongoDB, what is missing comes before every date), or one whose time is over.
FREE = {"$expr": {"$lt": ["$lease.until", "$$NOW"]}}
# What `recover` looks for, and its partial index holds: most conversations are answered.
UNANSWERED = {"unanswered_since": {"$gt": datetime(1970, 1, 1, tzinfo=timezone.utc)}}

Fields = Mapping[str, Any]  # of a record, for one write
Records = AsyncCollection[dict[str, Any]]


class Collections(NamedTuple):
    """Where a conversation is stored: the SDK's two, and that of the records."""

    sessions: AsyncCollection[Any]
    messages: AsyncCollection[Any]
    records: Records


class InboxEntry(TypedDict):
    """A message that was accepted and that no stored step has taken along yet."""

    id: str
    item: str  # sealed


class Pending(TypedDict):
    """The approval that waits for the owner's decision.

    An agent that is a tool may make several calls that need a yes. The SDK makes them once all are
    decided. So a run that waits for the next decision may hold calls that have got their yes:
    `approved`.
    """

    id: str
    tool: str
    approved: list[list[str]]  # id and tool of each; format 1 lacks it
    call: str  # sealed: the call as the model wrote it
    state: str  # sealed: the SDK's RunState


class Withdrawn(TypedDict):
    """The approval that a message has withdrawn."""

    id: str
    tool: str
    call: str


class Term(TypedDict):
    """Whose turn it is, and until when."""

    process: str  # id of the holder's `Lease` object: what it left behind, it may take at once
    holder: str  # new for each turn: every write names it
    until: datetime  # by the server's clock
    server_session: dict[str, Any] | None  # of the holder's transactions
    writes: int  # every write counts it up, and so locks the record


class Moving(TypedDict):
    """A step that takes messages along from the inbox to the history, on a standalone."""

    seq: int  # it is stored under this number or a higher one
    messages: int  # how many
    digest: str  # of the step


class Record(TypedDict, total=False):
    _id: str  # the session's id
    format: int  # `FORMAT` of the engine that last took the lease
    owner: str  # whom the conversation belongs to; set when the record is created
    lease: Term | None  # taken, renewed and given back by `Lease`
    inbox: list[InboxEntry]  # a message comes with the lease, and goes with the first stored step
    accepted: list[str]  # the last ids, oldest first; never empty, since a new record gets one
    unanswered_since: datetime | None  # when an answer was last tried; None after a last write
    # Set with the call that waits. Cleared by a message, a person's answer or a no; after a yes, by
    # the tool's write, or by the next step if the tool writes nothing.
    pending: Pending | None
    withdrawn: Withdrawn | None  # until the owner is told
    deed: str | None  # sealed: what an approved call answered, until a step has it (deed.py)
    active_agent: str  # who answers next; written with each step
    messages: int  # how many are in the history; on a standalone, a kill may leave it too low
    moving: Moving | None  # on a standalone, set before the inbox is written to the history
    usage: dict[str, int]  # calls, input_tokens, cached_tokens, output_tokens; added up at each end
    updated_at: datetime  # for `remove_idle` and the greeting


def primary(collection: AsyncCollection[Any]) -> AsyncCollection[Any]:
    """`collection`, read from the primary: a secondary may lack the last turn."""
    return collection.with_options(read_preference=ReadPreference.PRIMARY)


def check_record(record: Mapping[str, Any], owner: str) -> None:
    """Raises TurnFailed if `record` is not for this owner, or not for this engine."""
    if record.get("format", 1) > FORMAT:
        raise TurnFailed(Reason.NEWER_FORMAT)
    if owner_of(record) not in (None, owner):
        raise TurnFailed(Reason.OTHER_OWNER, f"This conversation belongs to another than {owner}.")


def is_held(record: Record) -> bool:
    """Whether somebody holds the lease. The server's clock decides it, and ours may differ."""
    if not (term := record.get("lease")):
        return False
    return in_utc(term["until"]) > datetime.now(timezone.utc)


def in_utc(time: datetime) -> datetime:
    """`time` with its zone, which pymongo leaves out unless the client is `tz_aware`."""
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def owner_of(record: Mapping[str, object]) -> str | None:
    """The owner, also in format 1; None in a record that is not there."""
    owner = record.get("owner") or record.get("email")
    return str(owner) if owner else None
