"""Two terminals on one conversation: turns queue, and whoever stood still does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from agents.testing import ModelStep, ScriptedModel
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import NetworkTimeout

import main
from database import Database
from engine import lease as lease_module
from engine.driver import Unconfirmed
from engine.events import Stopped, TurnFailed, Waiting
from engine.lease import Lease, LeaseLost
from engine.options import Limits
from engine.session import Tail, TurnSession
from local.mongod import Mongod
from tests.builders import events, returning, say, stored_items, text_of
from tests.conftest import customer_of, lease_on, session_for
from tests.kills import QUESTION, asking, shopkeeper
from tests.model_server import ModelServer
from tests.model_server import say as slowly
from tests.processes import Shop, chat, order_of, run, times_returned
from tests.proxy import Link

Open = Callable[..., Any]
ID, OWNER = "support_alice_at_example_com", "alice@example.com"


def slow(text: str, gate: asyncio.Event) -> ModelStep:
    async def respond(_: object) -> Any:
        await gate.wait()
        return say(text)

    return ModelStep.respond(respond)


async def accepted(db: Database) -> None:
    """Wait until a message is accepted."""
    while not await db.conversations.count_documents({"inbox": {"$nin": [None, []]}}):
        await asyncio.sleep(0.01)


async def test_who_opens_while_another_answers_is_told_so(
    db: Database, open_conversation: Open
) -> None:
    gate = asyncio.Event()
    first = await open_conversation(ScriptedModel([slow("Hello.", gate)]))
    answering = asyncio.create_task(events(first.turn("hi")))
    await accepted(db)
    second = await open_conversation(ScriptedModel())
    assert (second.unanswered, second.opened.answering) == ("hi", True)
    gate.set()
    await answering
    third = await open_conversation(ScriptedModel())
    assert (third.unanswered, third.opened.answering) == (None, False)


def test_a_login_says_that_another_terminal_may_be_answering(shop: Shop) -> None:
    alice = "--email", "alice@example.com"
    with (
        ModelServer([slowly("word\n\n" * 200, delay=0.1)]) as model,
        chat(shop, *alice, model=model) as one,
    ):
        one.type("hi")
        one.wait_for("word")
        two = run(shop, *alice, model=model)
    told = "Your last message has no answer yet. Another terminal may be answering it now."
    assert f"{told} /retry answers it." in two.stderr


async def test_the_lease_of_a_dead_process_ends_by_itself(db: Database) -> None:
    assert Limits().lease_seconds <= 15
    dead, heir = (lease_on(db, seconds=2.0) for _ in range(2))
    started = time.monotonic()
    assert await dead.take()
    while not await heir.take():
        await asyncio.sleep(0.1)
    assert 1 < time.monotonic() - started < 7


async def test_a_lease_in_use_is_renewed(db: Database) -> None:
    holder, other = (lease_on(db, seconds=0.6) for _ in range(2))
    assert await holder.take()
    async with holder.renewing():
        for _ in range(15):
            assert not await other.take()
            await asyncio.sleep(0.1)
    assert await other.take()


async def test_whoever_lost_the_lease_can_write_nothing(
    db: Database, open_conversation: Open
) -> None:
    """As after a SIGSTOP: the clock went on, and another process took over."""
    gate = asyncio.Event()
    late = await open_conversation(ScriptedModel([slow("too late", gate)]))
    turn = asyncio.create_task(events(late.turn("one")))
    await accepted(db)
    await db.conversations.update_one({}, {"$set": {"lease.holder": "another"}})
    gate.set()
    with pytest.raises(TurnFailed, match="took this conversation over") as failed:
        await turn
    assert isinstance(failed.value.__cause__, LeaseLost)
    assert await stored_items(db) == []
    record = await db.conversations.find_one({})
    assert record["lease"]["holder"] == "another"
    assert [json.loads(each["item"])["content"] for each in record["inbox"]] == ["one"]


async def test_without_transactions_a_laptop_that_sleeps_before_its_write_writes_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a standalone: it has told the record what comes, and another took over meanwhile."""
    lease = Lease(db.conversations, ID, OWNER, transactions=False)
    assert await lease.take()
    told = lease.set

    async def tell_and_sleep(*arguments: Any, **options: Any) -> None:
        await told(*arguments, **options)
        lease._deadlines = lease._deadlines[0], time.time()  # only this clock went on

    async def write() -> None:
        await db.orders.update_one({"_id": "ORD-1001"}, {"$set": {"late": True}})

    monkeypatch.setattr(lease, "set", tell_and_sleep)
    with pytest.raises(LeaseLost):
        await lease.commit(write, before={"deed": "?"})
    assert await db.orders.count_documents({"late": True}) == 0


async def test_a_write_of_the_record_alone_may_be_done_if_its_reply_is_lost(
    mongod: Mongod, db: Database
) -> None:
    """Such as the one of a no."""
    async with Link(mongod.port) as link, AsyncMongoClient[dict[str, Any]](link.uri) as far:
        lease = lease_on(far[db.name], seconds=1.0)
        assert await lease.take()
        link.hold_when("update conversations", "after")
        with pytest.raises(Unconfirmed):
            await lease.update({"active_agent": "Orders"})
        link.release()
    assert await db.conversations.distinct("active_agent") == ["Orders"]


def texts(items: list[Any]) -> list[str]:
    return [item["content"] for item in items]


async def test_the_session_of_a_turn_reads_what_it_wrote(db: Database) -> None:
    lease, stored = lease_on(db), session_for(db)
    await stored.add_items([{"role": "user", "content": "one"}])
    record = await lease.take()
    assert record
    session = TurnSession(Tail(stored, Limits()), lease, record)
    await session.load()
    for role, text in (("assistant", "two"), ("user", "three")):
        item: Any = {"role": role, "content": text}
        await session.store([item])
        assert texts(await session.get_items()) == texts(await stored.get_items())
    (await session.get_items())[0]["content"] = "changed by the caller"  # type: ignore[typeddict-unknown-key]
    assert texts(await session.get_items()) == ["one", "two", "three"]
    assert (await db.conversations.find_one({}))["messages"] == 3


@pytest.mark.parametrize("clock", [0, 1], ids=["monotonic", "wall"])
async def test_an_overdue_lease_that_nobody_took_goes_on(
    db: Database, monkeypatch: pytest.MonkeyPatch, clock: int
) -> None:
    """Either clock may say so: the monotonic one stands still while a laptop sleeps."""
    lease = lease_on(db)
    assert await lease.take()
    before = (await db.conversations.find_one({}))["lease"]["until"]
    later = [time.monotonic(), time.time()]
    later[clock] += 60
    with monkeypatch.context() as patch:
        patch.setattr(lease_module, "_clocks", lambda more=0.0: tuple(t + more for t in later))
        await asyncio.sleep(0.01)
        await lease.commit(nothing)
    assert (await db.conversations.find_one({}))["lease"]["until"] > before


async def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("transactions", "error"), [(True, LeaseLost), (False, LeaseLost), (True, RuntimeError)]
)
async def test_a_lost_lease_or_a_write_that_fails_leaves_neither_half(
    db: Database, transactions: bool, error: type[Exception]
) -> None:
    lease = Lease(db.conversations, ID, OWNER, transactions=transactions)
    assert await lease.take()
    if error is LeaseLost:
        await db.conversations.update_one({}, {"$set": {"lease.holder": "another"}})

    async def write() -> None:
        await db.orders.update_one({"_id": "ORD-1001"}, {"$set": {"status": "shipped"}})
        raise RuntimeError("gone")

    with pytest.raises(error):
        await lease.commit(write, after={"pending": {"id": "x"}})
    assert (await db.orders.find_one({"_id": "ORD-1001"}))["status"] == "delivered"
    assert "pending" not in await db.conversations.find_one({})


async def test_what_a_dead_holder_left_open_blocks_its_heir_for_no_longer_than_the_lease(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died inside a transaction, which has locked the history and the conversation."""
    monkeypatch.setattr(lease_module, "LOCK_SECONDS", 0.5)
    await session_for(db).add_items([{"role": "user", "content": "one"}])
    dead, heir = lease_on(db, seconds=0.5), lease_on(db, seconds=0.5)
    assert await dead.take()
    client_session = dead._client_session
    assert client_session
    async with client_session.bind(end_session=False):
        await client_session.start_transaction()
        await session_for(db).add_items([{"role": "user", "content": "never seen"}])
        await dead.update({"pending": None})
    started = time.monotonic()
    while not await heir.take():
        await asyncio.sleep(0.05)
    await heir.commit(lambda: session_for(db).add_items([{"role": "user", "content": "two"}]))
    assert time.monotonic() - started < 5
    assert [item["content"] for item in await stored_items(db)] == ["one", "two"]
    await client_session.end_session()


async def test_a_server_without_kill_sessions_locks_no_conversation(db: Database) -> None:
    """Atlas refuses the command on its Free and Flex clusters."""
    dead, heir = (lease_on(db, seconds=0.3) for _ in range(2))
    assert await dead.take()
    await asyncio.sleep(0.4)
    refused = {"failCommands": ["killSessions"], "errorCode": 8000}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": refused}
    await db.client.admin.command(point)
    assert await heir.take()


async def test_a_slow_server_is_asked_again_though_nobody_holds_the_lease(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = lease_on(db)
    assert await lease.take()
    await lease._give_back({})
    take = Lease._take

    async def too_late(*_: object) -> Any:
        raise NetworkTimeout("timed out")

    monkeypatch.setattr(Lease, "_take", too_late)
    assert await lease.take() is None
    monkeypatch.setattr(Lease, "_take", take)
    assert await lease.take()


async def test_a_lease_that_could_not_be_given_back_does_not_block_its_holder(db: Database) -> None:
    holder, other = (lease_on(db) for _ in range(2))
    first = await holder.take()
    assert not await other.take()
    await asyncio.sleep(0.05)
    again = await holder.take()
    assert first and again and again["lease"]["until"] > first["lease"]["until"]


async def test_a_race_for_a_new_conversation_has_one_winner(db: Database) -> None:
    leases = [lease_on(db) for _ in range(20)]
    won = await asyncio.gather(*(lease.take() for lease in leases))
    assert len([document for document in won if document]) == 1


async def test_a_stop_that_comes_with_the_lease_keeps_the_question(
    db: Database, open_conversation: Open
) -> None:
    conversation, approval = await returning(open_conversation, say("Done."))
    other = lease_on(db)
    assert await other.take()
    deciding = conversation.decide(approval, True)
    assert await anext(deciding) == Waiting()
    rest = asyncio.create_task(events(deciding))
    await asyncio.sleep(0.05)
    conversation.stop()
    async with other.renewing():
        pass
    assert await rest == [Stopped()]
    assert text_of(await events(conversation.decide(approval, True))) == "Done."


async def test_two_processes_deciding_at_once_make_one_return(
    db: Database, open_conversation: Open
) -> None:
    _, approval = await returning(open_conversation)
    both = [await open_conversation(ScriptedModel([say("Done.")])) for _ in range(2)]
    done = await asyncio.gather(
        *(events(each.decide(approval, True)) for each in both), return_exceptions=True
    )
    assert len([result for result in done if isinstance(result, TurnFailed)]) == 1
    order = await db.orders.find_one({"_id": "ORD-1001"})
    assert order and times_returned(order) == 1


def test_an_approval_open_in_two_terminals_counts_once(shop: Shop) -> None:
    with ModelServer(shopkeeper) as model, contextlib.ExitStack() as open_chats:
        one = open_chats.enter_context(asking(shop, model))
        one.wait_for(QUESTION)
        two = open_chats.enter_context(chat(shop, "--email", "alice@example.com", model=model))
        two.wait_for(QUESTION)
        done = two.finish("y\n")
        assert "About your return: Return initiated" in done.stdout, done.stderr
        late = one.finish("y\n")
        assert late.returncode == 0
        assert late.stderr.endswith("already answered elsewhere, or forgotten.\n")
        assert times_returned(order_of(shop)) == 1


async def test_a_turn_reads_from_the_primary_whatever_the_uri_prefers(mongod: Mongod) -> None:
    """A secondary that lags would hide the question that waits, and the last messages."""
    uri = f"{mongod.uri}{'&' if '?' in mongod.uri else '?'}readPreference=secondaryPreferred"
    async with AsyncMongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        db = client["test_primary"]
        session = Tail(session_for(db), Limits()).session
        read = session._messages, session._sessions, lease_on(db).records
        assert all(each.read_preference == ReadPreference.PRIMARY for each in read)
        conversation = await main.open_conversation(
            client, customer_of(), ScriptedModel([say("Hello.")]), database=db.name
        )
        assert text_of(await events(conversation.turn("hi"))) == "Hello."
        await client.drop_database(db.name)
