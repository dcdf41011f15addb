"""Whose turn it is, and the fence: every write is committed under the lease, or not at all.

A lease alone is a promise that a sleeping laptop breaks: its process wakes, believes that it still
holds the conversation, and writes between another's messages. So each write shares a transaction
with an update of the conversation's record that only matches while the lease is ours. A standalone
mongod has no transactions: there, the lease is checked before each write.

The command that takes the lease also accepts the owner's message. So a message is accepted once, or
not at all, before a model is asked. The lease's end is measured by the server (`$$NOW`), so laptops
with different clocks agree on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast

from pymongo import ReadPreference, WriteConcern, timeout
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from engine.acceptance import creation, taking
from engine.driver import (
    Unconfirmed,
    is_unknown_commit,
    is_unknown_write,
    uncancelled,
    unconfirmed_if,
)
from engine.record import FREE, Fields, InboxEntry, Record, Records, check_record, primary

POLL_SECONDS = 0.25
LOCK_SECONDS = 2.0  # to wait for a document that another transaction has locked

T = TypeVar("T")


class LeaseLost(Exception):
    """Another process has taken the conversation over."""


class Lease:
    """The right to answer in one conversation. Hold it for each turn: `async with lease.hold()`.

    Three ways to set fields in a turn: `commit` with other writes, `update` for the record alone,
    and `set` inside of a commit.

    `records` is the collection of the conversations' records; `owner` goes into a new one.
    `transactions` says whether the server has them: every replica set does, a standalone mongod
    does not. A holder that was killed blocks the conversation for about `seconds`. With
    `creates=False` (for `remove_idle`) it makes no record: without one, `take` returns None.
    """

    def __init__(
        self,
        records: Records,
        session_id: str,
        owner: str,
        *,
        transactions: bool,
        seconds: float = 10.0,
        creates: bool = True,
    ) -> None:
        self.session_id = session_id
        self.owner = owner
        self.transactions = transactions
        self.records = primary(records)
        self._creates = creates
        self._seconds = seconds
        self._end = {"$add": ["$$NOW", int(seconds * 1000)]}
        self._process = uuid.uuid4().hex
        self._ours: dict[str, str] = {}  # finds the record while its lease is held for this turn
        self.held = False  # by us, as far as this process knows
        self.spent: Callable[[], Fields] = dict  # what the turn adds to the record's counters
        self._seen: str | None = None  # the last accepted message that this process knows of
        self._client_session: AsyncClientSession | None = None
        self._deadlines = (0.0, 0.0)
        self._writing = asyncio.Lock()  # a client session takes one command at a time

    async def read(self) -> Record | None:
        """The record as it is now. From here on, this process knows what was accepted so far."""
        record = cast("Record | None", await self.records.find_one({"_id": self.session_id}))
        self._seen = record["accepted"][-1] if record and record.get("accepted") else None
        return record

    @contextlib.asynccontextmanager
    async def hold(
        self, waiting: Callable[[], object], message: InboxEntry | None = None
    ) -> AsyncIterator[Record]:
        """Hold the lease for the block, and accept `message` with it; yields the record.

        Calls `waiting` once if another process holds it. Cancelled before the block begins, it
        gives back what it may have taken.
        """
        waited = False
        try:
            while True:
                task = asyncio.create_task(self.take(message))
                if (record := await asyncio.shield(task)) is not None:
                    break
                if not waited:
                    waiting()
                waited = True
                await asyncio.sleep(POLL_SECONDS)
                while await self._find_holder():  # which also ends what a dead one left open
                    await asyncio.sleep(POLL_SECONDS)
        except BaseException as error:
            # What was stopped, `recover` does not answer.
            stopped = isinstance(error, asyncio.CancelledError)
            await self._stop_taking(task, {"unanswered_since": None} if stopped else {})
            raise
        async with self.renewing():
            yield record

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renew the lease for as long as the block lasts, then give it back."""
        task = asyncio.create_task(self._keep_renewing())
        try:
            yield
        finally:
            task.cancel()
            if self.held:
                await self._give_back({})
            else:  # the last write gave it back
                await self._end_client_session()

    async def take(self, message: InboxEntry | None = None) -> Record | None:
        """Take the lease, accept `message` with it, and return the record.

        None while another process holds it, or if MongoDB was too slow twice. Raises Unconfirmed if
        nobody can tell whether the message was accepted: take it again, and its id makes it count
        once.
        """
        self._ours = {"_id": self.session_id, "lease.holder": uuid.uuid4().hex}
        self.spent = dict  # nothing yet
        if self.transactions and self._client_session is None:
            self._client_session = self.records.database.client.start_session()
        for last_try in (False, True):
            try:
                with timeout(LOCK_SECONDS):
                    return await self._take(message)
            except PyMongoError as error:
                if not (error.timeout or isinstance(error, ConnectionFailure)):
                    raise
                # A failover, or a transaction that a dead holder left open and that locks the
                # record. Or the write is there, and its reply is lost or waits for a majority.
                with unconfirmed_if(lambda _: message is not None):
                    holder = await self._find_holder()
                ours = holder == self._ours["lease.holder"]
                if ours and last_try:
                    raise Unconfirmed from error
                if holder and not ours:
                    return None
        return None

    @uncancelled
    async def commit(
        self,
        write: Callable[[], Awaitable[T]],
        *,
        before: Fields | None = None,
        after: Fields | None = None,
        last: bool = False,
    ) -> T:
        """Run `write`, and set the fields `before` and `after` of the record: all or nothing.

        What `write` sends through the shared client joins the transaction, the SDK's own commands
        included. It may run more than once, so it must do nothing but write to MongoDB. The `last`
        write of a turn also gives the lease back. A standalone mongod sets `before`, then writes,
        then sets `after`.

        Raises LeaseLost, and then nothing was written (a standalone may have run `write`);
        Unconfirmed; or what the driver raises.
        """

        async def transaction(client_session: AsyncClientSession) -> T:
            # end_session=False: else bind ends the transaction unwritten, and without an error.
            async with client_session.bind(end_session=False):
                # The transaction's first command: only that one can open it. Should it reach the
                # server late, after an abort, it opens it again; but by then its turn is over, so
                # it matches nothing.
                await self.set({**(before or {}), **(after or {})}, last=last)
                return await write()

        async with self._writing:
            with timeout(await self._time_left()):
                if self._client_session:
                    with unconfirmed_if(is_unknown_commit):
                        written = await self._client_session.with_transaction(
                            transaction, read_preference=ReadPreference.PRIMARY
                        )
                else:
                    await self.set(before or {})
                    if self._left() <= 0:  # a laptop may have slept since it was sent
                        raise LeaseLost
                    with unconfirmed_if(is_unknown_write):
                        written = await write()
                        if after or last:
                            await self.set(after or {}, last=last)
        self.held = not last
        return written

    async def update(self, fields: Fields, *, last: bool = False) -> None:
        """Set `fields` of the record. Raises as `commit` does."""
        with timeout(await self._time_left()), unconfirmed_if(is_unknown_write):
            await self.set(fields, last=last)
        self.held = not last

    async def set(self, fields: Fields, *, last: bool = False) -> None:
        """Set `fields`; for a `write` of `commit`, in its transaction. Raises LeaseLost."""
        if last:
            change = self._giving_back({**fields, "unanswered_since": None})
        else:
            # An update that changes nothing would lock nothing: so it counts.
            change = {"$inc": {"lease.writes": 1}, **({"$set": fields} if fields else {})}
        if not (await self.records.update_one(self._ours, change)).matched_count:
            raise LeaseLost

    async def forget(self) -> None:
        """Delete the record, and the lease with it."""
        await self.records.delete_one(self._ours)

    def _giving_back(self, fields: Fields) -> dict[str, Any]:
        change: dict[str, Any] = {
            "$set": {**fields, "lease": None},
            "$currentDate": {"updated_at": True},
        }
        if spent := self.spent():
            change["$inc"] = spent
        return change

    async def _time_left(self) -> float:
        """Seconds that a command may take. If half of the lease is over, renews it first."""
        while (left := self._left()) < self._seconds / 2:
            with timeout(self._seconds / 2):
                await self._renew()
        return left

    def _left(self) -> float:
        """Seconds by both clocks: the monotonic one stands still while a laptop sleeps."""
        return min(end - at for end, at in zip(self._deadlines, _clocks(), strict=True))

    async def _take(self, message: InboxEntry | None) -> Record | None:
        """As `take`, without a second try if MongoDB is slow."""
        records = self.records
        if message is None:
            # A failover may undo it: the turn's first write finds out.
            records = records.with_options(write_concern=WriteConcern(w=1))
        while True:
            if self._seen is None:
                if (record := await self._create()) is None:
                    return None
                self._seen = record["accepted"][-1]
            server_session = self._client_session.session_id if self._client_session else None
            term = {
                "process": self._process,
                "holder": self._ours["lease.holder"],
                "until": self._end,
                "server_session": {"$literal": server_session},
            }
            query, change = taking(self.session_id, self.owner, term, message, self._seen)
            deadlines = _clocks(self._seconds)
            found = await records.find_one_and_update(query, change, return_document=True)
            if found:
                self._deadlines, self.held = deadlines, True
                self._seen = found["accepted"][-1]
                return cast("Record", found)
            record = await self.records.find_one({"_id": self.session_id})
            if not record or "accepted" not in record:
                self._seen = None
                continue
            check_record(record, self.owner)
            last = record["accepted"][-1]
            if message and message["id"] in record["accepted"]:
                message = None  # the reply was lost: only the lease is missing
            elif last == self._seen:
                return None
            self._seen = last  # somebody else was answered, or began anew: now we know of it

    async def _create(self) -> Record | None:
        """Make the record of a new conversation: a command of its own, so no take ever makes one.

        A take that arrives after a reset then adds nothing.
        """
        found = await self.records.find_one_and_update(
            {"_id": self.session_id},
            creation(self.owner),
            upsert=self._creates,
            return_document=True,
        )
        if found:
            check_record(found, self.owner)
        return cast("Record | None", found)

    @uncancelled
    async def _stop_taking(self, task: asyncio.Task[Record | None], fields: Fields) -> None:
        await asyncio.wait({task}, timeout=0.5)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # marked as seen
        await self._give_back(fields)

    async def _find_holder(self) -> str | None:
        """The holder, if there is one. Aborts the transaction of one whose time is over."""
        fields = {"lease": 1, "over": FREE["$expr"]}
        found = await self.records.find_one({"_id": self.session_id}, fields)
        if not found or not (lease := found.get("lease")):
            return None
        if not found["over"]:
            return str(lease["holder"])
        if lease["server_session"]:  # what it left open would block our writes for a minute
            admin = self.records.database.client.admin
            with contextlib.suppress(OperationFailure):  # Atlas Free and Flex have no killSessions
                await admin.command("killSessions", [lease["server_session"]])
        return None

    async def _renew(self) -> None:
        deadlines = _clocks(self._seconds)
        found = await self.records.update_one(self._ours, [{"$set": {"lease.until": self._end}}])
        if not found.matched_count:
            raise LeaseLost
        self._deadlines = deadlines

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            with contextlib.suppress(PyMongoError, LeaseLost):  # the next write finds out
                await self._renew()

    @uncancelled
    async def _give_back(self, fields: Fields) -> None:
        # MongoDB may be what failed; the lease then ends by itself.
        if self.held:
            with contextlib.suppress(PyMongoError), timeout(1):
                await self.records.update_one(self._ours, self._giving_back(fields))
        self.held = False
        await self._end_client_session()

    async def _end_client_session(self) -> None:
        client_session, self._client_session = self._client_session, None
        if client_session:
            with contextlib.suppress(PyMongoError), timeout(1):
                await client_session.end_session()


def _clocks(later: float = 0.0) -> tuple[float, float]:
    """Seconds, monotonic and wall time."""
    return time.monotonic() + later, time.time() + later
