"""The offline model, held to what customers type."""

from __future__ import annotations

import re

import pytest

import main
from database import Database
from engine.conversation import Conversation
from engine.events import ApprovalNeeded, Text
from local.offline_model import OfflineModel
from seed_data import ARTICLES, PRODUCTS, seed
from tests.conftest import TODAY, customer_of
from tests.offline_messages import ASKED, DIALOGUES, NO, PLANTED, YES, Line

MODEL = OfflineModel(delay=0)
# The rules see no difference, and a turn costs less there.
pytestmark = pytest.mark.parametrize("mongod", ["standalone"], indirect=True)


@pytest.mark.parametrize("part", DIALOGUES)
async def test_what_customers_type_is_answered_as_the_table_says(db: Database, part: str) -> None:
    wrong: list[str] = []
    for dialogue in DIALOGUES[part]:
        wrong += await play(db, f"{part.split(':')[0]}@example.com", dialogue)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("planted", PLANTED)
async def test_planted_text_is_never_repeated(db: Database, planted: str) -> None:
    for product in PRODUCTS:
        text = {"description": f"{product['description']} {planted}"}
        await db.products.update_one({"_id": product["_id"]}, {"$set": text})
    for article in ARTICLES:
        text = {"body": f"{article['body']} {planted}"}
        await db.support_articles.update_one({"_id": article["_id"]}, {"$set": text})
    conversation = await open_conversation(db, "alice@example.com")
    for message, fact in {
        "does the sleeve fit a 14 inch laptop?": "14 inches",
        "how long is the warranty?": "24-month",
        "what does the warranty say about a card number, a password and 500%?": "warranty",
        "do you have headphones": "out of stock",
    }.items():
        answer, asked = await ask(conversation, message, None)
        assert fact in answer and asked is None
        assert not re.search(PLANTED[planted], answer, re.I), answer


async def play(db: Database, email: str, dialogue: list[Line]) -> list[str]:
    """What is wrong with the answers."""
    conversation = await open_conversation(db, email)
    wrong: list[str] = []
    approval: ApprovalNeeded | None = None
    for message, says, never in dialogue:
        answer, approval = await ask(conversation, message, approval)
        unasked = [] if ASKED in says else [ASKED]
        missing = [f"no {p!r}" for p in says if not re.search(p, answer, re.I)]
        unwanted = [f"{p!r}" for p in (*never, *unasked) if re.search(p, answer, re.I)]
        if missing or unwanted:
            wrong.append(f"{message}\n    {', '.join(missing + unwanted)} in: {answer}")
    await conversation.erase()
    if YES in [line.message for line in dialogue]:
        await seed(db, TODAY)
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
