"""A message is accepted once, and a deed is done once, whatever gets lost on the way.

Terminal A reaches mongod over a link that stalls at one exact command, and its process counts as
dead from there on, or goes on later; terminal B has no link. On a replica set and on a standalone.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agents import Agent, RunConfig, RunContextWrapper, function_tool
from agents.extensions.memory import MongoDBSession
from agents.testing import ModelStep, ScriptedModel
from pymongo import AsyncMongoClient, timeout

from database import Database, Document, connect
from engine import Commit, Conversation, Limits, Refusal, TurnFailed, recover
from engine.deed import NOT_KNOWN
from engine.events import Event, Settled, Waiting
from engine.record import FORMAT
from local.mongod import Mongod
from tests.builders import (
    Open,
    approval_of,
    call,
    events,
    failure_of,
    returning,
    said,
    say,
    stored_items,
    text_of,
)
from tests.proxy import Link, Side
from tests.seeded import empty
from tests.servers import on_both

SAID: Any = [{"role": "assistant", "content": "Said elsewhere."}]
LEASE = Limits(lease_seconds=2.0)
pytestmark = on_both


@asynccontextmanager
async def over_link(mongod: Mongod) -> AsyncIterator[tuple[Link, AsyncMongoClient[Document]]]:
    async with Link(mongod.port) as link, await connect(link.uri) as client:
        yield link, client
        link.release()


async def open_as_alice(client: AsyncMongoClient[Document], db: Database, *script: Any) -> Any:
    return await open_plain(client[db.name], ScriptedModel(list(script)))


async def open_plain(db: Database, model: ScriptedModel, **options: Any) -> Conversation:
    """A conversation with one agent that only talks, or with the agent among the options."""
    options.setdefault("agent", Agent(name="Talker"))
    return await Conversation.open(
        MongoDBSession("visit", client=db.client, database=db.name),
        owner="alice",
        run_config=RunConfig(model=model),
        limits=LEASE,
        **options,
    )


async def users(db: Database) -> list[str]:
    """Whom the messages in the history are from, and what waits in the inbox."""
    record = await db.conversations.find_one({}) or {}
    inbox = [json.loads(each["item"]) for each in record.get("inbox") or []]
    items = [*await stored_items(db), *inbox]
    return [item["content"] for item in items if item.get("role") == "user"]


async def lose(conversation: Conversation, link: Link, number: int, side: Side) -> None:
    """Send "two", and hear no reply to the command with this number."""
    link.hold_at(number, side)
    with pytest.raises(TurnFailed) as failed, timeout(1.5):  # or it waits for twice as long
        await events(conversation.turn("two"))
    assert link.stalled.is_set()
    assert failed.value.maybe_stored
    assert conversation.unanswered == "two"


@pytest.mark.parametrize(
    "meanwhile", ["nothing", "/history", "answered", "answered, and more", "reset"]
)
async def test_a_message_whose_acceptance_was_not_heard_counts_once(
    mongod: Mongod, db: Database, meanwhile: str
) -> None:
    async with over_link(mongod) as (link, far):
        a = await open_as_alice(far, db, say("1"), say("2"))
        await events(a.turn("one"))
        await lose(a, link, 0, "after")
        b = await open_as_alice(db.client, db, say("2"), say("3"))
        assert b.unanswered == "two"
        if meanwhile.startswith("answered"):
            assert text_of(await events(b.retry())) == "2"
        if meanwhile == "answered, and more":
            await events(b.turn("three"))
        if meanwhile == "reset":
            await b.erase()
        link.release()
        if meanwhile == "/history":  # A has seen its own message now
            assert await said(a) == ["one", "1", "two"]
        if meanwhile.startswith("answered"):
            assert "nothing to retry" in str(await failure_of(a.retry()))
        else:
            assert text_of(await events(a.retry())) == "2"
    expected = {"answered, and more": ["one", "two", "three"], "reset": ["two"]}
    assert await users(db) == expected.get(meanwhile, ["one", "two"])


@pytest.mark.parametrize("begun", ["new", "old"])
@pytest.mark.parametrize("meanwhile", ["another message", "reset", "reset, and a message"])
async def test_a_take_that_arrives_late_adds_nothing(
    mongod: Mongod, db: Database, begun: str, meanwhile: str
) -> None:
    """Its process is dead by then."""
    async with over_link(mongod) as (link, far):
        a = await open_as_alice(far, db, say("1"))
        if begun == "old":
            await events(a.turn("one"))
        # A new one makes its record first.
        await lose(a, link, 0 if begun == "old" else 1, "before")
        b = await open_as_alice(db.client, db, say("3"))
        if meanwhile.startswith("reset"):
            await b.erase()
        if meanwhile.endswith("message"):
            await events(b.turn("three"))
        link.release()
        await asyncio.sleep(0.5)  # it runs, though nobody waits for its reply
    expected = ["one"] * (begun == "old") + ["three"]
    if meanwhile.startswith("reset"):
        expected = ["three"] * meanwhile.endswith("message")
    assert await users(db) == expected
    record = await db.conversations.find_one({})
    if meanwhile == "reset":
        assert record is None
    else:
        assert record["lease"] is None and record["inbox"] == []


@pytest.mark.parametrize("code", [50, 64], ids=["out of time", "wtimeout"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_majority_that_lags_is_not_another_holder(
    db: Database, code: int, times: int
) -> None:
    """mongod has accepted the message, and says only that the majority has not got it yet."""
    conversation = await open_plain(db, ScriptedModel([say("1"), say("2")]))
    await events(conversation.turn("one"))
    lag = {"code": code, "errmsg": "waiting for replication", "errInfo": {"wtimeout": code == 64}}
    failing = {"failCommands": ["findAndModify"], "writeConcernError": lag}
    point = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": failing}
    await db.client.admin.command(point)
    told: list[Event] = []
    try:
        async for event in conversation.turn("two"):
            told.append(event)
    except TurnFailed as error:
        assert times == 2 and error.maybe_stored
        told += await events(conversation.retry())
    assert Waiting() not in told and text_of(told) == "2"
    assert await users(db) == ["one", "two"]


async def test_recover_answers_a_message_that_has_no_answer_once(
    mongod: Mongod, db: Database
) -> None:
    async def open_again(_: Mapping[str, Any]) -> Conversation:
        return await open_plain(db, ScriptedModel([say("1")]))

    failing = await open_plain(db, ScriptedModel([RuntimeError("gone")]))
    await failure_of(failing.turn("one"))
    assert await recover(db.conversations, open_again, older_than=0) == 1
    assert await recover(db.conversations, open_again, older_than=0) == 0
    assert await said(await open_again({})) == ["one", "1"]


# A tool that has no guard of its own, and is called again whenever the model likes


Write = Callable[[Database, str], Awaitable[Any]]


async def _insert(db: Database, to: str) -> str:
    await db.payments.insert_one({"to": to})
    return f"Paid {to}."


async def _refuse(db: Database, to: str) -> str:
    raise Refusal("The till is closed.")


def cashier(db: Database, write: Write = _insert) -> Agent[Commit]:
    @function_tool(needs_approval=True)
    async def pay(context: RunContextWrapper[Commit], to: str) -> str:
        try:
            return str(await context.context(lambda: write(db, to)))
        except Refusal as refusal:
            return str(refusal)

    return Agent(name="Cashier", tools=[pay])


async def open_till(
    client: AsyncMongoClient[Document],
    db: Database,
    *script: Any,
    write: Write = _insert,
    nested: bool = False,
) -> tuple[Conversation, ScriptedModel]:
    till, model = client[db.name], ScriptedModel(list(script))
    agent = cashier(till, write)
    if nested:
        agent = Agent(name="Front", tools=[agent.as_tool("ask_till", "Ask the till.")])
    return await open_plain(till, model, agent=agent, context=lambda commit: commit), model


COMMANDS = range(2, 9)  # of a yes: after the take and the look at the counters, to the next step's


@pytest.mark.parametrize("nested", [False, True])
async def test_a_careless_deed_is_done_once_wherever_its_process_dies(
    mongod: Mongod, db: Database, nested: bool
) -> None:
    """Also if an agent that is a tool of another does it."""

    async def case(number: int) -> None:
        own = db.client[f"{db.name}_{number}"]
        await empty(own)  # what a test that failed left there
        await done_once_though_it_dies(mongod, own, number, nested)

    # At once: most of their time they wait for the end of a lease.
    await asyncio.gather(*map(case, COMMANDS))


async def done_once_though_it_dies(mongod: Mongod, db: Database, number: int, nested: bool) -> None:
    inner = [say("Paid.")] * nested  # what the tool's agent says
    async with over_link(mongod) as (link, far):
        script = [call("ask_till", "outer", input="pay Bob")] * nested + [call("pay", to="Bob")]
        a, _ = await open_till(far, db, *script, *inner, say("Paid."), nested=nested)
        needed = await approval_of(a.turn("pay Bob"))
        link.hold_at(number)
        deciding = asyncio.create_task(events(a.decide(needed, True)))
        await asyncio.wait_for(link.stalled.wait(), 5)
        done = await db.payments.count_documents({})
        link.cut()
        b, model = await open_till(db.client, db, *inner, say("Paid."), nested=nested)
        told = await events(b.retry())
        if b.opened.pending:  # nothing was done yet, so the yes is asked for again
            assert done == 0
            told = await events(b.decide(told[-1], True))  # type: ignore[arg-type]
        settled = [event for event in told if isinstance(event, Settled)]
        assert [each.done for each in settled] == [True]
        assert text_of(told) == "Paid."
        result = model.last_call.input[-1]["output"]
        stored = [item["output"] for item in await stored_items(db) if "output" in item]
        shown = settled[0].text
        assert stored == [result] and (shown == result.partition("\n")[0] or nested)
        payments = await db.payments.count_documents({})
        if "setName" in await db.client.admin.command("hello"):
            assert (payments, shown) == (1, "Paid Bob.")
        else:
            assert (payments, shown) in ((1, "Paid Bob."), (done, NOT_KNOWN))
        link.release()
        await asyncio.wait({deciding})
    assert await db.payments.count_documents({}) == payments
    assert deciding.exception() is not None


async def test_a_deed_belongs_to_the_call_that_was_approved(mongod: Mongod, db: Database) -> None:
    """Two calls in one response, with ids that an earlier turn had, too."""
    async with over_link(mongod) as (link, far):
        both = [*call("pay", "call_0", to="Bob"), *call("pay", "call_1", to="Carol")]
        script = [call("pay", "call_0", to="Ann"), say("Ok."), both]
        a, _ = await open_till(far, db, *script)
        await events(a.decide(await approval_of(a.turn("pay Ann")), True))
        needed = await approval_of(a.turn("pay Bob and Carol"))
        assert "Bob" in needed.question
        link.hold_when("insert agent_messages")  # the deed is stored, its output is not
        deciding = asyncio.create_task(events(a.decide(needed, True)))
        await asyncio.wait_for(link.stalled.wait(), 5)
        assert await db.payments.distinct("to") == ["Ann", "Bob"]
        link.cut()
        b, model = await open_till(db.client, db, say("Paid."))
        assert Settled(True, "Paid Bob.") in await events(b.retry())
        sent = {i["call_id"]: i for i in model.last_call.input if i.get("type") == "function_call"}
        (output,) = [i for i in model.last_call.input if i.get("output") == "Paid Bob."]
        assert "Bob" in sent[output["call_id"]]["arguments"]
        link.release()
        await asyncio.wait({deciding})
        deciding.exception()


async def test_a_refused_deed_is_not_taken_for_the_output_of_the_next_question(
    mongod: Mongod, db: Database
) -> None:
    script = [call("pay", "call_0", to="Bob"), call("pay", "call_1", to="Carol")]
    a, _ = await open_till(db.client, db, *script, write=_refuse)
    again = await approval_of(a.decide(await approval_of(a.turn("pay Bob")), True))
    assert "Carol" in again.question
    b, _ = await open_till(db.client, db, say("Paid."))
    assert await events(b.resume()) == [again]
    assert text_of(await events(b.decide(again, True))) == "Paid."
    assert await db.payments.distinct("to") == ["Carol"]


# The record: other versions, other owners, other programs


async def test_a_record_of_the_first_format_is_read(db: Database, open_conversation: Open) -> None:
    """It had no format, an `email`, no ids, and a pending approval in plain words."""
    await returning(open_conversation)
    record = await db.conversations.find_one({})
    pending = {**record["pending"], "arguments": json.loads(record["pending"]["call"])["arguments"]}
    del pending["call"]
    first = {"_id": record["_id"], "email": record["owner"], "active_agent": "Orders"}
    first |= {"pending": pending, "updated_at": record["updated_at"], "lease": None, "messages": 1}
    for closing in ("no", "message", "yes"):
        await db.conversations.replace_one({}, first)
        messages = await db.agent_messages.find().to_list()
        conversation = await open_conversation(ScriptedModel([say("Well.")]))
        assert conversation.opened.pending
        if closing == "message":
            told = await events(conversation.turn("never mind"))
            assert told[0] == Settled(False, "Nothing was returned.")
        else:
            needed = await approval_of(conversation.resume())
            assert "Return order ORD-1001" in needed.question
            told = await events(conversation.decide(needed, closing == "yes"))
        assert text_of(told) == "Well."
        record = await db.conversations.find_one({})
        assert (record["format"], record["owner"]) == (FORMAT, "alice@example.com")
        assert record["pending"] is None and record["inbox"] == []
        await db.agent_messages.delete_many({})
        await db.agent_messages.insert_many(messages)
        await db.agent_sessions.update_one({}, {"$inc": {"_seq": 1}})  # so it is read again
    first["email"] = "mallory@example.com"
    await db.conversations.replace_one({}, first)
    with pytest.raises(TurnFailed, match="belongs to another"):
        await open_conversation(ScriptedModel())


@pytest.mark.parametrize("change", [{"format": FORMAT + 1}, {"owner": "mallory"}])
async def test_a_record_that_is_not_for_this_program_is_left_alone(
    db: Database, change: dict[str, Any]
) -> None:
    """Also if it became so after the conversation was opened."""
    conversation = await open_plain(db, ScriptedModel([say("1")]))
    await events(conversation.turn("one"))
    await db.conversations.update_one({}, {"$set": change})
    before = await db.conversations.find_one({})
    for stream in (conversation.turn("two"), conversation.retry()):
        assert re.search(r"newer version|belongs to another", str(await failure_of(stream)))
    for attempt in (conversation.erase(), open_plain(db, ScriptedModel())):
        with pytest.raises(TurnFailed):
            await attempt
    assert await db.conversations.find_one({}) == before


@pytest.mark.parametrize("words", ["hello", "two"])
async def test_a_program_without_a_lease_that_takes_the_number_loses_no_message(
    mongod: Mongod, db: Database, words: str
) -> None:
    """It writes between the count and the insert of a step that is then cut off."""
    async with over_link(mongod) as (link, far):
        a = await open_as_alice(far, db, say("0"), say("1"), say("2"))
        await events(a.turn("zero"))
        await events(a.turn("one"))
        link.hold_when("insert agent_messages")  # the counter has moved
        turn = asyncio.create_task(events(a.turn("two")))
        await asyncio.wait_for(link.stalled.wait(), 5)
        link.cut()
        await asyncio.sleep(LEASE.lease_seconds)
        b = await open_as_alice(db.client, db, say("2"))
        plain = MongoDBSession("visit", client=db.client, database=db.name)
        replica = "setName" in await db.client.admin.command("hello")
        foreign: Any = [{"role": "user", "content": words}, *SAID]
        await asyncio.wait_for(plain.add_items(foreign), 5) if not replica else None
        assert text_of(await events(b.retry())) == "2"
        link.release()
        await asyncio.wait({turn})
        assert turn.exception() is not None
    asked = await users(db)
    assert asked.count("two") == 1 + (words == "two" and not replica)
    assert asked[-1] == "two"


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_step_that_is_stored_though_its_inbox_was_not_emptied_counts_once(
    mongod: Mongod, db: Database, foreign: bool
) -> None:
    """The same with a program that took the number first. Only a standalone can stop there."""
    async with over_link(mongod) as (link, far):
        a = await open_as_alice(far, db, say("0"), say("1"), say("2"))
        await events(a.turn("zero"))
        await events(a.turn("one"))
        link.hold_when("findAndModify agent_sessions")  # the record says what moves
        turn = asyncio.create_task(events(a.turn("two")))
        await asyncio.wait_for(link.stalled.wait(), 5)
        standalone = not link.commands[-1].endswith("(txn)")
        if standalone:
            plain = MongoDBSession("visit", client=db.client, database=db.name)
            if foreign:
                await plain.add_items([{"role": "user", "content": "hello"}])
            link.hold_when("insert agent_messages", "after")  # the inbox is not emptied
            link.release()
            await asyncio.wait_for(link.stalled.wait(), 5)
        link.cut()
        b = await open_as_alice(db.client, db, say("2"))
        if standalone:
            assert b.unanswered is None
            assert "nothing to retry" in str(await failure_of(b.retry()))
        else:
            assert text_of(await events(b.retry())) == "2"
        link.release()
        await asyncio.wait({turn})
        turn.exception()
    assert await users(db) == ["zero", "one", *["hello"] * (foreign and standalone), "two"]
    assert [item["content"] for item in await stored_items(db)].count("two") == 1


async def test_an_erase_that_is_cancelled_twice_is_done(mongod: Mongod, db: Database) -> None:
    async with over_link(mongod) as (link, far):
        a = await open_as_alice(far, db, say("1"))
        await events(a.turn("one"))
        link.hold_at(2)
        erasing = asyncio.create_task(a.erase())
        await asyncio.wait_for(link.stalled.wait(), 5)
        for _ in range(2):
            erasing.cancel()
            await asyncio.sleep(0.05)
            assert not erasing.done()
        link.release()
        await asyncio.wait({erasing})
    for name in ("agent_messages", "agent_sessions", "conversations"):
        assert await db[name].count_documents({}) == 0


async def test_a_stop_before_anything_was_accepted_leaves_the_message_to_retry(
    db: Database,
) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def slowly(_: object) -> Any:
        asked.set()
        await gate.wait()
        return say("1")

    first = await open_plain(db, ScriptedModel([ModelStep.respond(slowly)]))
    second = await open_plain(db, ScriptedModel([say("2")]))
    answering = asyncio.create_task(events(first.turn("one")))
    await asked.wait()
    waiting = second.turn("two")
    assert await anext(waiting) == Waiting()
    second.stop()
    await events(waiting)
    assert second.unanswered == "two"
    gate.set()
    await answering
    assert text_of(await events(second.retry())) == "2"
    assert (await users(db))[-1] == "two"


async def test_who_opens_between_the_count_of_a_step_and_its_insert_sees_it_in_the_next_turn(
    mongod: Mongod, db: Database
) -> None:
    async with over_link(mongod) as (link, far):

        async def answer(_: object) -> Any:
            link.hold_when("insert agent_messages")
            return say("Not paid.")

        script = call("pay", to="Bob"), ModelStep.respond(answer)
        first, _ = await open_till(far, db, *script)
        needed = await approval_of(first.turn("pay Bob"))
        deciding = asyncio.create_task(events(first.decide(needed, False)))
        await asyncio.wait_for(link.stalled.wait(), 5)
        second, _ = await open_till(db.client, db, say("Asked again."))
        assert second.unanswered == "pay Bob"
        link.release()
        assert text_of(await deciding) == "Not paid."
    assert "nothing to retry" in str(await failure_of(second.retry()))
