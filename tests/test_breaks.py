"""What an attacker found in the engine: each of these once did the wrong thing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    Model,
    ModelProvider,
    RunConfig,
    RunContextWrapper,
    ToolGuardrailFunctionOutput,
    ToolOutputText,
    function_tool,
    output_guardrail,
    tool_output_guardrail,
)
from agents.agent import StopAtTools
from agents.extensions.memory import MongoDBSession
from agents.memory import SessionSettings
from agents.testing import ModelStep, ScriptedModel, function_call
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect

from engine import (
    Approval,
    Conversation,
    Limits,
    Reason,
    Refusal,
    TurnFailed,
    remove_idle,
    without_write_concern,
)
from engine.events import Stopped
from engine.history import NOT_TAKEN, waiting_call
from engine.lease import Lease
from engine.models.checked import CheckedModel
from engine.session import Tail, TurnSession
from local.mongod import Mongod
from terminal.chat import words_for
from tests.builders import Visits, asked, call, events, failure_of, said, say, settled, text_of

PLAIN = Agent[Any](name="Desk")


@pytest.fixture
def visits(visits: Visits) -> Visits:
    """The context of the tools is the commit."""
    visits.options = {"context": lambda commit: commit}
    return visits


async def nothing(what: str) -> None: ...


def doer(
    visits: Visits,
    after: Callable[[str], Awaitable[None]] = nothing,
    late: Callable[[str], Awaitable[None]] = nothing,
    **of_tool: Any,
) -> Agent[Any]:
    """An agent whose tool writes without a guard.

    `after` is awaited with each write, `late` after its commit.
    """

    async def deed(run: RunContextWrapper[Any], what: str) -> str:
        """Do it."""

        async def write() -> str:
            await visits.db.deeds.insert_one({"what": what})
            await after(what)
            return f"did {what}"

        done = await run.context(write)
        await late(what)
        return str(done)

    tool = function_tool(deed, needs_approval=True, **of_tool)
    return Agent[Any](name="Doer", tools=[tool])


@function_tool(needs_approval=True)
async def gated(day: str = "") -> str:
    """Gated."""
    return "did"


@function_tool
async def look() -> str:
    """Look."""
    return "seen"


@pytest.mark.parametrize("mongod", ["standalone"], indirect=True)
async def test_a_deed_whose_reply_is_lost_is_not_done_again(visits: Visits) -> None:
    lost = [True]

    async def lose(_: str) -> None:
        if lost:
            lost.pop()
            raise AutoReconnect("connection closed")

    agent = doer(visits, lose)
    needed = asked(await visits.turn(agent, "A", call("deed", what="A")))
    conversation = await visits.open(agent, call("deed", "again", what="A"))
    failed = await failure_of(conversation.decide(needed, True))
    assert (failed.reason, failed.maybe_stored) == (Reason.DATABASE_SILENT, True)
    seen = await visits.retry(agent, say("I have to look."))
    assert "not known" in settled(seen)[0][1]
    assert await visits.db.deeds.count_documents({}) == 1


class Stuck(ScriptedModel):
    async def get_response(self, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()


@pytest.mark.parametrize("last", [False, True, None], ids=["a no", "a yes", "refused when resumed"])
async def test_nested_calls_that_got_a_yes_are_one_deed_each_after_a_kill(
    visits: Visits, last: bool | None
) -> None:
    done: list[str] = []

    async def refuse(*_: Any) -> str:
        raise Refusal("No.")

    async def note(what: str) -> None:
        done.append(what)

    front = Agent[Any](name="Front", tools=[doer(visits, note).as_tool("ask_inner", "Ask.")])

    both = [function_call("deed", {"what": w}, call_id=w.lower()) for w in "AB"]
    outer = call("ask_inner", "outer", input="both")
    needed = asked(await visits.turn(front, "both", outer, both))
    needed = asked(await visits.decide(front, needed, True))
    options = {"approvals": {"deed": Approval(refuse, "No.")}} if last is None else {}
    killed = await visits.open(front, Stuck([]), **options)
    goes_on = killed.resume() if last is None else killed.decide(needed, last)
    going_on = asyncio.create_task(events(goes_on))
    made = "AB" if last else "A"
    while len(set(done)) < len(made):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # for the last commit
    await visits.db.conversations.update_one({}, {"$set": {"lease": None}})
    seen = await visits.retry(front, say("Done."))
    going_on.cancel()
    assert sorted(settled(seen)) == [(True, f"did {what}") for what in made]
    assert all(f"did {what}" in str(visits.sent) for what in made)
    assert sorted(await visits.db.deeds.distinct("what")) == list(made)
    assert await visits.db.deeds.count_documents({}) == len(made)


async def test_a_no_keeps_what_an_earlier_yes_in_the_same_agent_did(visits: Visits) -> None:
    done: list[str] = []

    async def note(what: str) -> None:
        done.append(what)

    front = Agent[Any](name="Front", tools=[doer(visits, note).as_tool("ask_inner", "Ask.")])
    a, b, c = (function_call("deed", {"what": w}, call_id=w.lower()) for w in "ABC")
    needed = asked(await visits.turn(front, "all", call("ask_inner", "outer", input="all"), [a]))
    needed = asked(await visits.decide(front, needed, True, [b, c]))
    needed = asked(await visits.decide(front, needed, True))
    killed = await visits.open(front, Stuck([]))
    going_on = asyncio.create_task(events(killed.decide(needed, False)))
    while "B" not in done:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # for the commit
    await visits.db.conversations.update_one({}, {"$set": {"lease": None}})
    seen = await visits.retry(front, say("Done."))
    going_on.cancel()
    assert (True, "did B") in settled(seen)
    assert all(f"did {what}" in str(visits.sent) for what in "AB")
    assert sorted(await visits.db.deeds.distinct("what")) == ["A", "B"]


def nested(visits: Visits) -> Agent[Any]:
    """An agent with one that is a tool, which writes and is then asked about another write."""
    return Agent[Any](name="Front", tools=[doer(visits).as_tool("ask_inner", "Ask.")])


async def test_a_persons_answer_ends_a_deed_whose_run_waits(visits: Visits) -> None:
    outer, b = call("ask_inner", "outer", input="both"), call("deed", "b", what="B")
    needed = asked(await visits.turn(nested(visits), "both", outer, call("deed", "a", what="A")))
    asked(await visits.decide(nested(visits), needed, True, b))
    await events((await visits.open(nested(visits))).answer("I did A."))
    assert (await visits.open(nested(visits))).unanswered is None
    await visits.turn(nested(visits), "thanks", say("Bye."))
    kinds = [item.get("type", item.get("role")) for item in await visits.items()]
    assert kinds[:4] == ["user", "function_call", "function_call_output", "assistant"]
    assert "did A" in str(visits.sent)


async def test_a_stop_at_the_next_question_keeps_what_was_done(visits: Visits) -> None:
    async def stop(_: object) -> ModelStep:
        conversation.stop()
        return ModelStep(output=call("deed", "b", what="B"))

    outer = call("ask_inner", "outer", input="both")
    needed = asked(await visits.turn(nested(visits), "both", outer, call("deed", "a", what="A")))
    conversation = await visits.open(nested(visits), ModelStep.respond(stop))
    assert (await events(conversation.decide(needed, True)))[-1] == Stopped()
    assert await visits.calls_without_output() == []
    await visits.turn(nested(visits), "and?", say("A is done."))
    assert "did A" in str(visits.sent)


@pytest.mark.parametrize("mongod", ["standalone"], indirect=True)
async def test_a_deed_that_another_process_overtook_is_not_told_as_undone(visits: Visits) -> None:
    async def overtaken(_: str) -> None:
        other = {"lease.holder": "another", "lease.process": "another"}
        await visits.db.conversations.update_one({}, {"$set": other})

    agent = doer(visits, overtaken)
    needed = asked(await visits.turn(agent, "A", call("deed", what="A")))
    conversation = await visits.open(agent, say("It failed."))
    seen = []
    with pytest.raises(TurnFailed) as failed:
        async for event in conversation.decide(needed, True):
            seen.append(event)
    assert failed.value.reason is Reason.TAKEN_OVER and settled(seen) == []
    assert await visits.db.deeds.count_documents({}) == 1


def stopped_while_taking(conversation: Conversation) -> None:
    """From now on, the owner stops each turn while the command that begins it is on its way."""
    take = conversation._lease._take

    async def stop(message: Any) -> Any:
        conversation.stop()
        return await take(message)

    conversation._lease._take = stop  # type: ignore[method-assign]


@pytest.mark.parametrize("fails", [False, True], ids=["stopped", "MongoDB fails"])
async def test_what_a_message_has_withdrawn_is_told_once(visits: Visits, fails: bool) -> None:
    async def fail() -> None:
        raise AutoReconnect("connection closed")

    agent = doer(visits)
    asked(await visits.turn(agent, "A", call("deed", what="A")))
    conversation = await visits.open(agent, say("x"))
    if fails:
        conversation._tail.refresh = fail  # type: ignore[method-assign]
        failed = await failure_of(conversation.turn("never mind"))
        assert failed.accepted and not failed.maybe_stored
        assert words_for(failed).endswith("Your message is saved; /retry answers it.")
    else:
        stopped_while_taking(conversation)
        assert await events(conversation.turn("never mind")) == [Stopped()]
    busy = {"instead": lambda _: "Wait."}
    told = [settled(await visits.retry(agent, **busy)) for _ in range(2)]
    assert told == [[(False, "It was not done.")], []]


@pytest.mark.parametrize("mongod", ["standalone"], indirect=True)
async def test_a_reset_that_was_killed_tells_nothing_withdrawn(visits: Visits) -> None:
    async def die() -> None:
        raise AutoReconnect("connection closed")

    agent = doer(visits)
    asked(await visits.turn(agent, "A", call("deed", what="A")))
    conversation = await visits.open(agent, say("x"))
    stopped_while_taking(conversation)
    await events(conversation.turn("never mind"))
    conversation = await visits.open(agent)
    conversation._lease.forget = die  # type: ignore[method-assign]
    with pytest.raises(TurnFailed):
        await conversation.erase()
    assert settled(await visits.turn(agent, "hello", say("Hello."))) == []


async def test_what_was_done_before_a_kill_is_told_once(visits: Visits) -> None:
    async def die(*_: object) -> None:
        raise RuntimeError("killed")

    agent = doer(visits)
    needed = asked(await visits.turn(agent, "A", call("deed", what="A")))
    conversation = await visits.open(agent, say("x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TurnSession, "add_items", die)
        await failure_of(conversation.decide(needed, True))
    busy = {"instead": lambda _: "Wait."}
    told = [settled(await visits.turn(agent, message, **busy)) for message in ("1", "2")]
    assert told == [[(True, "did A")], []]
    await visits.retry(agent, say("Done."))
    assert "did A" in str(visits.sent)


async def test_a_retry_that_is_stopped_at_once_is_not_recovered(visits: Visits) -> None:
    await visits.fails(PLAIN, "hi", RuntimeError("gone"))
    assert (await visits.record())["unanswered_since"]
    conversation = await visits.open(PLAIN)
    stopped_while_taking(conversation)
    assert await events(conversation.retry()) == [Stopped()]
    assert (await visits.record())["unanswered_since"] is None


async def test_a_question_that_comes_when_the_time_is_up_is_asked(visits: Visits) -> None:
    @function_tool
    async def slow() -> str:
        """Slow."""
        await asyncio.sleep(1.5)
        return "seen"

    both = [function_call("slow", {}, call_id="a"), function_call("gated", {}, call_id="b")]
    agent = Agent[Any](name="Desk", tools=[slow, gated])
    asked(await visits.turn(agent, "hi", both, limits=Limits(seconds=1)))
    assert (await visits.record())["pending"]["tool"] == "gated"


async def test_all_runs_of_a_turn_share_its_time(visits: Visits) -> None:
    async def refuse(*_: Any) -> str:
        await asyncio.sleep(0.4)
        raise Refusal("No.")

    agent = Agent[Any](name="Desk", tools=[gated])
    calls = [call("gated", f"c{n}") for n in range(9)]
    began = time.monotonic()
    options: Any = {"approvals": {"gated": Approval(refuse, "No.")}, "limits": Limits(seconds=1)}
    assert (await visits.fails(agent, "hi", *calls, **options)).reason is Reason.MODEL_SILENT
    assert time.monotonic() - began < 3


async def test_a_model_that_a_provider_finds_knows_its_own_items_in_the_next_step(
    visits: Visits,
) -> None:
    class Provider(ModelProvider):
        def get_model(self, _: str | None) -> Model:
            return model

    asking = function_call("look", {}, call_id="call_abc", item_id="fc_1")
    model = ScriptedModel([[asking], say("done")])
    agent = Agent[Any](name="Desk", tools=[look], model="any")
    conversation = await visits.open(agent, run_config=RunConfig(model_provider=Provider()))
    await events(conversation.turn("hi"))
    sent = [item for item in model.last_call.input if item.get("type") == "function_call"]
    assert [(item["id"], item["call_id"]) for item in sent] == [("fc_1", "call_abc")]


async def test_two_stops_while_the_lease_is_taken_leave_nothing(
    visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Lease._take

    async def slow(self: Lease, message: Any) -> Any:
        await asyncio.sleep(0.2)
        return await take(self, message)

    monkeypatch.setattr(Lease, "_take", slow)
    conversation = await visits.open(PLAIN, say("x"))
    reading = asyncio.create_task(events(conversation.turn("hello")))
    for _ in range(2):
        await asyncio.sleep(0.05)
        conversation.stop()
    assert await reading == [Stopped()]
    await asyncio.sleep(0.5)
    record = await visits.record()
    assert (record["lease"], record["unanswered_since"]) == (None, None)


async def test_a_record_of_a_newer_engine_does_not_stop_retention(visits: Visits) -> None:
    old = datetime(2020, 1, 1, tzinfo=timezone.utc)
    newer = {"_id": "z", "format": 99, "owner": "o", "accepted": ["x"], "updated_at": old}
    await visits.db.conversations.insert_many([newer, {**newer, "_id": "y", "format": 2}])
    assert await remove_idle(visits.db.conversations, 1) == 1
    assert [each["_id"] async for each in visits.db.conversations.find()] == ["z"]


async def test_an_answer_sets_no_field_of_the_engines(visits: Visits) -> None:
    conversation = await visits.open(PLAIN)
    for name in ("accepted", "lease"):
        with pytest.raises(ValueError, match=name):
            conversation.answer("hi", {name: []})
    await events(conversation.answer("hi", {"step": 1, "last": 2}))
    assert (await visits.record()).items() >= {"step": 1, "last": 2}.items()


async def test_a_message_that_reads_like_a_mark_of_ours_is_sent(visits: Visits) -> None:
    await visits.turn(PLAIN, NOT_TAKEN, say("x"))
    assert [item["content"] for item in visits.sent] == [NOT_TAKEN]


async def test_what_was_withdrawn_is_told_though_the_model_wrote_nonsense(visits: Visits) -> None:
    async def ask(*_: Any) -> str:
        return "?"

    approval = Approval(ask, "Nothing was done.", withdrawn=lambda given: given["day"].upper())
    agent, options = Agent[Any](name="Desk", tools=[gated]), {"approvals": {"gated": approval}}
    asked(await visits.turn(agent, "q", call("gated", day=3), **options))
    seen = await visits.turn(agent, "wait", say("x"), **options)
    assert settled(seen) == [(False, "Nothing was done.")]


async def test_a_picture_that_is_too_large_is_refused_in_words(visits: Visits) -> None:
    conversation = await visits.open(PLAIN)
    picture = {"type": "input_image", "image_url": "data:" + "x" * 3_000_000}
    with pytest.raises(TurnFailed, match="too long"):
        conversation.turn([picture])


async def test_a_deed_whose_tool_ran_out_of_time_is_told_as_done(visits: Visits) -> None:
    agent = doer(visits, lambda _: asyncio.sleep(0.5), timeout=0.2)
    needed = asked(await visits.turn(agent, "do it", call("deed", what="it")))
    deciding = await visits.open(agent, say("It failed."))
    assert (await failure_of(deciding.decide(needed, True))).reason is Reason.DATABASE_SILENT
    seen = await visits.retry(agent, say("It is done."))
    assert settled(seen) == [(True, "did it")]
    assert await visits.db.deeds.count_documents({}) == 1


async def test_a_write_concern_that_transactions_refuse_is_refused_at_once(mongod: Mongod) -> None:
    uri = f"{mongod.uri}{'&' if '?' in mongod.uri else '?'}retryWrites=true&w=majority"
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        with pytest.raises(ValueError, match="write concern"):
            await Visits(client).open(PLAIN)
    async with AsyncMongoClient[dict[str, Any]](without_write_concern(uri)) as client:
        visits = Visits(client)
        assert text_of(await visits.turn(PLAIN, "hi", say("Hello."))) == "Hello."
        # A client that leaves the zone out of dates is fine.
        assert (await visits.open(PLAIN)).opened.last_active > datetime(
            2020, 1, 1, tzinfo=timezone.utc
        )
        assert await remove_idle(visits.db.conversations, 1) == 0
        assert await remove_idle(visits.db.conversations, -1) == 1
        await client.drop_database(visits.database)


async def test_what_is_forgotten_is_not_made_again_by_who_removes_it(visits: Visits) -> None:
    late = Lease(visits.db.conversations, "gone", "o", transactions=True, creates=False)
    assert await late.take() is None
    assert await visits.db.conversations.count_documents({}) == 0


async def test_a_stop_while_a_no_is_stored_asks_no_model(
    visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, store = doer(visits), TurnSession.store
    needed = asked(await visits.turn(agent, "do it", call("deed", what="A")))
    conversation = await visits.open(agent, say("never said"))

    async def stopped(self: TurnSession, *args: Any, **fields: Any) -> None:
        monkeypatch.undo()
        conversation.stop()
        await store(self, *args, **fields)

    monkeypatch.setattr(TurnSession, "store", stopped)
    seen = await events(conversation.decide(needed, False))
    assert (settled(seen), seen[-1]) == ([(False, "It was not done.")], Stopped())
    assert not visits.model.calls


async def test_all_that_was_said_is_told_whatever_the_session_is_limited_to(visits: Visits) -> None:
    class Short(MongoDBSession):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options, session_settings=SessionSettings(limit=1))

    visits.session = Short
    await visits.turn(PLAIN, "one", say("1"))
    await visits.turn(PLAIN, "two", say("2"))
    assert await said(await visits.open(PLAIN)) == ["one", "1", "two", "2"]


async def test_a_message_that_moves_while_it_is_read_is_told_once(
    visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, answer = asyncio.Event(), asyncio.Event()

    async def wait(_: Any) -> Any:
        asking.set()
        await answer.wait()
        return ModelStep(output=say("1"))

    conversation = await visits.open(PLAIN, ModelStep.respond(wait))
    reader = await visits.open(PLAIN)
    turn = asyncio.create_task(events(conversation.turn("one")))
    await asking.wait()
    read = Tail.read

    async def slow(self: Tail, limit: int | None = None) -> Any:
        found = await read(self, limit)
        if not answer.is_set():
            answer.set()
            await turn
        return found

    monkeypatch.setattr(Tail, "read", slow)
    assert await said(reader) == ["one", "1"]


@pytest.mark.parametrize("seconds", [0, 0.02], ids=["at once", "while it is sealed"])
async def test_a_message_is_kept_though_its_stop_comes_before_it_is_stored(
    visits: Visits, seconds: float
) -> None:
    class Sealing(MongoDBSession):
        async def _serialize_item(self, item: Any) -> str:
            await asyncio.sleep(0.1)
            return await super()._serialize_item(item)

    visits.session = Sealing
    conversation = await visits.open(PLAIN, say("1"))
    reading = asyncio.create_task(events(conversation.turn("one")))
    await asyncio.sleep(seconds)
    conversation.stop()
    assert await reading == [Stopped()]
    assert text_of(await events(conversation.retry())) == "1"


async def test_a_renewal_that_came_late_is_asked_for_again(
    visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a laptop that slept while it waited for the reply."""
    lease, renew, late = Lease(visits.db.conversations, "s", "o", transactions=True), [], [True]
    assert await lease.take()
    renewed = Lease._renew

    async def slept(self: Lease) -> None:
        await renewed(self)
        renew.append(True)
        if late:
            late.clear()
            self._deadlines = (0.0, 0.0)

    monkeypatch.setattr(Lease, "_renew", slept)
    lease._deadlines = (0.0, 0.0)
    await lease.update({"pending": None})
    assert len(renew) == 2


async def test_who_waits_for_a_lease_in_vain_leaves_no_session_open(visits: Visits) -> None:
    holder = Lease(visits.db.conversations, "s", "o", transactions=True)
    other = Lease(visits.db.conversations, "s", "o", transactions=True)
    assert await holder.take()

    async def wait() -> None:
        async with other.hold(lambda: None):
            raise AssertionError("held twice")

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(wait(), 0.2)
    assert other._client_session is None


def test_only_the_call_that_was_approved_gets_its_output() -> None:
    def made(call_id: str) -> dict[str, Any]:
        return {"type": "function_call", "call_id": call_id, "name": "deed", "arguments": "{}"}

    both = [made("a"), made("b")]
    done = [*both, {"type": "function_call_output", "call_id": "a", "output": "did A"}]
    assert waiting_call(both, "a") == both[0]
    assert waiting_call(done, "a") is None
    assert waiting_call(done, "inner") == both[1]


@pytest.mark.parametrize("supports", [True, False])
def test_the_model_says_whether_its_server_caches_prompts(supports: bool) -> None:
    class Caching(ScriptedModel):
        def _supports_default_prompt_cache_key(self) -> bool:
            return supports

    model = CheckedModel(Caching([]))
    assert model._supports_default_prompt_cache_key() is supports
    assert CheckedModel(ScriptedModel([]))._supports_default_prompt_cache_key() is False


PARTS = [{"type": "text", "text": "Booked."}]  # as each tool of an MCP server answers


@pytest.mark.parametrize(
    "output",
    [PARTS[0], PARTS, [ToolOutputText(text="Booked.")], "Boo\x07ked.\u202e\ud800"],
    ids=["part", "parts", "objects", "control characters"],
)
async def test_what_an_approved_tool_answered_is_told_as_plain_text(
    visits: Visits, output: Any
) -> None:
    @function_tool(needs_approval=True)
    async def book() -> Any:
        """Book."""
        return output

    agent = Agent[Any](name="Desk", tools=[book])
    needed = asked(await visits.turn(agent, "book", call("book")))
    assert settled(await visits.decide(agent, needed, True, say("ok"))) == [(True, "Booked.")]


async def test_what_a_guardrail_withheld_stays_withheld(visits: Visits) -> None:
    @tool_output_guardrail
    def no_secret(_: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.raise_exception()

    agent = doer(visits, tool_output_guardrails=[no_secret])
    needed = asked(await visits.turn(agent, "book", call("deed", what="A")))
    deciding = await visits.open(agent)
    assert (await failure_of(deciding.decide(needed, True))).reason is Reason.ANSWER_BLOCKED
    assert settled(await visits.retry(agent, say("ok"))) == [(True, "Done.")]
    assert "did A" not in str(visits.sent) + str(await visits.items())
    assert await visits.db.deeds.count_documents({}) == 1


@pytest.mark.parametrize("where", ["instructions", "model", "tool"])
async def test_a_cancel_in_the_builders_code_is_no_empty_answer_and_no_stop(
    visits: Visits, where: str
) -> None:
    async def cancel(*_: Any) -> Any:
        raise asyncio.CancelledError

    async def instructions(_: Any, __: Any) -> str:
        return str(await cancel()) if where == "instructions" else "Help."

    @function_tool(failure_error_function=None)
    async def break_off() -> str:
        """Break off."""
        return str(await cancel())

    agent = Agent[Any](name="Desk", instructions=instructions, tools=[break_off])
    step = call("break_off") if where == "tool" else ModelStep.respond(cancel)
    conversation = await visits.open(agent, step, say("ok"))
    failed = await failure_of(conversation.turn("go"))
    assert failed.reason is Reason.PROGRAM_ERROR
    assert conversation.unanswered == "go"


async def test_half_a_character_in_a_part_is_left_out(visits: Visits) -> None:
    await visits.turn(PLAIN, [{"type": "input_image", "image_url": "data:\ud800x"}], say("ok"))
    assert visits.sent[0]["content"][0]["image_url"] == "data:x"


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_a_reader_that_goes_away_at_once_leaves_nothing_running(
    visits: Visits, steps: int
) -> None:
    conversation = await visits.open(PLAIN, say("1"), say("2"))
    reading = asyncio.create_task(events(conversation.turn("one")))
    for _ in range(steps):
        await asyncio.sleep(0)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert await events(conversation.turn("two"))


@tool_output_guardrail
def hide(_: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.reject_content("Withheld.")


@output_guardrail
async def keep(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, tripwire_triggered=False)


@output_guardrail
async def withhold(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, tripwire_triggered=True)


async def killed_after_a_deed(visits: Visits, guarded: Any, **of_agent: Any) -> Agent[Any]:
    """The agent whose process dies between the commit of an approved deed and its step."""
    made, killed = asyncio.Event(), asyncio.Event()

    async def wait(_: str) -> None:
        made.set()
        await killed.wait()

    agent = doer(visits, late=wait, tool_output_guardrails=guarded).clone(**of_agent)
    needed = asked(await visits.turn(agent, "do it", call("deed", what="A")))
    conversation = await visits.open(agent)
    dies = asyncio.create_task(failure_of(conversation.decide(needed, True)))
    await asyncio.wait({dies, asyncio.ensure_future(made.wait())}, return_when="FIRST_COMPLETED")
    await visits.db.conversations.update_one({}, {"$set": {"lease": None}})
    killed.set()
    assert (await dies).reason is Reason.TAKEN_OVER  # it writes nothing more
    return agent


ENDS_A_RUN = ["stop_on_first_tool", StopAtTools(stop_at_tool_names=["deed"])]


@pytest.mark.parametrize("behavior", ENDS_A_RUN, ids=["first tool", "named tool"])
async def test_a_deed_is_known_though_its_call_was_not_stored_yet(
    visits: Visits, behavior: Any
) -> None:
    agent = await killed_after_a_deed(
        visits, None, tool_use_behavior=behavior, output_guardrails=[keep]
    )
    assert not any(item.get("type") == "function_call" for item in await visits.items())
    seen = await visits.retry(agent, say("It is done."))
    assert (settled(seen), text_of(seen)) == ([(True, "Done.")], "It is done.")
    *_, made, output = visits.sent
    assert (made["arguments"], output["output"]) == ('{"what":"A"}', "Done.")
    assert await visits.calls_without_output() == []
    assert await visits.db.deeds.count_documents({}) == 1


async def test_after_a_kill_nobody_reads_what_a_guardrail_would_have_hidden(visits: Visits) -> None:
    agent = await killed_after_a_deed(visits, [hide])
    assert settled(await visits.retry(agent, say("It is done."))) == [(True, "Done.")]
    assert "did A" not in str(visits.sent) + str(await visits.items())


@pytest.mark.skipif(version("openai-agents") < "0.24", reason="0.23 tells the output first")
async def test_what_was_done_is_told_though_a_guardrail_withholds_what_it_answered(
    visits: Visits,
) -> None:
    ends = {"tool_use_behavior": "stop_on_first_tool", "output_guardrails": [withhold]}
    agent = doer(visits).clone(**ends)
    needed = asked(await visits.turn(agent, "do it", call("deed", what="A")))
    conversation, seen = await visits.open(agent), []
    with pytest.raises(TurnFailed, match="withheld"):
        async for event in conversation.decide(needed, True):
            seen.append(event)
    assert settled(seen) == [(True, "Done.")]
    assert "did A" not in str(await visits.items())
    seen = await visits.turn(PLAIN, "and now?", say("It is done."))
    assert (settled(seen), text_of(seen)) == ([], "It is done.")


async def test_a_session_input_callback_is_refused_in_words(visits: Visits) -> None:
    config = RunConfig(session_input_callback=lambda history, new: history[-4:] + new)
    with pytest.raises(ValueError, match="call_model_input_filter"):
        await visits.open(PLAIN, run_config=config)


@pytest.mark.parametrize("yes", [None, True, False], ids=["a message", "a yes", "a no"])
@pytest.mark.parametrize("nested", [False, True], ids=["held back", "nested"])
async def test_a_deed_before_the_next_question_is_not_forgotten(
    visits: Visits, nested: bool, yes: bool | None
) -> None:
    """The history has no output of it yet, only the run that waits for the next answer."""
    agent = doer(visits)
    a, b = (call("deed", what.lower(), what=what) for what in "AB")
    if nested:
        agent = Agent[Any](name="Front", tools=[agent.as_tool("ask_inner", "Ask.")])
        calls = [call("ask_inner", "outer", input="both"), a]
    else:
        agent.tool_use_behavior, agent.output_guardrails = "stop_on_first_tool", [keep]
        calls = [a + b]
    needed = asked(await visits.turn(agent, "both", *calls))
    seen = await visits.decide(agent, needed, True, *[b] * nested)
    assert len(settled(seen)) == 1
    if yes is None:
        seen = await visits.turn(agent, "wait", say("So."))
        assert settled(seen) == [(False, "It was not done.")]
        assert ("did A" if nested else "Done.") in str(visits.sent)
    else:
        await visits.decide(agent, asked(seen), yes, say("So."), say("So."))
    assert settled(await visits.turn(agent, "thanks", say("Bye."))) == []
    outputs = [item["call_id"] for item in await visits.items() if "output" in item]
    assert len(outputs) == len(set(outputs)) == (1 if nested or yes is None else 2)
    assert await visits.db.deeds.count_documents({}) == 1 + (yes is True)


async def test_two_agents_with_one_name_are_refused_in_words(visits: Visits) -> None:
    agent = Agent[Any](name="Desk", handoffs=[Agent[Any](name="Desk")])
    with pytest.raises(ValueError, match='Two agents have the name "Desk"'):
        await visits.open(agent)
