"""Forgetting: one conversation on request, and whole conversations that were idle for long."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone

from database import Database, has_transactions
from engine.lease import Lease, LeaseLost


async def erase(lease: Lease) -> None:
    """Delete every document of the conversation whose lease is held. Raises LeaseLost."""
    db, of_session = lease.db, {"session_id": lease.session_id}

    async def delete() -> None:
        await db.agent_messages.delete_many(of_session)
        await db.agent_sessions.delete_many(of_session)
        await lease.forget()

    # On a standalone, a crash may leave the document behind: it must ask no forgotten question.
    await lease.commit(delete, pending=None, active_agent="", messages=0)


async def remove_idle(db: Database, days: float) -> int:
    """Erase whole conversations that were idle for `days`; returns how many.

    A TTL index cannot do this: messages carry no date, and losing only the session's document
    would restart its numbering and scramble what stays.
    """
    removed = 0
    before = datetime.now(timezone.utc) - timedelta(days=days)
    transactions = await has_transactions(db.client)
    idle = db.conversations.find({"updated_at": {"$lt": before}}, {"email": 1})
    for stored in await idle.to_list():
        lease = Lease(db, stored["_id"], stored["email"], transactions=transactions)
        now = await lease.acquire()
        if now is None:
            continue
        async with lease.kept():
            if now["updated_at"] < before:  # it may have been used since it was found
                with suppress(LeaseLost):  # somebody uses it after all
                    await erase(lease)
                    removed += 1
    return removed
