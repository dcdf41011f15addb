"""Whoever died in mid-turn left a message without an answer: `recover` answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from agents.testing import ModelStep, ScriptedModel

from database import DB_NAME, Database
from engine import Conversation, TurnFailed, recover
from shop import session_id_for
from tests.builders import Open, approval_of, call, events, return_1001, returning, say, text_of
from tests.kills import ASK, LEASE, QUESTION, asking, held, shopkeeper
from tests.model_server import ModelServer, fail
from tests.model_server import say as saying
from tests.processes import Shop, chat, run, times_returned

ALICE = ("--email", "alice@example.com")
LONG_AGO = datetime.now(timezone.utc) - timedelta(hours=1)


async def unanswered(open_conversation: Open, *emails: str) -> None:
    """Each has sent "hello?" an hour ago, and the model failed."""
    for number, email in enumerate(emails):
        conversation = await open_conversation(ScriptedModel([RuntimeError("gone")]), email)
        with pytest.raises(TurnFailed):
            await events(conversation.turn("hello?"))
        since = {"unanswered_since": LONG_AGO + timedelta(seconds=number)}
        records = conversation._lease.records
        await records.update_one({"owner": email}, {"$set": since})


def opening(open_conversation: Open, *script: Any) -> Callable[..., Any]:
    async def open_again(record: Mapping[str, Any]) -> Conversation:
        opened: Conversation = await open_conversation(ScriptedModel(list(script)), record["owner"])
        return opened

    return open_again


async def test_what_waits_for_an_answer_is_answered_once(
    db: Database, open_conversation: Open
) -> None:
    await unanswered(open_conversation, "alice@example.com", "bob@example.com")
    both = [recover(db.conversations, opening(open_conversation, say("Hi."))) for _ in range(2)]
    assert sum(await asyncio.gather(*both)) == 2
    assert await recover(db.conversations, opening(open_conversation)) == 0
    for email in ("alice@example.com", "bob@example.com"):
        conversation = await open_conversation(ScriptedModel(), email)
        assert [m.text for m in await conversation.transcript()] == ["hello?", "Hi."]
    assert await db.conversations.distinct("unanswered_since") == [None]


async def test_what_is_young_answered_stopped_or_asked_is_left_alone(
    db: Database, open_conversation: Open
) -> None:
    waiting = asyncio.Event()

    async def wait(_: object) -> Any:
        waiting.set()
        await asyncio.sleep(60)

    stopped = await open_conversation(ScriptedModel([ModelStep.respond(wait)]), "bob@example.com")
    turn = asyncio.create_task(events(stopped.turn("hello?")))
    await waiting.wait()
    stopped.stop()
    await turn
    await returning(open_conversation)
    await events(
        (await open_conversation(ScriptedModel([say("Hi.")]), "carol@example.com")).turn("hi")
    )
    assert await recover(db.conversations, opening(open_conversation), older_than=0) == 0
    await unanswered(open_conversation, "carol@example.com")
    assert await recover(db.conversations, opening(open_conversation), older_than=7200) == 0


async def test_a_turn_that_runs_is_left_alone_however_long_it_takes(
    db: Database, open_conversation: Open
) -> None:
    gate = asyncio.Event()

    async def slow(_: object) -> Any:
        await gate.wait()
        return say("Hi.")

    live = await open_conversation(ScriptedModel([ModelStep.respond(slow)]))
    turn = asyncio.create_task(events(live.turn("hello?")))
    while not await db.conversations.count_documents({"unanswered_since": {"$ne": None}}):
        await asyncio.sleep(0.01)
    await db.conversations.update_one({}, {"$set": {"unanswered_since": LONG_AGO}})
    assert await recover(db.conversations, opening(open_conversation)) == 0
    gate.set()
    assert text_of(await turn) == "Hi."


async def test_an_approval_that_comes_up_waits_for_its_owner(
    db: Database, open_conversation: Open
) -> None:
    await unanswered(open_conversation, "alice@example.com")
    script = [call("transfer_to_orders", "call_0"), return_1001()]
    assert await recover(db.conversations, opening(open_conversation, *script)) == 0
    assert await recover(db.conversations, opening(open_conversation), older_than=0) == 0
    conversation = await open_conversation(ScriptedModel([say("Done.")]))
    assert conversation.opened.pending
    await events(conversation.decide(await approval_of(conversation.resume()), True))
    assert await db.orders.count_documents({"return": {"$ne": None}}) == 1


@pytest.mark.parametrize("failing", ["opening", "answering"])
async def test_one_that_fails_stops_no_other_and_comes_last_the_next_time(
    db: Database, open_conversation: Open, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    await unanswered(open_conversation, "alice@example.com", "bob@example.com")
    opened: list[str] = []

    async def open_again(record: Mapping[str, Any]) -> Conversation:
        opened.append(record["owner"])
        if record["owner"] != "alice@example.com":
            script: list[Any] = [say("Hi.")]
        elif failing == "opening":
            raise LookupError("this customer has moved away")
        else:
            script = [RuntimeError("gone")]
        again: Conversation = await opening(open_conversation, *script)(record)
        return again

    assert await recover(db.conversations, open_again) == 1
    assert opened == ["alice@example.com", "bob@example.com"]
    assert session_id_for("alice@example.com") in caplog.text
    await unanswered(open_conversation, "bob@example.com")
    assert await recover(db.conversations, open_again, older_than=0, most=1) == 1
    # Without a lease, nothing tells that it was tried: it is first again, and counts for nothing.
    assert opened[2:] == ["alice@example.com"] * (failing == "opening") + ["bob@example.com"]


# The shop's own, as a process


def killed_before_the_first_step(shop: Shop, model: ModelServer) -> None:
    gate = model.hold()
    with asking(shop, model):
        gate.wait_reached(30)


def killed_after_a_handoff(shop: Shop, model: ModelServer) -> None:
    model.hold().release()
    gate = model.hold()
    with asking(shop, model):
        gate.wait_reached(30)


def killed_after_the_deed(shop: Shop, model: ModelServer) -> None:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        with held(shop, "insert", "agent_messages") as kill_there:
            process.type("y")
            kill_there(process)


POINTS = [killed_before_the_first_step, killed_after_a_handoff, killed_after_the_deed]


@pytest.mark.parametrize("kill", POINTS, ids=lambda point: point.__name__)
def test_make_recover_answers_whom_a_killed_process_left(
    shop: Shop, kill: Callable[[Shop, ModelServer], None]
) -> None:
    with ModelServer(shopkeeper) as model:
        kill(shop, model)
        time.sleep(LEASE)
        done = run(shop, "--older-than", "0", program="recover.py", model=model)
        deed = kill is killed_after_the_deed
        told = "1 conversation answered.\n" if deed else "No conversation answered.\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
        if not deed:  # the question came up, and waits
            done = run(shop, *ALICE, lines="y\n/history\n", model=model)
            assert QUESTION in done.stdout, done.stderr
        done = run(shop, *ALICE, lines="/history\n", model=model)
        history = done.stdout.rpartition("> /history\n")[2]
        assert history.count(f"> {ASK}\n") == 1
        assert "About your return: Return initiated for order ORD-1001." in history
        order = shop[DB_NAME].orders.find_one({"_id": "ORD-1001"}) or {}
        assert times_returned(order) == 1
        assert model.violations == []


def test_make_recover_sends_no_more_than_the_chat_would(shop: Shop) -> None:
    """A small model fails at a longer request."""
    few = {"OPENAI_HISTORY_TOKENS": "1"}
    with ModelServer([saying("One."), fail(400), saying("Two.")]) as model:
        run(shop, *ALICE, lines="first\nsecond\n", model=model, **few)
        done = run(shop, "--older-than", "0", program="recover.py", model=model, **few)
        assert done.stdout == "1 conversation answered.\n", done.stderr
        sent = [item for item in model.requests[-1]["input"] if item.get("role") == "user"]
    assert [item["content"] for item in sent] == ["second"]


def test_recover_without_mongodb_says_so(closed_port: int) -> None:
    done = run(
        f"mongodb://127.0.0.1:{closed_port}/?serverSelectionTimeoutMS=300",
        "--offline",
        program="recover.py",
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "MongoDB" in done.stderr


def test_the_query_of_recover_uses_its_index(shop: Shop) -> None:
    with ModelServer(shopkeeper) as model, chat(shop, *ALICE, model=model) as running:
        running.type("hello")
        running.wait_for("You are welcome.")
        running.finish()
    database = shop[DB_NAME]
    database.command("profile", 2)
    run(shop, "--offline", program="recover.py")
    database.command("profile", 0)
    found = database["system.profile"].find(
        {"ns": f"{DB_NAME}.conversations", "command.find": {"$exists": True}}
    )
    assert [(each["planSummary"], each["docsExamined"]) for each in found] == [
        ("IXSCAN { unanswered_since: 1 }", 0)
    ]
