"""Answering what nobody answers any more: turns whose process died, or whose model failed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from typing import Any

from engine.conversation import Conversation
from engine.events import Reason, TurnFailed
from engine.record import Records, primary

logger = logging.getLogger(__name__)


async def recover(
    records: Records,
    open_conversation: Callable[[Mapping[str, Any]], Awaitable[Conversation]],
    *,
    older_than: float = 30.0,
    most: int = 100,
) -> int:
    """Answer each conversation whose last message has had no answer for `older_than` seconds.

    It can run beside chats and beside itself: each is answered under its lease, and only if nobody
    holds it. An approval that a run needs waits for the owner, who is asked at the next opening. A
    turn that fails is logged, and left for the next time. `open_conversation` opens one by its
    record, which has `_id`, the session's id, and `owner`. The query needs an index on
    `unanswered_since`.

    Returns how many were answered, `most` at the most.
    """
    before = datetime.now(timezone.utc) - timedelta(seconds=older_than)
    free = {"$expr": {"$lt": ["$lease.until", "$$NOW"]}}  # also true if there is no lease
    query = {"unanswered_since": {"$lt": before}, **free}
    found = primary(records).find(query, {"owner": 1}).sort("unanswered_since", 1).limit(most)
    answered = 0
    for record in await found.to_list():
        try:
            conversation = await open_conversation(record)
            async with aclosing(conversation.retry()) as events:
                async for _ in events:
                    pass
            answered += 1
        except TurnFailed as error:
            if error.reason is not Reason.NOTHING_TO_RETRY:  # somebody was faster
                logger.warning("Not answered: %s", record["_id"], exc_info=error)
    return answered
