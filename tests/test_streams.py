"""Streams of one conversation: read in order, refused beside each other, stopped, left alone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, RunConfig, function_tool
from agents.extensions.memory import MongoDBSession
from agents.testing import ModelStep, ScriptedModel
from openai.types.responses import ResponseFunctionWebSearch
from openai.types.responses.response_function_web_search import ActionSearch
from openai.types.responses.response_output_item import McpCall

from engine import Limits, Reason, TurnFailed
from engine.events import CutOff, Stopped
from engine.history import CUT_OFF
from tests.builders import (
    SESSION,
    Visits,
    asked,
    call,
    delta,
    events,
    failure_of,
    hosted,
    said,
    say,
    settled,
    text_of,
    whole,
)

DESK = Agent(name="Desk")


def never() -> tuple[Any, asyncio.Event]:
    """A reply of a model that has been asked and never answers."""
    reached = asyncio.Event()

    async def wait(_: Any) -> Any:
        reached.set()
        await asyncio.Event().wait()

    return ModelStep.respond(wait), reached


async def beginning(_: Any) -> AsyncIterator[Any]:
    """A response that stays unfinished after its first word."""
    yield delta("Well")
    await asyncio.Event().wait()


BEGINNING = ModelStep.stream(beginning)


async def test_two_turns_made_at_once_and_read_in_order_are_both_answered(visits: Visits) -> None:
    conversation = await visits.open(DESK, say("1"), say("2"))
    one, two = conversation.turn("one"), conversation.turn("two")
    assert text_of(await events(one)) + text_of(await events(two)) == "12"
    assert await said(conversation) == ["one", "1", "two", "2"]


async def test_a_second_stream_while_one_runs_is_refused_in_words(visits: Visits) -> None:
    reply, reached = never()
    conversation = await visits.open(DESK, reply, say("2"))
    one = conversation.turn("one")
    reading = asyncio.create_task(events(one))
    await reached.wait()
    for second in conversation.turn("two"), conversation.retry(), conversation.resume():
        failed = await failure_of(second)
        assert failed.reason is Reason.ALREADY_ANSWERING
    with pytest.raises(TurnFailed, match="An answer is under way"):
        await conversation.erase()
    conversation.stop()
    assert (await reading)[-1] == Stopped()
    assert text_of(await events(conversation.retry())) == "2"
    assert await said(conversation) == ["one", "2"]


async def test_a_stream_that_everybody_has_forgotten_blocks_nobody(visits: Visits) -> None:
    """One that is closed or cancelled: tests/test_faults.py, with the lease until its end."""
    conversation = await visits.open(DESK, BEGINNING, say("2"))
    one = conversation.turn("one")
    assert text_of([await anext(one)]) == "Well"
    del one
    gc.collect()
    while not await visits.is_free():
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # the stream ends a moment after its last write
    assert text_of(await events(conversation.turn("two"))) == "2"
    assert await visits.users() == ["one", "two"]


async def test_what_was_made_and_never_read_runs_nothing(visits: Visits) -> None:
    conversation = await visits.open(DESK, say("2"))
    one = conversation.turn("one")
    del one
    gc.collect()
    assert text_of(await events(conversation.turn("two"))) == "2"
    assert await said(conversation) == ["two", "2"]


# Stop


ACTION = ActionSearch(type="search", query="rooms")
SEARCH = ResponseFunctionWebSearch(
    id="ws_1", type="web_search_call", status="completed", action=ACTION
)
MCP = McpCall(
    id="mcp_1", type="mcp_call", arguments="{}", name="look", server_label="files", output="Two."
)


def after(item: Any) -> tuple[Any, asyncio.Event]:
    """A response with a hosted call, which then never comes to its end."""
    reached = asyncio.Event()

    async def stream(_: Any) -> AsyncIterator[Any]:
        for event in whole(item):
            yield event
        reached.set()
        await asyncio.Event().wait()

    return ModelStep.stream(stream), reached


HOSTED = pytest.mark.parametrize("item", [SEARCH, MCP], ids=["web_search", "mcp"])
# The response with the call does not end; or it has ended, and the model is asked again.
WHERE = pytest.mark.parametrize("where", ["in the response", "in the next"])


def replies(item: Any, where: str) -> tuple[list[Any], asyncio.Event]:
    reply, reached = after(item) if where == "in the response" else never()
    return [reply] if where == "in the response" else [hosted(item), reply], reached


@HOSTED
@WHERE
async def test_stop_stops_after_a_hosted_call(visits: Visits, item: Any, where: str) -> None:
    script, reached = replies(item, where)
    conversation = await visits.open(DESK, *script)
    reading = asyncio.create_task(events(conversation.turn("rooms?")))
    await asyncio.wait_for(reached.wait(), 5)
    await asyncio.sleep(0.05)
    conversation.stop()
    assert (await asyncio.wait_for(reading, 5))[-1] == Stopped()
    assert await visits.is_free()
    assert conversation.unanswered == "rooms?"


async def test_a_stop_just_before_the_model_is_asked_again_stops(visits: Visits) -> None:
    asked: list[object] = []

    def stop_at_the_second(data: Any) -> Any:
        asked.append(data)
        if len(asked) == 2:
            conversation.stop()
        return data.model_data

    script, _ = replies(SEARCH, "in the next")
    config = RunConfig(model=ScriptedModel(script), call_model_input_filter=stop_at_the_second)
    conversation = await visits.open(DESK, run_config=config)
    assert (await asyncio.wait_for(events(conversation.turn("rooms?")), 5))[-1] == Stopped()
    assert await visits.is_free()
    assert conversation.unanswered == "rooms?"


@HOSTED
@WHERE
async def test_time_is_limited_after_a_hosted_call(visits: Visits, item: Any, where: str) -> None:
    script, _ = replies(item, where)
    failed = await visits.fails(DESK, "rooms?", *script, limits=Limits(seconds=0.3))
    assert failed.reason is Reason.MODEL_SILENT
    assert await visits.is_free()


async def test_an_answer_whose_time_is_up_is_kept_as_cut_off(visits: Visits) -> None:
    limits = Limits(seconds=1)
    conversation = await visits.open(DESK, BEGINNING, limits=limits)
    seen = await asyncio.wait_for(events(conversation.turn("rooms?")), 5)
    assert (text_of(seen), seen[-1]) == ("Well", CutOff())
    assert (await conversation.transcript())[-1].text == f"Well {CUT_OFF}"
    assert await visits.is_free()
    assert conversation.unanswered is None


async def test_an_answer_after_a_hosted_call_leaves_nothing_to_recover(visits: Visits) -> None:
    await visits.turn(DESK, "hi", hosted(SEARCH, *say("found")))
    assert await visits.is_free()
    assert (await visits.record())["unanswered_since"] is None


@function_tool(needs_approval=True)
async def book(day: str) -> str:
    """Book a day."""
    return f"Booked {day}."


@pytest.mark.parametrize("how", ["stop", "time limit"])
async def test_an_answer_after_a_nested_approval_can_be_stopped(visits: Visits, how: str) -> None:
    inner = Agent(name="Inner", tools=[book])
    front = Agent(name="Front", tools=[inner.as_tool("ask_inner", "Ask.")])
    replies = call("ask_inner", "o", input="Monday"), call("book", "i", day="Monday")
    needed = asked(await visits.turn(front, "Monday", *replies))
    reply, reached = never()
    limits = Limits(seconds=1.5 if how == "time limit" else 300)
    conversation = await visits.open(front, say("The desk: done."), reply, limits=limits)
    reading = asyncio.create_task(events(conversation.decide(needed, True)))
    await asyncio.wait_for(reached.wait(), 5)
    if how == "stop":
        conversation.stop()
        seen = await asyncio.wait_for(reading, 5)
        assert (settled(seen), seen[-1]) == ([(True, "Booked Monday.")], Stopped())
    else:
        with pytest.raises(TurnFailed) as raised:
            await asyncio.wait_for(reading, 5)
        assert raised.value.reason is Reason.MODEL_SILENT
    assert await visits.is_free()
    assert text_of(await visits.retry(front, say("It is booked."))) == "It is booked."
    assert await visits.calls_without_output() == []


# The session's own names

NAMES = {"sessions_collection": "my_sessions", "messages_collection": "my_messages"}


async def test_a_sessions_own_collections_are_used_seen_and_erased(visits: Visits) -> None:
    visits.names, visits.options = NAMES, {"records": "my_records"}
    conversation = await visits.open(DESK, say("1"), say("2"), say("3"))
    await events(conversation.turn("one"))
    foreign = MongoDBSession(SESSION, client=visits.client, database=visits.database, **NAMES)
    await foreign.add_items([{"role": "user", "content": "foreign"}])
    await events(conversation.turn("two"))
    assert "foreign" in await said(conversation)
    names = set(await visits.db.list_collection_names())
    assert names == {"my_sessions", "my_messages", "my_records"}
    await conversation.erase()
    for name in names:
        assert await visits.db[name].count_documents({}) == 0, name
    assert text_of(await events(conversation.turn("three"))) == "3"


async def test_what_was_opened_is_a_snapshot_and_says_so(visits: Visits) -> None:
    conversation = await visits.open(DESK, say("1"))
    await events(conversation.turn("one"))
    assert (conversation.opened.total, conversation.opened.recent) == (0, ())
    again = await visits.open(DESK)
    assert (again.opened.total, len(again.opened.recent), again.opened.pending) == (2, 2, False)
    assert again.opened.last_active
    with pytest.raises(AttributeError):
        again.opened.total = 3  # type: ignore[misc]
