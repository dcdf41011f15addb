"""What the rule-based model promises beside its answers, which are in offline_messages.py."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, ModelSettings, RunConfig, Runner
from agents.models.interface import ModelTracing
from agents.testing import ModelCall

from agents_def import build_agents
from database import Database
from engine.conversation import Conversation
from local.offline_lookup import HINT, UNKNOWN
from local.offline_model import OfflineModel, _respond
from tests.builders import answer_of, approval_of, events, path, text_of
from tests.conftest import TODAY, Support, context_for

MODEL = OfflineModel(delay=0)


@pytest.fixture
async def alice(support: Support) -> Conversation:
    return await support.open(model=MODEL)


async def answer(conversation: Conversation, message: str) -> tuple[str, list[str]]:
    """The answer, and the agents and tools on the way to it."""
    seen = await events(conversation.turn(message))
    return text_of(seen), path(seen)


async def test_an_unclear_return_asks_which_order_and_keeps_the_reason(support: Support) -> None:
    bob = await support.open(model=MODEL, email="bob@example.com")
    delivered = {"status": "delivered", "delivered_at": TODAY}
    await support.db.orders.update_one({"_id": "ORD-1003"}, {"$set": delivered})
    question, _ = await answer(bob, "I want to return my headphones because they hurt")
    assert question.endswith("Which order would you like to return?")
    assert "ORD-1003" in question and "ORD-1004" in question
    asked = await approval_of(bob.turn("ORD-1003"))
    assert "Reason: They hurt" in await answer_of(bob.decide(asked, True))


@pytest.mark.parametrize("message", ["what is the tallest tower?", "asdf qwer zxcv uiop", "🤷"])
async def test_what_no_article_answers_ends_at_triage_in_a_sentence_and_a_hint(
    alice: Conversation, message: str
) -> None:
    searched = ["search_knowledge_base", *["search_products"] * 2 * message.isascii()]
    expected = f"{UNKNOWN} {HINT}", ["Knowledge base", *searched, "Triage"]
    assert await answer(alice, message) == expected
    assert (await answer(alice, "where is my lamp?"))[1][0] == "Orders"
    assert await answer(alice, message) == expected
    assert "I can look up, track" in (await answer(alice, "what can you do?"))[0]


async def run(triage: Agent[Any], db: Database, items: Any) -> Any:
    return await Runner.run(
        triage, items, context=context_for(db), run_config=RunConfig(model=MODEL)
    )


async def test_a_message_is_never_passed_to_and_fro(db: Database) -> None:
    triage = build_agents()
    for agent in (triage, *triage.handoffs):
        assert isinstance(agent, Agent)
        agent.tools = []  # so that whoever gets the message has to look to the other
    done = await run(triage, db, "where is my lamp? what is the warranty?")
    assert done.final_output.startswith("I do not know")
    handoffs = [item for item in done.new_items if item.type == "handoff_output_item"]
    assert sorted(item.target_agent.name for item in handoffs) == ["Knowledge base", "Orders"]


async def test_an_answer_is_streamed_word_by_word(alice: Conversation) -> None:
    assert len(await events(alice.turn("hello"))) > 20


async def test_a_retry_answers_the_message_that_is_stored(db: Database) -> None:
    unanswered = [{"role": "user", "content": f"where is ORD-{n}?"} for n in (1001, 1002)]
    done = await run(build_agents(), db, unanswered)
    assert "ORD-1002" in done.final_output and "ORD-1001" not in done.final_output


async def test_ids_are_unique_so_that_no_call_is_mistaken_for_another(
    alice: Conversation, support: Support
) -> None:
    for message in ("where is ORD-1001?", "where is ORD-1001?", "thanks"):
        await answer(alice, message)
    items = await support.items()
    calls = [i["call_id"] for i in items if i.get("type") == "function_call"]
    messages = [i["id"] for i in items if i.get("role") == "assistant"]
    assert len(set(calls)) == len(calls) == 3 and all(c.startswith("call_") for c in calls)
    assert len(set(messages)) == len(messages) == 3 and all(m.startswith("msg_") for m in messages)


@pytest.mark.parametrize(
    "items",
    [
        "",
        [],
        [None, 7, "text", {}, {"role": "user"}, {"role": ["user"], "content": {"text": 3}}],
        [{"role": "assistant", "content": "Which order would you like to return?"}],
        [
            {"role": "assistant", "content": "Which order would you like to return?"},
            {"role": "user", "content": [{"type": "input_text", "text": "{tracking}"}, 5]},
            {"type": "function_call", "name": None, "arguments": "[" * 9999, "call_id": []},
            {"type": "function_call_output", "call_id": [], "output": [{"text": None}]},
            {"type": "function_call_output", "call_id": "orphan", "output": "Status: ?"},
            {"type": "reasoning", "summary": []},
        ],
        [{"role": "user", "content": "where is what and when " * 170}],
    ],
)
def test_no_input_makes_it_raise(items: Any) -> None:
    assert _respond(ModelCall(*_call(items), streamed=False, **_NO_IDS)).output  # type: ignore[misc]


_NO_IDS: Any = {"previous_response_id": None, "conversation_id": None, "prompt": None}


def _call(items: Any) -> Any:
    """The positional arguments of a model call by an agent without tools and handoffs."""
    return None, items, ModelSettings(), [], None, [], ModelTracing.DISABLED
