"""The engine's promises as a kit: say in a few lines what your product is, and run them on it.

A `Product` is one owner's conversation, and one deed that needs a yes. `killed`, `stalled` and
`together` play trouble on it, with real processes and a real mongod, and return what was broken,
in words. tests/test_kit.py runs them on the shop and on the desk; CONTRIBUTING.md says how to run
them on yours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from agents import Model, set_tracing_disabled
from agents.testing import ModelCall, ModelStep, assistant_message, function_call
from pymongo import AsyncMongoClient, timeout
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from engine import ApprovalNeeded, Conversation, Event, Limits, TurnFailed
from engine.events import Settled
from tests.builders import Answering
from tests.model_server import check_responses
from tests.processes import new_process
from tests.proxy import Link
from tests.servers import uri

Database: TypeAlias = AsyncDatabase[dict[str, Any]]
SHORT = Limits(lease_seconds=2.0)  # of a process that is stopped: the next one waits so long
SECONDS = 60.0  # for a process to end: far more than it takes
AT_ONCE = 6  # cases
ALL = slice(None)  # commands of a visit
STUCK = "It did not end."


@dataclass(frozen=True)
class Product:
    """What the kit must know. The functions must be importable: other processes run them too."""

    prepare: Callable[[Database], Awaitable[object]]  # what must be there before the deed
    open: Callable[[Database, Model, Limits], Awaitable[Conversation]]  # always the same owner's
    deeds: Callable[[Database], Awaitable[int]]  # how often the deed was done
    # What the model calls on the message, each once, handoffs included; the last is the deed.
    calls: Sequence[tuple[str, Mapping[str, Any]]]
    message: str = "Please do it."


class Script(Answering):
    """Makes the product's calls on its message, one after the other; answers all else at once.

    It refuses a history that a real server refuses.
    """

    def __init__(self, product: Product) -> None:
        self._product = product

    async def respond(self, call: ModelCall) -> ModelStep:
        check_responses({"model": "any", "input": call.input}, {})
        asked = max(n for n, item in enumerate(call.input) if item.get("role") == "user")
        text, unique = call.input[asked]["content"], uuid.uuid4().hex[:12]
        names = {item["call_id"]: item["name"] for item in call.input if "name" in item}
        done = {names[item["call_id"]] for item in call.input[asked:] if "output" in item}
        calls = self._product.calls
        left = [number for number, (name, _) in enumerate(calls) if name not in done]
        if text != self._product.message or not left:
            return ModelStep(output=[assistant_message(to(text), item_id=f"msg_{unique}")])
        # If this agent does not have the next call, it has the handoff before it, once more.
        has = {tool.name for tool in call.tools} | {each.tool_name for each in call.handoffs}
        name, arguments = next(each for each in calls[left[0] :: -1] if each[0] in has)
        call_ids = {"call_id": f"call_{unique}", "item_id": f"fc_{unique}"}
        return ModelStep(output=[function_call(name, dict(arguments), **call_ids)])


def to(text: str) -> str:
    return f"Answer to: {text}"


async def hear(conversation: Conversation, stream: AsyncIterator[Event]) -> list[Event]:
    """What `stream` tells, with a yes to each question."""
    told: list[Event] = []
    while True:
        async for event in stream:
            told.append(event)
        if not told or not isinstance(told[-1], ApprovalNeeded):
            return told
        stream = conversation.decide(told[-1], True)


# The promises


async def killed(
    product: Product, port: int, *, transactions: bool = True, which: slice = ALL
) -> list[str]:
    """kill -9 before each command to MongoDB, from the login to the answer after the yes.

    Or before some of them: `which=slice(1, None, 4)` is every fourth, from the second on.

    Whoever logs in then goes on: nothing is lost or doubled, and one yes is one deed. On a
    standalone mongod, which has no transactions, a question may be lost and asked again, and the
    model may be told that it is not known whether the deed was done.
    """

    async def play(stage: _Stage) -> AsyncIterator[str]:
        stage.link.cut()  # what the dead process had not sent never arrives
        done = await product.deeds(stage.db)
        conversation = await stage.opened()
        known = _has_output(await conversation.next_input(), product.calls[-1][0])
        told = await _go_on(product, conversation)
        if done and any(isinstance(event, ApprovalNeeded) for event in told):
            yield "asked: the deed was done, and the question is asked again"
        if done and not known and not any(isinstance(e, Settled) and e.done for e in told):
            yield "told: the deed was done, and nobody says so"
        deeds, items = await product.deeds(stage.db), await conversation.next_input()
        not_known = not transactions and "It is not known whether" in str(items)
        if deeds != 1 and not (deeds == 0 and not_known):
            yield f"deed: it was done {deeds} times"
        await hear(conversation, conversation.turn("thanks"))
        said = [message.text for message in await conversation.transcript()]
        if said != [text for asked in (product.message, "thanks") for text in (asked, to(asked))]:
            yield f"lost or doubled: {said}"
        if unpaired := _unpaired(await conversation.next_input(), each_has_one=transactions):
            yield unpaired

    return await _at_each_command(product, port, which, signal.SIGKILL, play)


async def stalled(
    product: Product, port: int, *, transactions: bool = True, which: slice = ALL
) -> list[str]:
    """A process stands still before each command; another takes over; then the first goes on.

    Nothing that it writes late is stored (on a standalone, a write on its way may be), and what
    anybody is told to be done is done, once.
    """

    async def play(stage: _Stage) -> AsyncIterator[str]:
        conversation = await stage.opened()
        held = await conversation.collections.records.find_one({"lease.holder": {"$ne": None}})
        told: list[Event | str] = [*await hear(conversation, conversation.turn("hello"))]
        before = await _lasting(product, stage.db, conversation)
        stage.link.release()
        os.kill(stage.seat.process.pid, signal.SIGCONT)
        told += await stage.seat.told()
        if STUCK in told:
            yield "stuck: the process that stood still does not end"
        if transactions and held and before != await _lasting(product, stage.db, conversation):
            yield "late: the process that stood still has written"
        deeds = await product.deeds(stage.db)
        if not deeds and any(isinstance(event, Settled) and event.done for event in told):
            yield "told: it is told as done, and it is not"
        await _go_on(product, await stage.opened())
        if (deeds := await product.deeds(stage.db)) > 1:
            yield f"deed: it was done {deeds} times"
        await hear(conversation, conversation.turn("thanks"))  # no late write is in its way
        unpaired = _unpaired(await conversation.next_input(), each_has_one=False)
        if unpaired and transactions:
            yield unpaired

    return await _at_each_command(product, port, which, signal.SIGSTOP, play)


async def together(product: Product, port: int, turns: int = 4) -> list[str]:
    """Two processes of one owner talk at the same time: they take turns, and nothing is lost."""
    async with _stage(product, port, _texts("A", turns)) as stage:
        other = _Seat(product, stage.link.uri, stage.db.name, _texts("B", turns), Limits())
        told = await stage.seat.told() + await other.told()
        said = [message.text for message in await (await stage.opened()).transcript()]
    broken = [f"failed: {event}" for event in told if isinstance(event, str)]
    if said[1::2] != [to(asked) for asked in said[::2]]:
        broken.append(f"turns: a message stands apart from its answer: {said}")
    for who in "AB":
        if [asked for asked in said[::2] if asked.endswith(who)] != _texts(who, turns):
            broken.append(f"lost or doubled: {said}")
    return broken


# How they are played


@dataclass
class _Seat:
    """A process in which the owner sends messages, and says yes to each question."""

    product: Product
    uri: str
    database: str
    messages: Sequence[str]
    limits: Limits

    def __post_init__(self) -> None:
        self._heard, theirs = Pipe(duplex=False)
        arguments = (self.product, self.uri, self.database, self.messages, self.limits)
        self.process = new_process(_talk, theirs, *arguments)
        theirs.close()

    async def told(self) -> list[Event | str]:
        """What was told until its end; a turn that failed is there as a text."""
        await asyncio.to_thread(self.process.join, SECONDS)
        told: list[Event | str] = [STUCK]
        with contextlib.suppress(EOFError):
            told = self._heard.recv() if self._heard.poll() else told
        return told


def _talk(
    report: Connection,
    product: Product,
    uri: str,
    database: str,
    messages: Sequence[str],
    limits: Limits,
) -> None:
    async def talk() -> list[Event | str]:
        told: list[Event | str] = []
        async with AsyncMongoClient[dict[str, Any]](uri, tz_aware=True, timeoutMS=15_000) as client:
            conversation = await product.open(client[database], Script(product), limits)
            for message in messages:
                try:
                    told += await hear(conversation, conversation.turn(message))
                except TurnFailed as error:
                    told.append(f"{error.reason.name} {error.__cause__!r}")
        return told

    set_tracing_disabled(True)
    report.send(asyncio.run(talk()))


@dataclass
class _Stage:
    """One case: a database of its own, and a process that reaches it over a link."""

    product: Product
    db: Database
    link: Link
    seat: _Seat

    async def opened(self) -> Conversation:
        return await self.product.open(self.db, Script(self.product), Limits())


@contextlib.asynccontextmanager
async def _stage(
    product: Product,
    port: int,
    messages: Sequence[str],
    limits: Limits = Limits(),  # noqa: B008
    stall_at: int | None = None,
) -> AsyncIterator[_Stage]:
    async with (
        AsyncMongoClient[dict[str, Any]](uri(port), tz_aware=True) as client,
        Link(port) as link,
    ):
        db = client[f"kit_{uuid.uuid4().hex}"]
        await product.prepare(db)
        link.hold_at(stall_at)
        seat = _Seat(product, link.uri, db.name, messages, limits)
        stage = _Stage(product, db, link, seat)
        try:
            yield stage
        finally:
            stage.seat.process.kill()
            with contextlib.suppress(PyMongoError), timeout(5):
                # A transaction that is still open would lock the database for a minute.
                await client.admin.command("killSessions", link.sessions)
                await client.drop_database(db)


async def _at_each_command(
    product: Product,
    port: int,
    which: slice,
    stop: signal.Signals,
    play: Callable[[_Stage], AsyncIterator[str]],
) -> list[str]:
    """`play` for each command of a visit, or for some of them: the process stops before it."""
    async with _stage(product, port, [product.message]) as stage:
        await stage.seat.told()
        commands = list(stage.link.commands)
        if await product.deeds(stage.db) != 1:
            return ["The product's calls do not lead to one deed."]
    free = asyncio.Semaphore(AT_ONCE)

    async def case(number: int) -> list[str] | None:
        async with free, _stage(product, port, [product.message], SHORT, number) as stage:
            process = stage.seat.process
            while not stage.link.stalled.is_set() and process.is_alive():
                await asyncio.sleep(0.01)
            if not stage.link.stalled.is_set():
                return None  # this visit needed fewer commands: the lease was renewed less often
            os.kill(process.pid, stop)
            where = f"{stop.name} before {number}, {stage.link.commands[number]}"
            try:
                return [f"{where}: {broken}" async for broken in play(stage)]
            except (TurnFailed, PyMongoError) as error:
                return [f"{where}: stuck: {error!r} {error.__cause__!r}"]

    found = await asyncio.gather(*map(case, range(len(commands))[which]))
    reached = [broken for broken in found if broken is not None]
    if len(reached) < len(found) * 0.8:
        return [f"Only {len(reached)} of {len(found)} commands were reached."]
    return [each for broken in reached for each in broken]


async def _go_on(product: Product, conversation: Conversation) -> list[Event]:
    """What the owner does at the next login: decide, ask for the answer, or say it again."""
    if conversation.opened.pending:
        return await hear(conversation, conversation.resume())
    if conversation.unanswered is not None:
        return await hear(conversation, conversation.retry())
    if product.message not in [message.text for message in await conversation.transcript()]:
        return await hear(conversation, conversation.turn(product.message))
    return []


async def _lasting(product: Product, db: Database, conversation: Conversation) -> list[Any]:
    """All that only the holder of the lease may change."""
    stored = conversation.collections
    record = await stored.records.find_one({"_id": conversation.id}, {"lease": 0, "updated_at": 0})
    session = {"session_id": conversation.id}
    found = [await stored.messages.find(session).to_list(), await stored.sessions.find_one(session)]
    return [record, *found, await product.deeds(db)]


def _has_output(items: Sequence[Mapping[str, Any]], name: str) -> bool:
    calls = {item["call_id"] for item in items if item.get("name") == name}
    return any("output" in item and item["call_id"] in calls for item in items)


def _unpaired(items: Sequence[Mapping[str, Any]], *, each_has_one: bool) -> str:
    """What is wrong with the calls and their outputs, if anything is."""
    ids = [(item["call_id"], "output" in item) for item in items if "call_id" in item]
    calls = [call_id for call_id, is_output in ids if not is_output]
    outputs = [call_id for call_id, is_output in ids if is_output]
    doubled = len(ids) > len(set(ids))
    if doubled or set(outputs) - set(calls) or (each_has_one and calls != outputs):
        return f"pairs: the calls {calls} have the outputs {outputs}"
    return ""


def _texts(who: str, turns: int) -> list[str]:
    return [f"hello {number} from {who}" for number in range(turns)]
