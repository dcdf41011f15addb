"""The offline model, held to what customers type: the share of offline_messages.py that holds."""

from __future__ import annotations

import re

import main
from database import Database
from engine.conversation import Conversation
from engine.events import ApprovalNeeded, Text
from local.offline_model import OfflineModel
from tests.conftest import TODAY, customer_of
from tests.offline_messages import ASKED, NO, YES, Line

MODEL = OfflineModel(delay=0)


async def play(db: Database, email: str, dialogue: list[Line]) -> list[str]:
    """What was wrong with the answers, a line for each message."""
    conversation = await open_conversation(db, email)
    wrong: list[str] = []
    approval: ApprovalNeeded | None = None
    for message, says, never in dialogue:
        answer, approval = await ask(conversation, message, approval)
        unasked = () if ASKED in says else (ASKED,)
        missing = [f"no {p!r}" for p in says if not re.search(p, answer, re.I)]
        unwanted = [f"{p!r}" for p in (*never, *unasked) if re.search(p, answer, re.I)]
        if missing or unwanted:
            wrong.append(f"{message}\n    {', '.join(missing + unwanted)} in: {answer}")
    await conversation.erase()
    return wrong


async def open_conversation(db: Database, email: str) -> Conversation:
    return await main.open_conversation(
        db.client, customer_of(email), MODEL, database=db.name, now=lambda: TODAY
    )


async def ask(
    conversation: Conversation, message: str, approval: ApprovalNeeded | None
) -> tuple[str, ApprovalNeeded | None]:
    """The answer, with the question for a yes at its end if there is one."""
    if message in (YES, NO):
        if approval is None:
            return "(nothing to decide)", None
        events = conversation.decide(approval, message == YES)
    else:
        events = conversation.turn(message)
    answer = ""
    asked: ApprovalNeeded | None = None
    async for event in events:
        if isinstance(event, Text):
            answer += event.delta
        elif isinstance(event, ApprovalNeeded):
            asked = event
            answer += event.question
    return answer, asked
