"""Forgetting: one conversation on request, and whole conversations that were idle for long."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from agents.extensions.memory import MongoDBSession

from engine.driver import has_transactions
from engine.lease import Lease, LeaseLost
from engine.options import Limits
from engine.record import FORMAT, Records, in_utc, owner_of


async def erase(lease: Lease, session: MongoDBSession) -> None:
    """Delete every document of the conversation whose lease is held. Raises LeaseLost."""
    of_session = {"session_id": lease.session_id}

    async def delete() -> None:
        await session._messages.delete_many(of_session)
        await session._sessions.delete_many(of_session)
        await lease.forget()

    # On a standalone, a crash may leave the record behind: it must bring nothing back.
    forgotten: dict[str, Any] = {
        "unanswered_since": None,
        "pending": None,
        "withdrawn": None,
        "deed": None,
        "inbox": [],
        "active_agent": "",
        "messages": 0,
    }
    await lease.commit(delete, before=forgotten)


async def remove_idle(
    records: Records,
    days: float,
    *,
    sessions_collection: str = "agent_sessions",
    messages_collection: str = "agent_messages",
    lease_seconds: float = Limits().lease_seconds,
) -> int:
    """Erase whole conversations that were idle for `days`; returns how many.

    A TTL index cannot do this: messages carry no date, and losing only the session's document
    would restart its numbering and scramble what stays.
    """
    removed, database = 0, records.database
    before = datetime.now(timezone.utc) - timedelta(days=days)
    transactions = await has_transactions(database.client)
    ours = {"format": {"$not": {"$gt": FORMAT}}}  # a newer engine forgets what it wrote
    idle = records.find({"updated_at": {"$lt": before}, **ours}, {"owner": 1, "email": 1})
    for found in await idle.to_list():
        owner = owner_of(found) or ""
        lease = Lease(
            records,
            found["_id"],
            owner,
            transactions=transactions,
            seconds=lease_seconds,
            creates=False,
        )
        record = await lease.take()
        if record is None:
            continue
        session = MongoDBSession(
            found["_id"],
            client=database.client,
            database=database.name,
            sessions_collection=sessions_collection,
            messages_collection=messages_collection,
        )
        async with lease.renewing():
            if in_utc(record["updated_at"]) < before:  # it may have been used meanwhile
                with suppress(LeaseLost):  # somebody uses it after all
                    await erase(lease, session)
                    removed += 1
    return removed
