"""Answering what nobody answers any more: turns whose process died, or whose model failed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from typing import Any

from engine.conversation import Conversation
from engine.events import Finished, Reason, TurnFailed, Waiting
from engine.record import FREE, UNANSWERED, Records, primary

logger = logging.getLogger(__name__)


async def recover(
    records: Records,
    open_conversation: Callable[[Mapping[str, Any]], Awaitable[Conversation]],
    *,
    older_than: float = 30.0,
    most: int = 100,
) -> int:
    """Answer each conversation whose last message has no answer, if nobody tried for `older_than`
    seconds.

    It can run beside chats and beside itself: each is answered under its lease, and only if nobody
    holds it. An approval that a run needs waits for the owner, who is asked at the next opening.
    One that fails is logged, stops no other, and comes last the next time. `open_conversation`
    opens one by its record, which has `_id`, the session's id, and `owner`. The query needs an
    index:

        create_index("unanswered_since", partialFilterExpression=UNANSWERED)

    Returns how many were answered. It tries `most` at the most.
    """
    records, tried, answered = primary(records), 0, 0
    before = datetime.now(timezone.utc) - timedelta(seconds=older_than)
    query = {"unanswered_since": {**UNANSWERED["unanswered_since"], "$lt": before}, **FREE}
    found = records.find(query, {"owner": 1}).sort("unanswered_since", 1)
    for record in await found.to_list():
        if tried == most:
            break
        try:
            conversation = await open_conversation(record)
            tried += 1
            if not conversation.opened.total:
                continue  # erased meanwhile
            async with aclosing(conversation.retry()) as events:
                async for event in events:
                    if isinstance(event, Waiting):
                        break  # somebody answers it
                    answered += isinstance(event, Finished)
        except Exception as error:  # the owner's account may be gone, or the model down
            # Else somebody was faster.
            if not (isinstance(error, TurnFailed) and error.reason is Reason.NOTHING_TO_RETRY):
                logger.warning("Not answered: %s", record["_id"], exc_info=error)
    return answered
