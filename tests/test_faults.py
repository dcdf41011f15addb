"""MongoDB or the model fails: one plain line, nothing lost or doubled, and the chat goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from agents import ModelSettings, ModelTracing, get_current_trace, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesModel
from agents.testing import ModelCall, ModelStep, ScriptedModel
from agents.tracing import get_trace_provider
from agents.tracing.provider import SynchronousMultiTracingProcessor
from openai import AsyncOpenAI
from pymongo import MongoClient
from pymongo.errors import PyMongoError

import main
import policy
from database import DB_NAME, Database, connect
from engine.conversation import Conversation
from engine.events import ApprovalLost, HandedOff, Settled, Stopped, Text, TurnFailed
from engine.lease import Lease
from engine.options import Limits
from engine.retention import remove_idle
from engine.run import Run
from engine.session import TurnSession
from local.mongod import Mongod, temporary_mongod
from seed_data import seed
from settings import choose_model
from terminal.chat import words_for
from tests.builders import RETURN, answer_of, approval_of, delta, events, failure_of, said, text_of
from tests.builders import call as tool_call
from tests.builders import say as answer
from tests.conftest import TO_ORDERS, TODAY, Support, customer_of, session_for
from tests.kills import QUESTION, held, shopkeeper
from tests.model_server import (
    ModelServer,
    Reply,
    call,
    cut,
    fail,
    hang,
    raw,
    refuse,
    say,
)
from tests.processes import Chat, Shop, chat, order_of, run, times_returned

ALICE = ("--email", "alice@example.com")
RETURNED = Settled(True, "Return initiated for order ORD-1001.")


@contextlib.contextmanager
def served(*replies: Reply) -> Iterator[tuple[OpenAIResponsesModel, ModelServer]]:
    """A model whose server gives these replies, and is sent nothing that a real one refuses."""
    with ModelServer(replies) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        yield OpenAIResponsesModel("m", client), server


async def next_turn_works(support: Support) -> None:
    with served(say("Fine.")) as (model, _):
        assert await answer_of((await support.open(model=model)).turn("and now?")) == "Fine."


async def is_returned_and_told(support: Support) -> None:
    assert (await support.order())["return"]
    assert "Return initiated" in (await support.items())[-1]["output"]


# The model


FAULTS = {
    "a wrong key": ([fail(401)], "refused the API key"),
    "a forbidden key": ([fail(403)], "refused the API key"),
    "an unknown model": ([fail(404)], "or this address. Check OPENAI_MODEL and OPENAI_BASE_URL"),
    "too many requests": ([fail(429)] * 3, "The model is busy."),
    "a server error": ([fail(500)] * 3, "The model did not answer."),
    "a dead connection": ([hang(0)] * 3, "No connection to the model's server."),
    "a cut in mid-stream": ([cut(say("a b c d e f g h"), after=4)], "No connection to the"),
    "a stream without an end": ([raw(b"")], "could not be read"),
    "an empty answer": ([say("")], "The model gave an empty answer."),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_model_is_told_in_one_line_and_retry_answers(
    support: Support, model: ModelServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The model is the one that main.py chooses: it asks again when a server fails."""
    monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", model.api_key)
    replies, told = FAULTS[fault]
    model.script(*replies, say("Here I am."), say("Still here."))
    chosen, model_settings = choose_model(offline=False)
    conversation = await support.open(model=chosen, model_settings=model_settings)
    line = words_for(await failure_of(conversation.turn("hello?")))
    assert told in line and "\n" not in line
    assert await answer_of(conversation.retry()) == "Here I am."
    assert await answer_of(conversation.turn("and now?")) == "Still here."
    users = [i for i in model.requests[-1]["input"] if i.get("role") == "user"]
    assert [u["content"] for u in users] == ["hello?", "and now?"]


def test_a_refusal_of_the_model_is_an_answer(shop: Shop, model: ModelServer) -> None:
    model.script(refuse("I can't help with that."), say("Hello again."))
    done = run(shop, *ALICE, lines="hm\nhello\n", model=model)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count("I can't help with that.") == 1
    assert "Hello again." in done.stdout


# MongoDB


@pytest.fixture
def server(tmp_path: Any) -> Iterator[Mongod]:
    """A mongod of the test's own, to be killed and frozen."""
    with temporary_mongod() as server:
        asyncio.run(reset(server.uri))
        yield server
        server.kill()


async def reset(uri: str) -> None:
    async with await connect(uri) as client:
        await seed(client[DB_NAME], TODAY)


def impatient(address: tuple[str, int] | None) -> str:
    host, port = address or ("", 0)
    return f"mongodb://{host}:{port}/?timeoutMS=1500"


def error_of(running: Chat) -> str:
    """The next line on standard error that is no notice."""
    return next((line for line in running.stderr if not line.startswith(("→", "·"))), "")


def test_mongodb_down_in_the_middle_of_a_turn_and_back(server: Mongod, model: ModelServer) -> None:
    gate = model.hold()
    model.script(say("This cannot be saved."), say("This can."))
    address = impatient(("127.0.0.1", server.port))
    with chat(address, *ALICE, model=model, lease=3.0) as running:  # it tries for as long
        running.type("hello?")
        gate.wait_reached(30)
        server.kill()
        gate.release()
        told = error_of(running)
        assert told == (
            "MongoDB stopped answering. The answer above was not saved; /retry asks again.\n"
        )
        running.type("/history")
        assert error_of(running) == "MongoDB stopped answering. Try again in a moment.\n"
        server.start()
        done = running.finish("/retry\n")
    assert done.returncode == 0, done.stderr
    assert "This can." in done.stdout
    with MongoClient[dict[str, Any]](server.uri) as client:
        messages = client[DB_NAME].agent_messages.find().sort("seq", 1).to_list()
    items = [item for message in messages for item in message["message_data"]]
    assert [item.count("hello?") for item in items] == [1, 0]


def test_mongodb_silent_between_turns_and_back(server: Mongod, model: ModelServer) -> None:
    model.script(say("One."), say("Two."))
    address = impatient(("127.0.0.1", server.port))
    with chat(address, *ALICE, model=model, lease=3.0) as running:  # it tries for as long
        running.type("first")
        running.wait_for("One.")
        os.kill(server.process.pid, signal.SIGSTOP)
        running.type("second")
        assert error_of(running).startswith(
            "MongoDB stopped answering. Your message may not be saved"
        )
        os.kill(server.process.pid, signal.SIGCONT)
        done = running.finish("/retry\n/history\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "> /history\n> first\nOne.\n\n> second\nTwo.\n\n> \n"
        "Goodbye. Run again with alice@example.com to continue.\n"
    )


@pytest.mark.parametrize("times", [1, 50])
def test_mongodb_failing_in_a_tool_ends_no_turn(shop: Shop, model: ModelServer, times: int) -> None:
    """Once, the driver reads again; for good, the model is told that the tool failed."""
    model.script(call("transfer_to_orders"), call("list_orders"), say("That is all I know."))
    failing = {"failCommands": ["find"], "namespace": f"{DB_NAME}.orders", "closeConnection": True}
    point = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": failing}
    shop.admin.command(point)
    try:
        done = run(impatient(shop.address), *ALICE, lines="my orders?\n", model=model)
    finally:
        shop.admin.command({**point, "mode": "off"})
    assert "That is all I know." in done.stdout, done.stderr
    output = model.requests[-1]["input"][-1]["output"]
    assert ("ORD-1001" in output) == (times == 1)
    _, port = shop.address or ("", 0)
    assert str(port) not in output and "mongodb" not in output.lower()


async def test_what_was_shown_as_done_survives_a_kill_9_of_mongod(server: Mongod) -> None:
    for number in range(3):
        async with await connect(server.uri) as client:
            db = client[DB_NAME]
            conversation = await open_on(db, ScriptedModel([answer(f"answer {number}")]))
            await events(conversation.turn(f"message {number}"))
            server.kill()
        server.start()
    async with await connect(server.uri) as client:
        told = await said(await open_on(client[DB_NAME], ScriptedModel()))
    assert told == [f"{whose} {n}" for n in range(3) for whose in ("message", "answer")]


async def open_on(db: Database, model: Any) -> Conversation:
    return await main.open_conversation(db.client, customer_of(), model, database=db.name)


def test_a_failover_loses_no_turn_and_no_return() -> None:
    with (
        temporary_mongod("--replSet", "rs0", replica_set=False) as one,
        temporary_mongod("--replSet", "rs0", replica_set=False) as two,
        temporary_mongod("--replSet", "rs0", replica_set=False) as three,
        ModelServer(shopkeeper) as model,
    ):
        nodes = {f"127.0.0.1:{node.port}": node for node in (one, two, three)}
        members = [{"_id": n, "host": host} for n, host in enumerate(nodes)]
        with MongoClient[Any](one.uri, directConnection=True) as client:
            config = {"_id": "rs0", "members": members, "settings": {"electionTimeoutMillis": 2000}}
            client.admin.command("replSetInitiate", config)
        uri = f"mongodb://{','.join(nodes)}/?replicaSet=rs0"
        with MongoClient[dict[str, Any]](uri) as client:
            wait_for_primary(client)
            asyncio.run(reset(uri))
            with chat(uri, *ALICE, model=model) as running:
                running.type("hello")
                running.wait_for("You are welcome.")
                running.type("I want to return ORD-1001, not powerful enough")
                running.wait_for(QUESTION)
                host, port = client.primary or ("", 0)
                nodes[f"{host}:{port}"].kill()
                done = running.finish("y\n/history\n")
            assert done.returncode == 0, done.stderr
            if "/retry" in done.stderr:  # the turn under way may fail, and is then asked again
                done = run(uri, *ALICE, lines="y\n/retry\ny\n/history\n", model=model)
            history = done.stdout.rpartition("> /history\n")[2]
            assert history.count("> hello\n") == 1
            assert "About your return: " in history
            assert times_returned(order_of(client)) == 1
        for node in nodes.values():
            node.kill()  # told to stop, each would wait for the others


def wait_for_primary(client: MongoClient[Any]) -> None:
    """Elected, and known to the client."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            client.admin.command("ping")
            if client.primary:
                return
        except PyMongoError:
            time.sleep(0.1)
    pytest.fail("no primary")


# Erase and retention

OLD = {"$set": {"updated_at": TODAY.replace(year=2020)}}


@pytest.mark.parametrize("point", ["agent_messages", "agent_sessions", "conversations"])
def test_a_killed_reset_is_finished_by_the_next(shop: Shop, model: ModelServer, point: str) -> None:
    model.script(say("Hello."))
    with chat(shop, *ALICE, model=model, lease=1.0) as running:
        running.type("hi")
        running.wait_for("Hello.")
        with held(shop, "delete", point) as kill_there:
            running.type("/reset")
            running.type("y")
            kill_there(running)
    db = shop[DB_NAME]
    model.script(say("Who are you?"))
    done = run(shop, *ALICE, lines="/reset\ny\nhi\n", model=model)
    assert "Who are you?" in done.stdout, done.stderr
    asked = [item for item in model.requests[-1]["input"] if item.get("role") == "user"]
    assert asked == [{"role": "user", "content": "hi"}]
    assert [len(each["message_data"]) for each in db.agent_messages.find()] == [2]
    run(shop, *ALICE, lines="/reset\ny\n", model=model)
    for name in ("agent_messages", "agent_sessions", "conversations"):
        assert db[name].count_documents({}) == 0


async def test_idle_conversations_are_removed_whole_and_those_in_use_stay(support: Support) -> None:
    for email in ("alice@example.com", "bob@example.com", "carol@example.com"):
        await events((await support.open(answer("Hi."), email=email)).turn("hi"))
    records, bob = support.db.conversations, {"owner": "bob@example.com"}
    await records.update_many({"owner": {"$ne": "carol@example.com"}}, OLD)
    lease = {"holder": "x", "until": {"$add": ["$$NOW", 60_000]}}
    await records.update_one(bob, [{"$set": {"lease": lease}}])
    assert await remove_idle(records, 30) == 1
    left = ["support_bob_at_example_com", "support_carol_at_example_com"]
    for name in ("agent_messages", "agent_sessions"):
        assert sorted(await support.db[name].distinct("session_id")) == left
    assert await records.count_documents({}) == 2
    again = await support.open()
    assert await again.transcript() == [] and again.opened.last_active is None


async def test_a_conversation_taken_up_again_while_it_is_being_removed_stays(
    support: Support, monkeypatch: pytest.MonkeyPatch
) -> None:
    await events((await support.open(answer("Hi."))).turn("hi"))
    await support.db.conversations.update_one({}, OLD)
    take = Lease.take

    async def after_another_turn(lease: Lease) -> Any:
        await support.db.conversations.update_one({}, [{"$set": {"updated_at": "$$NOW"}}])
        return await take(lease)

    monkeypatch.setattr(Lease, "take", after_another_turn)
    assert await remove_idle(support.db.conversations, 30) == 0
    assert len(await support.items()) == 2


# What customers paste, and long lives


HOSTILE = {
    "escapes": ("\x1b[2J\x1b]0;title\x07hi", "[2J]0;titlehi"),
    "NUL and surrogates": ("a\x00b\ud800c", "abc"),
    "bidi": ("refund \u202e321\u202c", "refund 321"),
    "an operator": ('{"$gt": ""}', '{"$gt": ""}'),
    "emoji": ("👩‍👩‍👧‍👦 where?", "👩‍👩‍👧‍👦 where?"),
    "lines": ("a\r\nb\rc", "a\nb\nc"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_is_pasted_the_next_turn_works(support: Support, name: str) -> None:
    pasted, stored = HOSTILE[name]
    with served(say("Yes?"), say("Fine.")) as (model, _):
        conversation = await support.open(model=model)
        await events(conversation.turn(pasted))
        assert await answer_of(conversation.turn("and now?")) == "Fine."
    assert (await support.items())[0]["content"] == stored


@pytest.mark.parametrize("when", ["before it runs", "while it runs"])
async def test_a_stop_does_not_take_back_a_yes_and_the_approved_tool_finishes(
    support: Support, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    conversation, approval = await support.asking(answer("Done."))
    owner, name = (Run, "tell_all") if when == "before it runs" else (policy, "check_return")
    goes_on = getattr(owner, name)

    def stopped(*arguments: Any) -> Any:
        conversation.stop()
        return goes_on(*arguments)

    monkeypatch.setattr(owner, name, stopped)
    assert (await events(conversation.decide(approval, True)))[-2:] == [RETURNED, Stopped()]
    await is_returned_and_told(support)


async def test_time_that_runs_out_while_an_approved_tool_runs_lets_it_finish(
    support: Support, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(seconds=0.5)
    conversation, approval = await support.asking(answer("Done."), limits=limits)
    check = policy.check_return

    def slow(*arguments: Any) -> None:
        check(*arguments)
        time.sleep(0.6)

    monkeypatch.setattr(policy, "check_return", slow)
    with pytest.raises(TurnFailed, match="The model did not answer"):
        async for event in conversation.decide(approval, True):
            assert event == RETURNED
    await is_returned_and_told(support)


async def test_a_slow_reader_gets_all_of_an_answer_that_came_in_time(support: Support) -> None:
    words = " ".join(f"w{n}" for n in range(30))
    with served(say(words)) as (model, _):
        conversation = await support.open(model=model, limits=Limits(seconds=1.0))
        seen = []
        async for event in conversation.turn("hi"):
            seen.append(event)
            await asyncio.sleep(1.3 if len(seen) == 3 else 0)
    assert text_of(seen) == words


async def test_a_server_may_count_call_ids_anew_in_each_turn(support: Support) -> None:
    """To the SDK, equal ids are one call: it skipped a handoff and sent outputs without calls."""
    one, two = ({"order_id": f"ORD-100{number}"} for number in (1, 2))
    turns: list[list[tuple[str, Any]]] = [
        [("transfer_to_orders", None), ("list_orders", None)],
        [("get_order", one), ("transfer_to_triage", None)],
        [("transfer_to_orders", None), ("get_order", two)],
    ]
    with served() as (model, server):
        conversation, handoffs = await support.open(model=model), []
        for number, calls in enumerate(turns):
            server.script(*[call(*each, f"call_{count}") for count, each in enumerate(calls)])
            server.script(say(f"answer {number}"))
            seen = await events(conversation.turn(f"message {number}"))
            assert text_of(seen) == f"answer {number}"
            handoffs += [event.agent for event in seen if isinstance(event, HandedOff)]
        assert handoffs == ["Orders", "Triage", "Orders"]
        outputs = [str(i["output"]) for i in server.requests[-1]["input"] if "output" in i]
        assert len(outputs) == 6 and "ORD-1002" in outputs[-1]


async def test_a_server_may_count_call_ids_anew_in_each_response(support: Support) -> None:
    """Money too: the second return has an id that was approved, and still needs its own yes."""
    look, second = ("list_orders", None), {"order_id": "ORD-1002", "reason": "x"}
    returns = [("initiate_return", arguments) for arguments in (RETURN, second)]
    calls = [("transfer_to_orders", None), look, returns[0], look, returns[1]]
    with served(*[call(*each, "call_0") for each in calls], say("Ok.")) as (model, _):
        conversation = await support.open(model=model)
        approval = await approval_of(conversation.turn("return both"))
        shipped = {"_id": "ORD-1002"}
        delivered = {"status": "delivered", "delivered_at": TODAY}
        await support.db.orders.update_one(shipped, {"$set": delivered})
        again = await approval_of(conversation.decide(approval, True))
        assert "ORD-1002" in again.question
        assert await answer_of(conversation.decide(again, False)) == "Ok."
    assert (await support.db.orders.find_one(shipped))["return"] is None


@pytest.mark.parametrize("how", ["closed", "stopped, then closed", "cancelled"])
async def test_an_abandoned_run_keeps_the_lease_until_its_end(support: Support, how: str) -> None:
    """A run that still writes would do so between the messages of the next turn."""
    holders = []

    async def slow_to_end(_: ModelCall) -> AsyncIterator[Any]:
        try:
            yield delta("one")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            holders.append((await support.record())["lease"])

    conversation = await support.open(ModelStep.stream(slow_to_end), answer("two"))
    before = len(asyncio.all_tasks())
    turn = conversation.turn("hi")
    assert isinstance(await anext(turn), Text)
    if how == "stopped, then closed":
        conversation.stop()
    if how != "cancelled":
        await turn.aclose()
    else:
        reading = asyncio.create_task(events(turn))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.wait({reading})
    assert len(holders) == 1 and holders[0]["holder"]
    assert (await support.record())["lease"] is None
    assert len(asyncio.all_tasks()) == before
    assert await answer_of(conversation.turn("again")) == "two"
    asked = [item["content"] for item in await support.items() if item.get("role") == "user"]
    assert asked == ["hi", "again"]


async def test_a_state_that_cannot_be_read_waits_for_the_next_message(support: Support) -> None:
    await support.asking()
    pending = (await support.record())["pending"]
    for damage in (lambda s: "{}", lambda s: s.replace("Orders", "Returns"), lambda s: s[:99]):
        broken = {**pending, "state": damage(pending["state"])}
        await support.db.conversations.update_one({}, {"$set": {"pending": broken}})
        conversation = await support.open(answer("Hello."))
        assert conversation.opened.pending
        assert await events(conversation.resume()) == [ApprovalLost()]
        assert (await support.record())["pending"] == broken
        told = await events(conversation.turn("hello"))
        withdrawn = "The return of ORD-1001 that waited for your yes was not made."
        assert told[0] == Settled(False, withdrawn)
        assert text_of(told) == "Hello."
        assert (await support.record())["pending"] is None


async def test_many_turns_leak_no_task_and_the_request_stays_bounded(support: Support) -> None:
    conversation = await support.open(TO_ORDERS)
    sizes, tasks = [], []
    for number in range(60):
        support.model.extend([tool_call("list_orders", f"c{number}"), answer(f"answer {number}")])
        await events(conversation.turn(f"message {number}"))
        sizes.append(len(str(support.last_input)))
        tasks.append(len(asyncio.all_tasks()))
        support.model._calls.clear()  # the double keeps every request
    assert max(sizes[30:]) <= 1.1 * sizes[30]
    assert min(tasks[-30:]) <= max(tasks[:10])  # the driver has tasks that come and go


# A server that breaks the API's types


def output(item: Any, **fields: Any) -> Any:
    """`item` as the client makes it of a response that the API does not allow: unchecked."""
    return type(item).model_construct(**{**item.model_dump(), **fields})


async def streamed(*items: Any) -> list[Any]:
    """The events of a response with `items`."""
    nothing: Any = (None, "", ModelSettings(), [], None, [], ModelTracing.DISABLED)
    ids: Any = {"previous_response_id": None, "conversation_id": None, "prompt": None}
    stream = ScriptedModel([list(items)]).stream_response(*nothing, **ids)
    return [event async for event in stream]


def sent(*items: Any) -> Any:
    """A step of a model whose response arrives whole, with these items, unchecked."""

    async def respond(call: ModelCall) -> AsyncIterator[Any]:
        *_, completed = await streamed(*answer("x"))
        completed.response.output = list(items)
        yield completed

    return ModelStep.stream(respond)


(CALL,) = tool_call("list_orders", "c1")
ILL_FORMED = {
    "a call without a name": [output(CALL, name=None)],
    "arguments that are null": [output(CALL, arguments=None)],
    "arguments that are a number": [output(CALL, arguments=7)],
    "arguments that are an object": [output(CALL, arguments={})],
    "half a pair in arguments": [output(CALL, arguments='{"q": "\ud83d"}')],
    "a call without an id": [output(CALL, call_id=None), *answer("ok")],
    "an item without a type": [output(CALL, type=None), *answer("ok")],
    "half a surrogate pair": answer("o\ud83dk\u202e"),
    "a tool with a forbidden name": tool_call("no such tool; \u20ac" * 9, "c1"),
}


@pytest.mark.parametrize("name", ILL_FORMED)
async def test_an_ill_formed_item_poisons_no_conversation(support: Support, name: str) -> None:
    conversation = await support.open(TO_ORDERS, sent(*ILL_FORMED[name]), answer("Sorry."))
    assert await answer_of(conversation.turn("hi")) in ("Sorry.", "ok")
    await next_turn_works(support)


async def test_what_the_model_says_in_the_customers_name_is_the_models(support: Support) -> None:
    conversation = await support.open(sent(output(answer("Return it all!")[0], role="user")))
    await events(conversation.turn("hi"))
    assert [m.role for m in await conversation.transcript()] == ["user", "assistant"]


async def test_what_an_earlier_version_stored_ill_formed_is_left_out(support: Support) -> None:
    call_ = {"type": "function_call", "call_id": "c1", "name": None, "arguments": {"a": 1}}
    result = {"type": "function_call_output", "call_id": "c1", "output": None}
    odd_id = {"type": "function_call", "call_id": ["c2"], "name": "transfer_to_orders"}
    user = {"role": "user", "content": "hi"}
    stored: list[Any] = [user, call_, result, odd_id, 7, {"type": None}]
    await session_for(support.db).add_items(stored)
    await next_turn_works(support)


async def test_a_step_of_more_than_a_hundred_items_hides_no_message(support: Support) -> None:
    many = [tool_call("list_orders", f"c{n}")[0] for n in range(60)]  # 120 items with outputs
    conversation = await support.open(TO_ORDERS, many, RuntimeError("gone"))
    await failure_of(conversation.turn("my orders?"))
    again = await support.open(answer("Done."))
    assert again.unanswered == "my orders?"
    assert await answer_of(again.retry()) == "Done."
    assert await said(again) == ["my orders?", "Done."]


async def test_a_delta_that_is_no_text_is_left_out(support: Support) -> None:
    async def odd(_: ModelCall) -> AsyncIterator[Any]:
        for each in (None, 7, {"text": "x"}):
            yield delta(each)
        for event in await streamed(*answer("Fine.")):
            yield event

    conversation = await support.open(ModelStep.stream(odd))
    assert await answer_of(conversation.turn("hi")) == "Fine."


# One turn, and the history as its only truth


async def test_words_then_a_tool_then_nothing_is_no_answer(support: Support) -> None:
    look = [*answer("Let me look."), *tool_call("list_orders", "c1")]
    conversation = await support.open(TO_ORDERS, look, answer(""), answer("Two orders."))
    assert "empty answer" in str(await failure_of(conversation.turn("my orders?")))
    assert conversation.unanswered == "my orders?"
    assert await answer_of(conversation.retry()) == "Two orders."


async def test_the_trace_of_a_turn_stays_in_the_turn(
    support: Support, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await support.open(answer("one two three"))
    set_tracing_disabled(False)
    nobody = SynchronousMultiTracingProcessor()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(get_trace_provider(), "_multi_processor", nobody)
    try:
        async for _ in conversation.turn("hi"):
            assert get_current_trace() is None
    finally:
        set_tracing_disabled(True)


@pytest.mark.parametrize(("owner", "name"), [(TurnSession, "add_items"), (Lease, "commit")])
async def test_a_stop_while_a_finished_answer_is_stored_keeps_it(
    support: Support, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """Before its write is on its way, and while it is."""
    conversation = await support.open(answer("Finished."))
    write, writes = getattr(owner, name), []

    async def stopped(*arguments: Any, **fields: Any) -> Any:
        writes.append(arguments)
        if len(writes) == 2:  # the first is the question
            conversation.stop()
            await asyncio.sleep(0.05)
        return await write(*arguments, **fields)

    monkeypatch.setattr(owner, name, stopped)
    await events(conversation.turn("hi"))
    assert await said(conversation) == ["hi", "Finished."]


async def test_a_stopped_answer_is_kept_as_far_as_it_was_shown(support: Support) -> None:
    async def endless(_: ModelCall) -> AsyncIterator[Any]:
        yield delta("As far\u202e as\ud83d")
        await asyncio.sleep(60)

    conversation = await support.open(ModelStep.stream(endless))
    async for event in conversation.turn("hi"):
        if isinstance(event, Text):
            assert event.delta == "As far as"
            conversation.stop()
    assert (await said(conversation))[-1] == "As far as *(stopped)*"
    again = await support.open(answer("Next."))
    assert again.unanswered is None
    assert await answer_of(again.turn("next")) == "Next."
