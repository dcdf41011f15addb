"""A conversation goes on: across turns, handoffs, approvals and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.items import TResponseStreamEvent
from agents.models.openai_responses import OpenAIResponsesModel
from agents.testing import ScriptedModel, assistant_message, function_call
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from pymongo.errors import PyMongoError

from database import Database
from engine.conversation import Conversation
from engine.events import HandedOff, Settled, ToolStarted, TurnFailed
from engine.history import NO_ANSWER
from engine.lease import Lease
from engine.options import Limits
from shop import session_id_for
from tests.builders import (
    RETURN,
    Open,
    approval_of,
    call,
    events,
    return_1001,
    returning,
    say,
    stored_items,
    text_of,
)
from tests.conftest import session_for
from tests.model_server import ModelServer
from tests.model_server import call as server_call
from tests.model_server import say as server_say

THREE_LINES = (
    "Return initiated for order ORD-1001.\n"
    "Reason: Not powerful enough\n"
    "Estimated refund: $1,484.98 (includes 10% Gold loyalty bonus)"
)


async def test_a_turn_streams_the_answer_and_stores_both_messages(
    db: Database, open_conversation: Open
) -> None:
    conversation = await open_conversation(ScriptedModel([say("Hello, Alice.")]))
    assert text_of(await events(conversation.turn("hi"))) == "Hello, Alice."
    assert await conversation.transcript() == [("user", "hi"), ("assistant", "Hello, Alice.")]
    assert conversation.unanswered is None


async def test_a_handoff_is_told_and_kept_across_processes(
    db: Database, open_conversation: Open
) -> None:
    first = await open_conversation(
        ScriptedModel([call("transfer_to_orders"), call("list_orders", "call_2"), say("Two.")])
    )
    seen = await events(first.turn("my orders?"))
    assert seen[:2] == [HandedOff("Orders"), ToolStarted("list_orders")]

    model = ScriptedModel([say("Still Orders.")])
    second = await open_conversation(model)
    seen = await events(second.turn("and now?"))
    assert text_of(seen) == "Still Orders."
    assert not any(isinstance(event, HandedOff) for event in seen)
    assert {tool.name for tool in model.first_call.tools} >= {"get_order", "initiate_return"}
    assert model.first_call.input[0] == {"role": "user", "content": "my orders?"}


async def test_an_agent_that_no_longer_exists_falls_back_to_triage(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel([say("one"), say("two")])
    conversation = await open_conversation(model)
    await events(conversation.turn("hi"))
    await db.conversations.update_one({}, {"$set": {"active_agent": "Renamed"}})
    assert text_of(await events(conversation.turn("again"))) == "two"
    assert model.last_call.tools == []


async def test_a_yes_returns_the_order_with_the_three_lines(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel([call("transfer_to_orders", "call_0"), return_1001(), say("Done.")])
    conversation = await open_conversation(model)
    approval = await approval_of(conversation.turn("return ORD-1001, not powerful enough"))
    assert approval.question == (
        "Return order ORD-1001: Aero 14 Laptop, Felt Laptop Sleeve. "
        "Refund $1,484.98 (includes 10% Gold loyalty bonus).\n"
        "Reason: Not powerful enough\n"
        "Make this return? [y/N] "
    )
    assert (await db.orders.find_one({"_id": "ORD-1001"}))["return"] is None

    assert text_of(await events(conversation.decide(approval, True))) == "Done."
    order = await db.orders.find_one({"_id": "ORD-1001"})
    assert order["return"]["refund_cents"] == 148_498
    outputs = [i["output"] for i in await stored_items(db) if "output" in i]
    assert outputs[-1] == THREE_LINES
    assert model.last_call.input[-1]["output"] == THREE_LINES
    assert (await db.conversations.find_one({}))["pending"] is None


async def test_a_no_returns_nothing_and_is_told_to_the_model(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel(
        [call("transfer_to_orders", "call_0"), return_1001(), say("As you wish.")]
    )
    conversation = await open_conversation(model)
    approval = await approval_of(conversation.turn("return it"))
    assert text_of(await events(conversation.decide(approval, False))) == "As you wish."
    assert (await db.orders.find_one({"_id": "ORD-1001"}))["return"] is None
    assert model.last_call.input[-1]["output"] == "The customer said no, so it was not done."


async def test_a_pending_approval_is_asked_again_after_a_restart(
    db: Database, open_conversation: Open
) -> None:
    _, before = await returning(open_conversation)

    second = await open_conversation(ScriptedModel([say("Done.")]))
    again = await approval_of(second.resume())
    assert again.question == before.question
    assert text_of(await events(second.decide(again, True))) == "Done."
    assert (await db.orders.find_one({"_id": "ORD-1001"}))["return"] is not None
    assert await events(second.resume()) == []
    assert second.unanswered is None


async def test_a_new_message_withdraws_a_question_for_good(
    db: Database, open_conversation: Open
) -> None:
    conversation, withdrawn = await returning(open_conversation, say("Sunny."))
    seen = await events(conversation.turn("how is the weather?"))
    assert seen[0] == Settled(False, "Nothing was returned.")
    assert text_of(seen) == "Sunny."
    assert (await db.conversations.find_one({}))["pending"] is None
    for each in (conversation, await open_conversation(ScriptedModel())):
        assert await events(each.resume()) == []
        with pytest.raises(TurnFailed, match="already answered elsewhere"):
            await events(each.decide(withdrawn, True))
    assert (await db.orders.find_one({"_id": "ORD-1001"}))["return"] is None
    users = [m.text for m in await conversation.transcript() if m.role == "user"]
    assert users == ["return it", "how is the weather?"]


async def test_what_cannot_be_returned_is_refused_without_a_question(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel(
        [
            call("transfer_to_orders", "call_0"),
            call("initiate_return", order_id="ORD-1004", reason="old"),
            say("Too late."),
        ]
    )
    conversation = await open_conversation(model, "bob@example.com")
    assert text_of(await events(conversation.turn("return ORD-1004"))) == "Too late."
    assert "30-day window has closed" in model.last_call.input[-1]["output"]


async def test_the_same_return_again_is_answered_with_the_one_that_exists(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel(
        [
            call("transfer_to_orders", "call_0"),
            return_1001(),
            say("Done."),
            return_1001("call_2"),
            say("You have it already."),
        ]
    )
    conversation = await open_conversation(model)
    await events(conversation.decide(await approval_of(conversation.turn("return it")), True))
    assert text_of(await events(conversation.turn("again"))) == "You have it already."
    assert "already has a return, since 22 Nov 2026" in model.last_call.input[-1]["output"]
    assert len((await db.orders.find_one({"_id": "ORD-1001"}))["history"]) == 4


async def test_two_equal_calls_in_one_response_ask_once_and_return_once(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel(
        [
            call("transfer_to_orders", "call_0"),
            [*return_1001("call_1"), *return_1001("call_2")],
            say("Done."),
        ]
    )
    conversation = await open_conversation(model)
    approval = await approval_of(conversation.turn("return it"))
    assert text_of(await events(conversation.decide(approval, True))) == "Done."
    outputs = [i["output"] for i in model.last_call.input if "output" in i][-2:]
    assert outputs[0] == THREE_LINES
    assert "already has a return" in outputs[1]


async def test_a_yes_to_an_earlier_question_does_not_answer_a_later_one(
    db: Database, open_conversation: Open
) -> None:
    """One terminal still shows the question of ORD-1001; the other is asked about ORD-2001."""
    order = await db.orders.find_one({"_id": "ORD-1001"})
    await db.orders.insert_one(order | {"_id": "ORD-2001"})
    other = call("initiate_return", "call_2", order_id="ORD-2001", reason="too heavy")
    conversation, earlier = await returning(open_conversation, say("Kept."), other)
    await events(conversation.decide(earlier, False))
    later = await approval_of(conversation.turn("then the other one"))
    assert "ORD-2001" in later.question

    with pytest.raises(TurnFailed, match="already answered elsewhere"):
        await events(conversation.decide(earlier, True))
    assert await db.orders.count_documents({"return": {"$ne": None}}) == 0
    assert (await approval_of(conversation.resume())).question == later.question


async def test_after_a_pending_return_that_became_impossible_the_right_agent_answers(
    db: Database, open_conversation: Open
) -> None:
    """Telling of the refusal, the model hands off; the next message goes to that agent."""
    script = [call("transfer_to_orders", "call_0"), return_1001()]
    script += [call("transfer_to_knowledge_base", "call_2")]
    script += [say("That is too late."), say("24 months.")]
    model = ScriptedModel(script)
    conversation = await open_conversation(model)
    await approval_of(conversation.turn("return it"))
    await db.orders.update_one({"_id": "ORD-1001"}, {"$set": {"status": "shipped"}})
    assert text_of(await events(conversation.resume())) == "That is too late."
    seen = await events(conversation.turn("how long is the warranty?"))
    assert text_of(seen) == "24 months."
    assert "search_knowledge_base" in {tool.name for tool in model.last_call.tools}


async def test_a_handoff_that_had_to_wait_for_a_question_is_kept(
    db: Database, open_conversation: Open
) -> None:
    """Its call is stored before the question, its output after it."""
    both = [*return_1001("call_1"), *call("transfer_to_triage", "call_2")]
    script = [call("transfer_to_orders", "call_0"), both, say("Done.")]
    conversation = await open_conversation(ScriptedModel(script))
    approval = await approval_of(conversation.turn("return it"))
    assert HandedOff("Triage") in await events(conversation.decide(approval, True))
    assert (await db.conversations.find_one({}))["active_agent"] == "Triage"


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
    db: Database, open_conversation: Open, model: type[ScriptedModel]
) -> None:
    both = [assistant_message("One."), assistant_message("Two.")]
    conversation = await open_conversation(model([both, say("Three.")]))
    assert text_of(await events(conversation.turn("hi"))) == "One.\n\nTwo."
    assert text_of(await events(conversation.turn("and?"))) == "Three."


async def test_words_before_a_call_that_is_refused_stand_apart(
    db: Database, open_conversation: Open
) -> None:
    late = call("initiate_return", order_id="ORD-1004", reason="old")
    script = [call("transfer_to_orders", "call_0"), [*say("Let me see."), *late], say("Too late.")]
    conversation = await open_conversation(ScriptedModel(script), "bob@example.com")
    assert text_of(await events(conversation.turn("return it"))) == "Let me see.\n\nToo late."


async def test_a_retry_knows_what_another_terminal_has_answered(
    db: Database, open_conversation: Open
) -> None:
    one = await open_conversation(ScriptedModel([RuntimeError("gone"), say("Again.")]))
    with pytest.raises(TurnFailed):
        await events(one.turn("hello?"))
    two = await open_conversation(ScriptedModel([say("Hi."), say("More.")]))
    await events(two.retry())
    await events(two.turn("tell me more"))
    with pytest.raises(TurnFailed, match="nothing to retry"):
        await events(one.retry())
    assert len(await one.transcript()) == 4


@pytest.mark.parametrize(("command", "calls"), [("take", 0), ("commit", 1)])
async def test_a_message_that_was_never_stored_is_retried_though_the_same_was_answered_before(
    db: Database, open_conversation: Open, monkeypatch: pytest.MonkeyPatch, command: str, calls: int
) -> None:
    """Before the take, the model is not asked; after it, its answer is lost."""
    script = [say("One."), *[say("Lost.")] * calls, say("Two.")]
    conversation = await open_conversation(ScriptedModel(script))
    await events(conversation.turn("hi"))

    async def gone(*_: object, **__: object) -> None:
        raise PyMongoError("gone")

    with monkeypatch.context() as patch, pytest.raises(TurnFailed, match="stopped answering"):
        patch.setattr(Lease, command, gone)
        await events(conversation.turn("hi"))
    assert text_of(await events(conversation.retry())) == "Two."


async def test_the_model_sees_the_last_whole_turns_however_long_the_thread(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel()
    conversation = await open_conversation(model)
    for number in range(Limits.turns + 5):
        model.enqueue(say(f"answer {number}"))
        await events(conversation.turn(f"message {number}"))
    sent = model.last_call.input
    assert len([i for i in sent if i.get("role") == "user"]) == Limits.turns
    assert sent[0] == {"role": "user", "content": "message 5"}
    assert len(sent) <= Limits.items + 1


async def test_handoffs_without_end_become_a_polite_answer(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel()
    conversation = await open_conversation(model)
    for number in range(5):
        model.extend(
            [call("transfer_to_orders", f"a{number}"), call("transfer_to_triage", f"b{number}")]
        )
    assert "one thing at a time" in text_of(await events(conversation.turn("hm")))
    assert conversation.unanswered is None


async def test_an_unknown_tool_and_broken_arguments_do_not_end_the_turn(
    db: Database, open_conversation: Open
) -> None:
    broken = [function_call("initiate_return", '{"order_id": ', call_id="call_3")]
    model = ScriptedModel(
        [call("fly"), call("transfer_to_orders", "call_2"), broken, say("Sorry.")]
    )
    conversation = await open_conversation(model)
    assert text_of(await events(conversation.turn("hm"))) == "Sorry."


async def test_what_was_reset_elsewhere_is_not_sent_though_as_much_was_said_since(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel([say("Forgotten."), say("Hello."), say("Fine.")])
    one, two = await open_conversation(model), await open_conversation(model)
    await events(one.turn("forget this"))
    await two.erase()
    await events(two.turn("hi"))
    await events(one.turn("and now?"))
    assert [item["content"] for item in model.last_call.input] == ["hi", "Hello.", "and now?"]


def test_session_ids_read_as_in_the_article_and_never_collide() -> None:
    assert session_id_for("alice@example.com") == "support_alice_at_example_com"
    emails = [
        "a.b@c.d",
        "a_b@c.d",
        "a@b.c.d",
        "a_at_b@c.d",
        "x.at.y@z.com",
        "x@y.at.z.com",
        "a+b@c.d",
        "A.b@c.d",
        "a-b@c.d",
        "a..b@c.d",
        "a@b@c.d",
        "аlice@example.com",  # a Cyrillic first letter
    ]
    ids = [session_id_for(email) for email in emails]
    assert len(set(ids)) == len(ids)
    plain = {"a.b@c.d", "a@b.c.d", "a-b@c.d"}
    assert all(("." in session_id_for(email)) == (email not in plain) for email in emails)


async def test_a_turn_costs_no_more_commands_than_it_must(
    db: Database, open_conversation: Open
) -> None:
    """Take the lease with the message, look at the SDK's counters, the fence, the SDK's two writes.

    The commit is no operation to the profiler.
    """
    script = [say("a"), say("b"), say("c")]
    conversation: Conversation = await open_conversation(ScriptedModel(script))
    await events(conversation.turn("first, which makes the indexes and the session's document"))
    await events(conversation.turn("second, which sees that document for the first time"))
    await db.command("profile", 2)
    await events(conversation.turn("third"))
    await db.command("profile", 0)
    ran = await db["system.profile"].find({"op": {"$ne": "command"}}).to_list()
    ran += await db["system.profile"].find({"command.findAndModify": {"$exists": True}}).to_list()
    assert len(ran) == 5, [r["op"] for r in ran]


async def test_what_the_model_used_is_added_up_in_the_conversation(
    db: Database, open_conversation: Open
) -> None:
    """A question and its yes are two turns: what was used before the question counts once."""
    replies = [server_call("transfer_to_orders"), server_call("initiate_return", RETURN)]
    with ModelServer([*replies, server_say("Done."), server_say("Bye.")]) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        conversation = await open_conversation(OpenAIResponsesModel("m", client))
        approval = await approval_of(conversation.turn("return it"))
        first = conversation.usage
        await events(conversation.decide(approval, True))
        assert (first.requests, conversation.usage.requests) == (2, 1)
        await events(conversation.turn("bye"))
    used = (await db.conversations.find_one({}))["usage"]
    per_call = {name: count / 4 for name, count in used.items()}
    assert per_call == {"calls": 1, "input_tokens": 100, "cached_tokens": 0, "output_tokens": 10}


async def test_what_another_program_stored_or_cleared_is_seen_by_the_next_turn(
    db: Database, open_conversation: Open
) -> None:
    model = ScriptedModel([say("one"), say("two"), say("three")])
    conversation: Conversation = await open_conversation(model)
    await events(conversation.turn("first"))
    session = session_for(db)
    await session.add_items([{"role": "user", "content": "elsewhere"}])
    await events(conversation.turn("second"))
    assert [item["content"] for item in model.last_call.input] == [
        *("first", "one", "elsewhere", NO_ANSWER, "second")
    ]
    await session.clear_session()
    await events(conversation.turn("third"))
    assert [item["content"] for item in model.last_call.input] == ["third"]


async def test_the_answer_gives_the_lease_back_in_the_same_write(
    db: Database, open_conversation: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Lease) -> None: ...

    monkeypatch.setattr(Lease, "_give_back", nothing)
    conversation: Conversation = await open_conversation(ScriptedModel([say("Hello.")]))
    await events(conversation.turn("hi"))
    stored = await db.conversations.find_one({})
    assert (stored["lease"], stored["messages"], stored["usage"]["calls"]) == (None, 2, 1)
