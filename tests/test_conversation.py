"""A conversation goes on: across turns, handoffs, approvals and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.items import TResponseStreamEvent
from agents.models.openai_responses import OpenAIResponsesModel
from agents.testing import ScriptedModel, assistant_message
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from pymongo.errors import PyMongoError

from engine.events import HandedOff, Settled, TurnFailed
from engine.history import NO_ANSWER
from engine.lease import Lease
from shop import session_id_for
from tests.builders import (
    RETURN,
    answer_of,
    approval_of,
    call,
    events,
    failure_of,
    return_1001,
    said,
    say,
    text_of,
)
from tests.conftest import TO_ORDERS, Support, session_for
from tests.model_server import ModelServer
from tests.model_server import call as server_call
from tests.model_server import say as server_say


async def test_a_new_message_withdraws_a_question_for_good(support: Support) -> None:
    conversation, withdrawn = await support.asking(say("Sunny."))
    seen = await events(conversation.turn("how is the weather?"))
    assert seen[0] == Settled(False, "Nothing was returned.")
    assert text_of(seen) == "Sunny."
    assert (await support.record())["pending"] is None
    for each in (conversation, await support.open()):
        assert await events(each.resume()) == []
        assert "already answered elsewhere" in str(await failure_of(each.decide(withdrawn, True)))
    assert (await support.order())["return"] is None
    assert await said(conversation) == ["return it", "how is the weather?", "Sunny."]


async def test_what_cannot_be_returned_is_refused_without_a_question(support: Support) -> None:
    """Words before the call stand apart from the answer."""
    late = call("initiate_return", order_id="ORD-1004", reason="old")
    script = [TO_ORDERS, [*say("Let me see."), *late], say("Too late.")]
    conversation = await support.open(*script, email="bob@example.com")
    assert await answer_of(conversation.turn("return it")) == "Let me see.\n\nToo late."
    assert "30-day window has closed" in support.last_input[-1]["output"]


async def test_two_equal_calls_in_one_response_ask_once_and_return_once(support: Support) -> None:
    both = return_1001("call_1") + return_1001("call_2")
    conversation = await support.open(TO_ORDERS, both, say("Done."))
    approval = await approval_of(conversation.turn("return it"))
    assert await answer_of(conversation.decide(approval, True)) == "Done."
    outputs = [i["output"] for i in support.last_input if "output" in i][-2:]
    assert outputs[0].startswith("Return initiated for order ORD-1001.")
    assert "already has a return" in outputs[1]


async def test_a_yes_to_an_earlier_question_does_not_answer_a_later_one(support: Support) -> None:
    """One terminal still shows the question of ORD-1001; the other is asked about ORD-2001."""
    order = await support.order()
    await support.db.orders.insert_one(order | {"_id": "ORD-2001"})
    other = call("initiate_return", "call_2", order_id="ORD-2001", reason="too heavy")
    conversation, earlier = await support.asking(say("Kept."), other)
    await events(conversation.decide(earlier, False))
    later = await approval_of(conversation.turn("then the other one"))
    assert "ORD-2001" in later.question

    assert "already answered elsewhere" in str(await failure_of(conversation.decide(earlier, True)))
    assert await support.db.orders.count_documents({"return": {"$ne": None}}) == 0
    assert (await approval_of(conversation.resume())).question == later.question


async def test_after_a_return_became_impossible_the_right_agent_answers(support: Support) -> None:
    """Telling of the refusal, the model hands off; the next message goes to that agent."""
    handoff = call("transfer_to_knowledge_base", "call_2")
    conversation, _ = await support.asking(handoff, say("That is too late."), say("24 months."))
    await support.db.orders.update_one({"_id": "ORD-1001"}, {"$set": {"status": "shipped"}})
    assert await answer_of(conversation.resume()) == "That is too late."
    assert await answer_of(conversation.turn("how long is the warranty?")) == "24 months."
    assert "search_knowledge_base" in support.last_tools


async def test_a_handoff_that_had_to_wait_for_a_question_is_kept(support: Support) -> None:
    """Its call is stored before the question, its output after it."""
    both = return_1001("call_1") + call("transfer_to_triage", "call_2")
    conversation = await support.open(TO_ORDERS, both, say("Done."))
    approval = await approval_of(conversation.turn("return it"))
    assert HandedOff("Triage") in await events(conversation.decide(approval, True))
    assert (await support.record())["active_agent"] == "Triage"


class Unnumbered(ScriptedModel):
    """Names the message of a piece of text by its id alone, as llama.cpp's server does."""

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        async for event in super().stream_response(*args, **kwargs):
            if isinstance(event, ResponseTextDeltaEvent):
                item_id = f"msg_{event.output_index}"
                event = event.model_copy(update={"output_index": None, "item_id": item_id})
            yield event


@pytest.mark.parametrize("model", [ScriptedModel, Unnumbered])
async def test_two_messages_in_one_response_are_two_paragraphs_shown_once(
    support: Support, model: type[ScriptedModel]
) -> None:
    both = [assistant_message("One."), assistant_message("Two.")]
    conversation = await support.open(model=model([both, say("Three.")]))
    assert await answer_of(conversation.turn("hi")) == "One.\n\nTwo."
    assert await answer_of(conversation.turn("and?")) == "Three."


async def test_a_retry_knows_what_another_terminal_has_answered(support: Support) -> None:
    one = await support.open(RuntimeError("gone"), say("Again."))
    await failure_of(one.turn("hello?"))
    two = await support.open(say("Hi."), say("More."))
    await events(two.retry())
    await events(two.turn("tell me more"))
    assert "nothing to retry" in str(await failure_of(one.retry()))
    assert len(await one.transcript()) == 4


# What fails, and what the model does in that turn: before the take it is not asked.
FAILURES: dict[str, list[Any]] = {
    "take": [],
    "commit": [say("Lost.")],
    "the model": [RuntimeError("gone")],
}


@pytest.mark.parametrize("failing", FAILURES)
async def test_a_message_that_failed_is_retried_though_the_same_was_answered_before(
    support: Support, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    conversation = await support.open(say("One."), *FAILURES[failing], say("Two."))
    await events(conversation.turn("hi"))

    async def gone(*_: object, **__: object) -> None:
        raise PyMongoError("gone")

    with monkeypatch.context() as patch, pytest.raises(TurnFailed):
        if failing != "the model":
            patch.setattr(Lease, failing, gone)
        await events(conversation.turn("hi"))
    assert await answer_of(conversation.retry()) == "Two."
    assert await said(conversation) == ["hi", "One.", "hi", "Two."]


async def test_what_was_reset_is_not_sent_though_as_much_was_said_since(support: Support) -> None:
    one = await support.open(say("Forgotten."), say("Hello."), say("Fine."))
    two = await support.open(model=support.model)
    await events(one.turn("forget this"))
    await two.erase()
    await events(two.turn("hi"))
    await events(one.turn("and now?"))
    assert [item["content"] for item in support.last_input] == ["hi", "Hello.", "and now?"]


def test_session_ids_read_as_in_the_article_and_never_collide() -> None:
    assert session_id_for("alice@example.com") == "support_alice_at_example_com"
    plain = {"a.b@c.d", "a@b.c.d", "a-b@c.d"}
    others = {"a_b@c.d", "a_at_b@c.d", "x.at.y@z.com", "x@y.at.z.com", "a+b@c.d", "A.b@c.d"}
    others |= {"a..b@c.d", "a@b@c.d", "аlice@example.com"}  # a Cyrillic first letter
    ids = {email: session_id_for(email) for email in plain | others}
    assert len(set(ids.values())) == len(ids)
    assert {email for email in ids if "." not in ids[email]} == plain


async def test_a_turn_costs_no_more_commands_than_it_must(support: Support) -> None:
    """Take the lease with the message, look at the SDK's counters, the fence, the SDK's two writes.

    The commit is no operation to the profiler.
    """
    conversation = await support.open(say("a"), say("b"), say("c"))
    await events(conversation.turn("first, which makes the indexes and the session's document"))
    await events(conversation.turn("second, which sees that document for the first time"))
    await support.db.command("profile", 2)
    await events(conversation.turn("third"))
    await support.db.command("profile", 0)
    counted = [{"op": {"$ne": "command"}}, {"command.findAndModify": {"$exists": True}}]
    ran = await support.db["system.profile"].find({"$or": counted}).to_list()
    assert len(ran) == 5, [r["op"] for r in ran]


async def test_what_the_model_used_is_added_up_in_the_conversation(support: Support) -> None:
    """A question and its yes are two turns: what was used before the question counts once."""
    replies = [server_call("transfer_to_orders"), server_call("initiate_return", RETURN)]
    with ModelServer([*replies, server_say("Done."), server_say("Bye.")]) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        conversation = await support.open(model=OpenAIResponsesModel("m", client))
        approval = await approval_of(conversation.turn("return it"))
        first = conversation.usage
        await events(conversation.decide(approval, True))
        assert (first.requests, conversation.usage.requests) == (2, 1)
        await events(conversation.turn("bye"))
    used = (await support.record())["usage"]
    per_call = {name: count / 4 for name, count in used.items()}
    assert per_call == {"calls": 1, "input_tokens": 100, "cached_tokens": 0, "output_tokens": 10}


async def test_what_another_program_stored_or_cleared_is_seen_at_once(support: Support) -> None:
    conversation = await support.open(say("one"), say("two"), say("three"))
    await events(conversation.turn("first"))
    session = session_for(support.db)
    await session.add_items([{"role": "user", "content": "elsewhere"}])
    await events(conversation.turn("second"))
    sent = [item["content"] for item in support.last_input]
    assert sent == ["first", "one", "elsewhere", NO_ANSWER, "second"]
    await session.clear_session()
    await events(conversation.turn("third"))
    assert [item["content"] for item in support.last_input] == ["third"]
