"""The session as the agents get it for one turn: read from memory, written through the fence."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

from agents import TResponseInputItem
from agents.extensions.memory import MongoDBSession
from agents.memory import SessionABC

from engine.history import (
    NOT_TAKEN,
    WITHHELD,
    Item,
    answer,
    begins_turn,
    ends_turn,
    output_of,
    taken,
    transcript,
    waiting_call,
    window,
)
from engine.lease import Lease
from engine.options import Limits
from engine.record import Record, primary

T = TypeVar("T")
DONE = "Done."
NOT_KNOWN = "It is not known whether this was done. Look before you do it again."


class Stored:
    """The end of the history that MongoDB has, kept in memory while nobody else writes."""

    def __init__(self, session: MongoDBSession, limits: Limits) -> None:
        # A copy, so that only the engine reads from the primary whatever the URI prefers.
        self.session = session = copy.copy(session)
        session._messages = primary(session._messages)
        session._sessions = primary(session._sessions)
        self.items: list[Item] = []
        self.limits = limits
        self._version: tuple[Any, int, int] = None, -1, -1  # of `items`

    @property
    def count(self) -> int:
        """How many items the SDK has counted; see `refresh`."""
        return self._version[2]

    async def refresh(self) -> None:
        """Read the last items, and on to the owner's last message.

        They are read again only if the SDK's counters say that somebody else has written since:
        those of generations and items, and the document that holds them, since after a reset it
        counts anew in another one. (Its pop_item counts nothing: an open chat does not see it.)
        """
        of_session = {"session_id": self.session.session_id}
        found = await self.session._sessions.find_one(of_session) or {}
        version = found.get("_id"), found.get("_generation", 0), found.get("_seq", 0)
        limit = self.limits.items
        if version != self._version:
            self.items = await self.read(limit)
            while len(self.items) == limit and not any(map(begins_turn, self.items)):
                limit *= 8
                self.items = await self.read(limit)
        self._version = version

    async def read(self, limit: int | None = None) -> list[Item]:
        """The last `limit` items in MongoDB, oldest first; what is no item at all is left out."""
        items = await self.session.get_items(limit)
        return [cast(Item, item) for item in items if isinstance(item, dict)]

    async def write(self, items: Sequence[Item]) -> None:
        await self.session.add_items(cast("list[TResponseInputItem]", items))

    def grow(self, items: Sequence[Item]) -> None:
        """`items` are in MongoDB now."""
        document, generation, count = self._version
        self._version = document, generation, count + len(items)
        self.items += items
        recent = self.items[-self.limits.items :]
        self.items = recent if any(map(begins_turn, recent)) else self.items

    async def moved(self, record: Record) -> int:
        """How many messages of the inbox are in the history all the same.

        This is for a standalone mongod, where a kill may come between the two writes. The document
        with the number that they would have got must hold their very words. The counter alone is no
        proof: the SDK counts before it writes, and others may write too.
        """
        if not (moving := record.get("moving")):
            return 0
        inbox = [await self.open(each["item"]) for each in record["inbox"][: moving["messages"]]]
        cursor = self.session._messages.find({"session_id": self.session.session_id})
        async for document in cursor.sort("seq", -1).limit(self.limits.items):
            data = document.get("message_data")
            if isinstance(data, list) and document["seq"] - len(data) + 1 == moving["seq"]:
                said = [
                    item for item in [await self.open(each) for each in data] if begins_turn(item)
                ]
                return len(inbox) if said[: len(inbox)] == inbox else 0
        return 0

    async def seal(self, value: Any) -> str:
        """`value`, a JSON object, as the session writes items: encrypted, if it encrypts them."""
        return await self.session._serialize_item(value)

    async def open(self, sealed: str) -> Any:
        """The value that `seal` was given."""
        return await self.session._deserialize_item(sealed)


class TurnSession(SessionABC):
    """What the SDK is given in place of the MongoDBSession, for one turn under the lease.

    Nobody else writes while the lease is held, so the agents get a window of the history and the
    inbox from memory. Each step that they finish is stored in one transaction with what the step
    means for the record. A call that waits for approval is held until `store` is called.
    """

    def __init__(self, stored: Stored, lease: Lease, record: Record) -> None:
        self.session_id = stored.session.session_id
        self.session_settings = None
        self.agent = record.get("active_agent") or ""  # who answers next, by name
        self.fields: dict[str, Any] = {}  # of the record, for the next write
        self.deed: Item | None = None  # what an approved call did before its process was killed
        self._closing = False  # whether the next write through `commit` closes an approval
        self._stored = stored
        self._lease = lease
        self._record = record
        self._ahead: list[Item] = []
        self._held: list[Item] = []  # a step whose call waits for approval

    async def load(self) -> None:
        """Read what this turn begins with."""
        await self._stored.refresh()
        record, stored = self._record, self._stored
        if "messages" not in record:  # a new conversation, or a version that did not count
            known = len(stored.items) < stored.limits.items
            record["messages"] = len(transcript(stored.items if known else await stored.read()))
        if (settled := record.get("settled")) and (call := waiting_call(stored.items)):
            self.deed = output_of(call, (await stored.open(settled))["output"])
            self._ahead.append(self.deed)
        if settled:
            self.fields["settled"] = None
        for each in (record.get("inbox") or [])[await stored.moved(record) :]:
            self._ahead.append(await stored.open(each["item"]))

    @property
    def ahead(self) -> Sequence[Item]:
        """What the next step takes along: an approved call's output, and the inbox."""
        return self._ahead

    @property
    def items(self) -> list[Item]:
        """The end of the history, and what will be stored next."""
        return self._stored.items + self._ahead + self._held

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        limits = self._stored.limits
        return window(taken(self.items), turns=limits.turns, tokens=limits.tokens)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        step = cast("list[Item]", items)
        if waiting_call(step):
            self._held += step
        elif step:
            await self.store(step, last=ends_turn(step))

    async def store(self, step: Sequence[Item] = (), *, last: bool = False, **fields: Any) -> None:
        """Write what is held and `step`, with `fields` of the record, in one transaction.

        The `last` write of a turn also gives the lease back.
        """
        items = [*self._ahead, *self._held, *step]
        new = sum(map(begins_turn, self._ahead))
        fields = {**self.fields, **fields}
        messages = self._record["messages"] + len(transcript(items))
        fields |= {"inbox": [], "moving": None, "messages": messages, "active_agent": self.agent}
        if items:
            await self._lease.commit(
                lambda: self._stored.write(items),
                before={"moving": {"seq": self._stored.count, "messages": new}} if new else None,
                after=fields,
                last=last,
            )
        else:
            await self._lease.update(**fields, last=last)
        self._record["messages"] = messages
        self._stored.grow(items)
        self._ahead, self._held, self.fields = [], [], {}

    async def withhold(self) -> None:
        """Give up the messages that have no answer: they are in no later request.

        What is stored already stays in the history; what is not is left out of it.
        """
        kept = [each for each in self._ahead if not begins_turn(each)]
        withheld = [{"role": "user", "content": WITHHELD}] * (len(self._ahead) - len(kept))
        self._ahead, self._held = kept, []
        await self.store([*withheld, answer(NOT_TAKEN)], last=True)

    def close_approval(self, *, by_deed: bool = False) -> None:
        """The next write closes the approval; `by_deed`: also one that comes through `commit`."""
        self._closing = by_deed
        self.fields |= {"pending": None, "unanswered_since": datetime.now(timezone.utc)}

    async def commit(self, write: Callable[[], Awaitable[T]]) -> T:
        """Run a tool's write under the lease.

        For an approved call, the end of its approval and its output are recorded in the same
        transaction. Whoever goes on after a crash then stores this output, instead of letting the
        model call again. A text that `write` returns is the output.
        """
        if not self._closing:
            return await self._lease.commit(write)

        async def deed() -> T:
            did = await write()
            output = did if isinstance(did, str) else DONE
            await self._lease.set({"settled": await self._stored.seal({"output": output})})
            return did

        unknown = await self._stored.seal({"output": NOT_KNOWN})
        done = await self._lease.commit(deed, before={**self.fields, "settled": unknown})
        self._closing, self.fields = False, {"settled": None}
        return done

    async def pop_item(self) -> TResponseInputItem | None:
        raise NotImplementedError("The engine takes nothing back from the history.")

    async def clear_session(self) -> None:
        raise NotImplementedError("Conversation.erase does it.")
