"""What a builder changes without an edit of the engine: encryption, and who answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from agents import Agent, function_tool
from agents.extensions.memory import MongoDBSession
from bson import json_util

from engine import Approval, Event, Reason, TurnFailed
from engine.history import NO_ANSWER
from tests.builders import Visits, asked, call, events, failure_of, said, say, settled, text_of


class Sealed(MongoDBSession):
    """A session whose items nobody reads by looking."""

    async def _serialize_item(self, item: Any) -> str:
        return base64.b64encode((await super()._serialize_item(item)).encode()).decode()

    async def _deserialize_item(self, raw: str) -> Any:
        return await super()._deserialize_item(base64.b64decode(raw).decode())


@function_tool(needs_approval=True)
async def book(day: str) -> str:
    """Book a day."""
    return f"Booked {day}, heron."


async def ask(context: Any, arguments: Mapping[str, Any]) -> str:
    return f"Book {arguments['day']}?"


DESK = Agent(name="Desk", tools=[book])


async def test_an_encrypting_session_covers_all_that_the_customer_said(visits: Visits) -> None:
    visits.session = Sealed
    visits.options = {"approvals": {"book": Approval(ask, "no", lambda a: f"Not {a['day']}.")}}

    async def holds(*words: str) -> list[str]:
        names = await visits.db.list_collection_names()
        stored = [await visits.db[name].find().to_list() for name in names]
        return [word for word in words if word in json_util.dumps(stored)]

    await visits.fails(DESK, "my giraffe", RuntimeError("broken"))
    assert (await visits.record())["inbox"] and await holds("giraffe") == []
    needed = asked(await visits.retry(DESK, call("book", day="zebraday")))
    assert needed.question == "Book zebraday?"
    assert await holds("giraffe", "zebra") == []
    seen = await visits.turn(DESK, "wait", call("book", "b", day="lionday"))
    assert settled(seen) == [(False, "Not zebraday.")]
    seen = await visits.decide(DESK, asked(seen), True, say("See you, heron."))
    assert (settled(seen), text_of(seen)) == ([(True, "Booked lionday, heron.")], "See you, heron.")
    assert await holds("giraffe", "zebra", "lion", "heron") == []
    assert await said(await visits.open(DESK)) == ["my giraffe", "wait", "See you, heron."]


def person_answers(record: Mapping[str, object]) -> str | None:
    return "A colleague will answer." if record.get("person") else None


async def test_while_somebody_else_answers_messages_wait_and_no_model_is_asked(
    visits: Visits,
) -> None:
    visits.options = {"instead": person_answers}
    await visits.turn(DESK, "hello", say("Hello."))
    await visits.db.conversations.update_one({}, {"$set": {"person": "what?"}})
    for message in "one", "two":
        seen = await visits.turn(DESK, message)
        assert text_of(seen) == "A colleague will answer."
    assert text_of(await visits.retry(DESK)) == "A colleague will answer."
    conversation = await visits.open(DESK)
    assert conversation.unanswered == "two"

    await events(conversation.answer("Yes, we do.", {"person": None}))
    assert conversation.unanswered is None
    assert (await visits.record())["person"] is None
    failed = await failure_of((await visits.open(DESK)).retry())
    assert failed.reason is Reason.NOTHING_TO_RETRY
    await visits.turn(DESK, "thanks", say("Bye."))
    sent = [item["content"] for item in visits.sent]
    assert sent == ["hello", "Hello.", "one", NO_ANSWER, "two", "Yes, we do.", "thanks"]


async def test_a_persons_answer_closes_the_question_that_waits(visits: Visits) -> None:
    visits.options = {"approvals": {"book": Approval(ask, "Nothing was booked.")}}
    needed = asked(await visits.turn(DESK, "Monday", call("book", day="Monday")))
    conversation = await visits.open(DESK)
    told: list[Event] = []
    with pytest.raises(TurnFailed):  # MongoDB refuses the field, so nothing is stored
        async for event in conversation.answer("Booked.", {"$no": "name"}):
            told.append(event)
    assert told == []
    seen = await events(conversation.answer("I have booked it myself."))
    assert settled(seen) == [(False, "Nothing was booked.")]
    assert conversation.unanswered is None
    failed = await failure_of((await visits.open(DESK)).decide(needed, True))
    assert failed.reason is Reason.DECIDED_ELSEWHERE
    assert text_of(await visits.turn(DESK, "thanks", say("Bye."))) == "Bye."
