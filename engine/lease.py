"""Whose turn it is, and the fence: every write is committed under the lease, or not at all.

A lease alone is a promise that a sleeping laptop breaks: its process wakes, believes that it still
holds the conversation, and writes between another's messages. So each write shares a transaction
with an update of the conversation's document that only matches while the lease is ours. A
standalone mongod has no transactions: there, the lease is checked before each write.

The lease's end is measured by the server (`$$NOW`), so laptops with different clocks agree on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

from pymongo import WriteConcern, timeout
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError

from database import Database, Document

LEASE_SECONDS = 10.0  # a killed holder blocks the conversation for no longer than this
POLL_SECONDS = 0.25
LOCK_SECONDS = 2.0  # to wait for a document that another transaction has locked

T = TypeVar("T")


class LeaseLost(Exception):
    """Another process has taken the conversation over."""


class Unconfirmed(PyMongoError):
    """MongoDB did not say whether a write was done: it may be there all the same."""


class Lease:
    """The right to answer in one conversation. Take it for each turn: `async with lease.taken()`.

    `email` goes into the document of a new conversation. `transactions` says whether the server
    has them: every replica set does, a standalone mongod does not.
    """

    def __init__(self, db: Database, session_id: str, email: str, *, transactions: bool) -> None:
        self.db = db
        self.session_id = session_id
        self.email = email
        self._transactions = transactions
        self._owner = uuid.uuid4().hex
        self._holder = ""  # new for each turn, so that nothing late of an earlier one counts
        self._held = False
        self._spent: Callable[[], Document] = dict
        self._client_session: AsyncClientSession | None = None
        self._deadlines = (0.0, 0.0)
        self._writing = asyncio.Lock()  # a client session takes one command at a time

    @contextlib.asynccontextmanager
    async def taken(
        self, waiting: Callable[[], object], spent: Callable[[], Document] = dict
    ) -> AsyncIterator[Document]:
        """Hold the lease for the block; yields the conversation's document.

        Calls `waiting` once if another process holds it. `spent` returns, at the end, what to add
        to the document's counters. Until the block begins, a cancelled task does no harm.
        """
        stored = await self._acquire_or_give_back()
        if stored is None:
            waiting()
        while stored is None:
            await asyncio.sleep(POLL_SECONDS)
            stored = await self._acquire_or_give_back()
        self._spent = spent
        async with self.kept():
            yield stored

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease for as long as the block lasts, then give it back."""
        renewing = asyncio.create_task(self._keep_renewing())
        try:
            yield
        finally:
            renewing.cancel()
            await self._release()

    async def acquire(self) -> Document | None:
        """Take the lease and return the conversation's document; None while another holds it."""
        self._holder, self._spent = uuid.uuid4().hex, dict
        if self._transactions and self._client_session is None:
            self._client_session = self.db.client.start_session()
        deadlines = _clocks(LEASE_SECONDS)
        try:
            with contextlib.suppress(DuplicateKeyError), timeout(LOCK_SECONDS):
                stored = await self._take()  # if two create it at once, one is refused
                if stored["lease"]["holder"] == self._holder:
                    self._deadlines, self._held = deadlines, True
                    await self._end_transactions(stored["lease"]["former"])
                    return stored
        except PyMongoError as error:
            if not (error.timeout or isinstance(error, ConnectionFailure)):
                raise
            # A failover, or a transaction that a dead holder left open and that locks the document.
            await self._end_transactions(await self._of_expired_holder())
        return None

    async def commit(
        self, write: Callable[[], Awaitable[T]], *, last: bool = False, **fields: Any
    ) -> T:
        """Run `write`, and set `fields` of the conversation's document: both or neither.

        What `write` sends through the shared client joins the transaction, the SDK's own commands
        included. It may run more than once, so it must do nothing but write to MongoDB. In a
        transaction, the `last` write of a turn also gives the lease back.

        Raises LeaseLost, and then nothing was written; Unconfirmed; or what the driver raises.
        """

        async def transaction(client_session: AsyncClientSession) -> T:
            # end_session=False: else bind ends the transaction unwritten, and without an error.
            async with client_session.bind(end_session=False):
                # First: if a late command opens a transaction anew, it finds and locks nothing.
                await self._update(last, fields)
                return await write()

        async def committed() -> T:
            async with self._writing:
                with timeout(await self._time_left()):
                    if self._client_session:
                        with _unconfirmed_if(_is_unknown_commit):
                            return await self._client_session.with_transaction(transaction)
                    await self.update(**fields)
                    with _unconfirmed_if(_is_unknown_write):
                        return await write()

        result = await finished(committed())
        # Without a transaction, `_release` gives it back.
        self._held = not (last and self._client_session)
        return result

    async def update(self, *, last: bool = False, **fields: Any) -> None:
        """Set `fields` of the conversation's document, or raise LeaseLost. See `commit`."""
        with timeout(await self._time_left()):
            await self._update(last, fields)
        self._held = not last

    async def forget(self) -> None:
        """Delete the conversation's document, and the lease with it."""
        await self.db.conversations.delete_one(self._ours)

    async def _update(self, last: bool, fields: Document) -> None:
        # An update that changes nothing would lock nothing: so it counts.
        counted = {"$set": fields, "$inc": {"lease.writes": 1}}
        change = self._giving_back(fields) if last else counted
        found = await self.db.conversations.update_one(self._ours, change)
        if not found.matched_count:
            raise LeaseLost

    def _giving_back(self, fields: Document) -> Document:
        change = {"$set": {**fields, "lease": None}, "$currentDate": {"updated_at": True}}
        return {**change, "$inc": spent} if (spent := self._spent()) else change

    @property
    def _ours(self) -> Document:
        return {"_id": self.session_id, "lease.holder": self._holder}

    async def _time_left(self) -> float:
        """Seconds that a command may take. If half of the lease is over, renews it first."""
        if self._left() < LEASE_SECONDS / 2:
            await self._renew()
        return self._left()

    def _left(self) -> float:
        # Both clocks: the monotonic one stands still while a laptop sleeps.
        return min(end - at for end, at in zip(self._deadlines, _clocks(), strict=True))

    async def _take(self) -> Document:
        """Set the lease if it is free; the conversation's document as it is then."""
        free = {
            "$or": [
                {"$lt": ["$lease.until", "$$NOW"]},  # also true if there is no lease
                {"$eq": ["$lease.owner", self._owner]},  # left by a turn that lost MongoDB
            ]
        }
        server_session = self._client_session.session_id if self._client_session else None
        term = {
            "owner": self._owner,
            "holder": self._holder,
            "until": _end(),
            "server_session": {"$literal": server_session},
            "former": {"$ifNull": ["$lease.server_session", None]},
            "writes": 0,
        }
        change = {
            "email": {"$literal": self.email},
            "lease": {"$cond": [free, term, "$lease"]},
            "updated_at": {"$ifNull": ["$updated_at", "$$NOW"]},
        }
        # It need not be on disk: should it get lost, the turn's first write finds out.
        at_once = self.db.conversations.with_options(write_concern=WriteConcern(w=1))
        stored = await at_once.find_one_and_update(
            {"_id": self.session_id}, [{"$set": change}], upsert=True, return_document=True
        )
        return cast("Document", stored)

    async def _acquire_or_give_back(self) -> Document | None:
        """Like `acquire`; if it is cancelled, nobody has to wait for what it may have taken."""
        acquiring = asyncio.create_task(self.acquire())
        try:
            return await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            await asyncio.wait({acquiring}, timeout=0.5)
            acquiring.cancel()
            await self._release()
            raise

    async def _of_expired_holder(self) -> Document | None:
        """The server session of a holder whose lease has run out; else None."""
        over = {"lease": {"$ne": None}, "$expr": {"$lt": ["$lease.until", "$$NOW"]}}
        found = await self.db.conversations.find_one({"_id": self.session_id, **over})
        return cast("Document", found["lease"]).get("server_session") if found else None

    async def _end_transactions(self, server_session: Document | None) -> None:
        """Abort what a former holder left open, which would block our writes for a minute."""
        if server_session:
            with contextlib.suppress(OperationFailure):  # Atlas Free and Flex have no killSessions
                await self.db.client.admin.command("killSessions", [server_session])

    async def _renew(self) -> None:
        deadlines = _clocks(LEASE_SECONDS)
        found = await self.db.conversations.update_one(
            self._ours, [{"$set": {"lease.until": _end()}}]
        )
        if not found.matched_count:
            raise LeaseLost
        self._deadlines = deadlines

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._renew()
            except PyMongoError:
                pass  # the lease may still be ours: the next write finds out
            except LeaseLost:
                self._deadlines = (0.0, 0.0)
                return

    async def _release(self) -> None:
        # MongoDB may be what failed; the lease then ends by itself.
        if self._held:
            with contextlib.suppress(PyMongoError), timeout(1):
                await self.db.conversations.update_one(self._ours, self._giving_back({}))
        self._held = False
        client_session, self._client_session = self._client_session, None
        if client_session:
            with contextlib.suppress(PyMongoError), timeout(1):
                await client_session.end_session()


def _end() -> Document:
    return {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}


def _clocks(later: float = 0.0) -> tuple[float, float]:
    """Seconds, monotonic and wall time."""
    return time.monotonic() + later, time.time() + later


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, also if whoever waits for it is cancelled meanwhile."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        task.exception()  # seen: nobody waits for it any more
        raise


@contextlib.contextmanager
def _unconfirmed_if(unknown: Callable[[PyMongoError], bool]) -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        if unknown(error):
            raise Unconfirmed from error
        raise


def _is_unknown_commit(error: PyMongoError) -> bool:
    return error.has_error_label("UnknownTransactionCommitResult")


def _is_unknown_write(error: PyMongoError) -> bool:
    return error.timeout or not isinstance(error, OperationFailure)
