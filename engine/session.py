"""The session as the agents get it for one turn: read from memory, written through the fence."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

from agents import TResponseInputItem
from agents.extensions.memory import MongoDBSession
from agents.memory import SessionABC

from engine.deed import Deed
from engine.history import (
    NOT_TAKEN,
    WITHHELD,
    Item,
    assistant_item,
    begins_turn,
    ends_turn,
    transcript,
    waiting_call,
)
from engine.lease import Lease
from engine.models.request import for_model
from engine.options import Limits
from engine.record import Fields, Moving, Record, primary


class Tail:
    """The end of the history that MongoDB has, kept in memory while nobody else writes."""

    def __init__(self, session: MongoDBSession, limits: Limits) -> None:
        # A copy: only the engine reads from the primary whatever the URI prefers, and all items.
        self.session = session = copy.copy(session)
        session.session_settings = None
        session._messages = primary(session._messages)
        session._sessions = primary(session._sessions)
        self.items: list[Item] = []
        self.limits = limits
        # The SDK's counters when `items` were read. At first none fit: so the first turn reads, and
        # the SDK makes its indexes then, outside a transaction.
        self._version: tuple[Any, int, int] = None, -1, -1
        self._whole = True  # whether `items` are all that the SDK had counted

    async def refresh(self) -> None:
        """Read the last items, and on to the owner's last message.

        They are read again only if the SDK's counters say that somebody else has written since:
        those of generations and items, and the document that holds them, since after a reset it
        counts anew in another one. (Its pop_item counts nothing: an open chat does not see it.)
        """
        of_session = {"session_id": self.session.session_id}
        found = await self.session._sessions.find_one(of_session) or {}
        generation, count = found.get("_generation", 0), found.get("_seq", 0)
        version = found.get("_id"), generation, count
        limit = self.limits.items
        if version != self._version or not self._whole:
            # Without a transaction, the SDK counts a step some time before it inserts it.
            last = {**of_session, "generation": {"$in": [generation, None]}, "seq": count - 1}
            self._whole = not count or bool(await self.session._messages.find_one(last, {"_id": 1}))
            self.items = await self.read(limit)
            while len(self.items) == limit and not any(map(begins_turn, self.items)):
                limit *= 8
                self.items = await self.read(limit)
        self._version = version

    async def read(self, limit: int | None = None) -> list[Item]:
        """The last `limit` items in MongoDB, oldest first; what is no item at all is left out."""
        items = await self.session.get_items(limit)
        return [cast(Item, item) for item in items if isinstance(item, dict)]

    def grow(self, items: Sequence[Item]) -> None:
        """`items` are in MongoDB now."""
        document, generation, count = self._version
        self._version = document, generation, count + len(items)
        self.items += items
        recent = self.items[-self.limits.items :]
        self.items = recent if any(map(begins_turn, recent)) else self.items

    async def inbox(self, record: Record) -> list[Item]:
        """The messages of the inbox that are not in the history yet.

        On a standalone mongod a kill may come between the two writes: then some are in both. Only
        the very step that took them along proves it. The counter does not: the SDK counts before it
        writes, and a program without a lease may write in between.
        """
        inbox = [await self.unseal(each["item"]) for each in record.get("inbox") or []]
        if moving := record.get("moving"):
            newer = {"session_id": self.session.session_id, "seq": {"$gte": moving["seq"]}}
            async for document in self.session._messages.find(newer):
                with contextlib.suppress(ValueError, TypeError):  # no step of ours
                    step = [await self.unseal(each) for each in document["message_data"]]
                    if _digest(step) == moving["digest"]:
                        return inbox[moving["messages"] :]
        return inbox

    def moving(self, step: Sequence[Item]) -> Moving | None:
        """What proves that `step` was written; None if it takes no message along."""
        messages = sum(map(begins_turn, step))
        seq = self._version[2]  # the number that it gets, or a later one
        return {"seq": seq, "messages": messages, "digest": _digest(step)} if messages else None

    async def seal(self, value: Any) -> str:
        """`value`, a JSON object, as the session writes items: encrypted, if it encrypts them."""
        return await self.session._serialize_item(value)

    async def unseal(self, sealed: str) -> Any:
        """The value that `seal` was given."""
        return await self.session._deserialize_item(sealed)


class TurnSession(SessionABC):
    """What the SDK is given in place of the MongoDBSession, for one turn under the lease.

    No other holder writes while the lease is held, so the agents get a window of the history, and
    the inbox, from memory. Each step that they finish is stored in one transaction with what the
    step means for the record. A call that waits for approval is held until `store` is called.
    """

    def __init__(self, tail: Tail, lease: Lease, record: Record) -> None:
        self.session_id = tail.session.session_id
        self.session_settings = None
        self.agent = record.get("active_agent") or ""  # who answers next, by name
        self.coming: list[Item] = []  # what the next write takes along, such as the inbox
        self.deed = Deed(lease, tail.seal)
        self._tail = tail
        self.lease = lease
        self._record = record

    async def load(self) -> None:
        """Read what this turn begins with."""
        record, tail = self._record, self._tail
        await tail.refresh()
        if "messages" not in record:  # a new conversation, or a version that did not count
            whole = len(tail.items) < tail.limits.items
            record["messages"] = len(transcript(tail.items if whole else await tail.read()))
        if deed := record.get("deed"):
            recorded, waits = await tail.unseal(deed), bool(record.get("pending"))
            self.deed.take_up(recorded, tail.items, waits=waits)
        self.coming = [*self.deed.lacking, *await tail.inbox(record)]

    @property
    def items(self) -> list[Item]:
        """The end of the history, and what will be stored next."""
        return self._tail.items + self.coming

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        # The SDK passes a limit only to look for duplicates before it stores a step: then as it is.
        items = self.items[-limit:] if limit else for_model(self.items, self._tail.limits)
        return [cast(TResponseInputItem, {**item}) for item in items]  # for the caller to change

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        step = cast("list[Item]", items)
        if waiting_call(step):
            self.coming += step
        elif step:  # one of words alone is the answer: it also gives the lease back
            await self.store(step, last=ends_turn(step))

    async def store(
        self, step: Sequence[Item] = (), fields: Fields | None = None, *, last: bool = False
    ) -> None:
        """Write what is coming and `step`, with `fields` of the record, in one transaction.

        The `last` write of a turn also gives the lease back.
        """
        fields = fields or {}
        waits = bool({**self._record, **fields}.get("pending"))
        of_deed = await self.deed.fields_for_step(waits=waits)
        lacking = [] if waits else self.deed.lacking_in([*self.items, *step])
        items = [*self.coming, *lacking, *step]
        messages = self._record["messages"] + len(transcript(items))
        after = {
            **of_deed,
            **fields,
            "messages": messages,
            "active_agent": self.agent,
            "inbox": [],
            "moving": None,
        }
        if items:
            # In a transaction, nothing can come between the inbox and the history.
            moving = None if self.lease.transactions else self._tail.moving(items)
            await self.lease.commit(
                lambda: self._tail.session.add_items(cast("list[TResponseInputItem]", items)),
                before={"moving": moving} if moving else None,
                after=after,
                last=last,
            )
        else:
            await self.lease.update(after, last=last)
        self._record["messages"] = messages
        self._tail.grow(items)
        self.coming = []
        self.deed.stored()

    def close_approval(self, call: Item | None, writes: int) -> None:
        """The approval that waited is decided: see `Deed.close_approval`."""
        self._record["pending"] = None
        self.deed.close_approval(call, writes)

    async def refuse_messages(self) -> None:
        """Give up the messages that have no answer: they are in no later request.

        What is stored already stays in the history; what is not is left out of it.
        """
        withheld = [{"role": "user", "content": WITHHELD}] * sum(map(begins_turn, self.coming))
        self.coming = self.deed.lacking
        await self.store([*withheld, assistant_item(NOT_TAKEN)], last=True)

    async def pop_item(self) -> TResponseInputItem | None:
        raise NotImplementedError("The engine takes nothing back from the history.")

    async def clear_session(self) -> None:
        raise NotImplementedError("Conversation.erase does it.")


def _digest(step: Sequence[Item]) -> str:
    return hashlib.sha256(json.dumps(step, sort_keys=True).encode()).hexdigest()
