"""One process at a time answers in a conversation: a lease on its document in `conversations`.

Times are the server's (`$$NOW`), so two laptops with different clocks agree on who holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from agents import TResponseInputItem
from agents.memory import Session, SessionABC
from pymongo import ReturnDocument, WriteConcern, timeout
from pymongo.errors import DuplicateKeyError, PyMongoError

from database import Database, Document

LEASE_SECONDS = 10.0  # a killed holder blocks the conversation for no longer than this


class LeaseLost(Exception):
    """Another process took the conversation over while this one stood still."""


class Lease:
    """The right of one `Conversation` object to answer; take it for each turn, then release it."""

    def __init__(self, db: Database, session_id: str, email: str) -> None:
        self._conversations = db.conversations
        self._id = session_id
        self._email = email
        self._holder = uuid.uuid4().hex
        self._deadline = 0.0

    async def acquire(self) -> Document | None:
        """Take the lease and return the conversation's document; None while another holds it."""
        started = time.monotonic()
        free = {
            "$or": [
                {"$lt": ["$lease.until", "$$NOW"]},  # true as well where there is no lease
                {"$eq": ["$lease.holder", self._holder]},  # left by a turn that lost MongoDB
            ]
        }
        with contextlib.suppress(DuplicateKeyError):  # two processes created it at once
            stored: Document | None = await self._conversations.find_one_and_update(
                {"_id": self._id},
                [
                    {
                        "$set": {
                            "email": {"$literal": self._email},
                            "lease": {"$cond": [free, self._term(), "$lease"]},
                            "updated_at": {"$ifNull": ["$updated_at", "$$NOW"]},
                        }
                    }
                ],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            if stored and stored["lease"]["holder"] == self._holder:
                self._deadline = started + LEASE_SECONDS
                return stored
        return None

    async def check(self) -> None:
        """Raise LeaseLost if the lease is over and somebody else has it; costs nothing before."""
        if time.monotonic() > self._deadline:
            await self._renew()

    async def update(self, **fields: Any) -> None:
        """Set fields of the conversation's document, as long as the lease is ours."""
        found = await self._conversations.update_one(
            {"_id": self._id, "lease.holder": self._holder}, {"$set": fields}
        )
        if not found.matched_count:
            raise LeaseLost

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew in the background for as long as the block runs, then release."""
        renewing = asyncio.create_task(self._keep_renewing())
        try:
            yield
        finally:
            renewing.cancel()
            # MongoDB may be what failed.
            with contextlib.suppress(PyMongoError), timeout(1):
                # On disk or not: a release that is lost ends by itself, so nobody waits for it.
                await self._conversations.with_options(write_concern=WriteConcern(1)).update_one(
                    {"_id": self._id, "lease.holder": self._holder},
                    [{"$set": {"updated_at": "$$NOW", "lease": None}}],
                )

    async def _renew(self) -> None:
        started = time.monotonic()
        found = await self._conversations.update_one(
            {"_id": self._id, "lease.holder": self._holder}, [{"$set": {"lease": self._term()}}]
        )
        if not found.matched_count:
            raise LeaseLost
        self._deadline = started + LEASE_SECONDS

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._renew()
            except PyMongoError:
                pass  # no verdict: `check` gives it before anything is written
            except LeaseLost:
                self._deadline = 0.0
                return

    def _term(self) -> Document:
        until = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
        return {"holder": self._holder, "until": until}


class LeasedSession(SessionABC):
    """The customer's session for one turn; it refuses to write once the lease is lost.

    A process that was stopped for a minute would otherwise put its late answer between the
    messages of the one that went on. Under the lease nobody else writes, so `history` is read once;
    the SDK reads at the start, and before the first write after a handoff or an approval.
    """

    def __init__(self, session: Session, lease: Lease, history: list[TResponseInputItem]) -> None:
        self.session_id = session.session_id
        self.session_settings = session.session_settings
        self._session = session
        self._lease = lease
        self._history = history

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        return [item.copy() for item in self._history[-limit if limit else None :]]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        await self._lease.check()
        await self._session.add_items(items)
        self._history += items

    async def pop_item(self) -> TResponseInputItem | None:
        await self._lease.check()
        item = await self._session.pop_item()
        del self._history[-1:]
        return item

    async def clear_session(self) -> None:
        await self._lease.check()
        await self._session.clear_session()
        self._history.clear()
