"""What this program costs beside the bare SDK, in time and in commands. `make bench` takes minutes.

The model answers at once; the mongod is real, its own, and a replica set of one. The bare SDK is
`Runner.run_streamed` with a MongoDBSession on the same server and with the same limit of items; for
a question it stores the run's state and reads it again, as any program must. The two
programs alternate, so that a busy machine slows both alike; figures are medians, with the quartiles
in brackets.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import product
from statistics import median, quantiles
from typing import Any, NamedTuple

from agents import (
    Model,
    ModelResponse,
    RunConfig,
    RunContextWrapper,
    Runner,
    RunState,
    SessionSettings,
    set_tracing_disabled,
)
from agents.extensions.memory import MongoDBSession
from agents.items import TResponseStreamEvent
from agents.testing import ScriptedModel, assistant_message, function_call
from pymongo import AsyncMongoClient, monitoring

from agents_def import build_agents
from database import Database, Document, connect
from engine.events import ApprovalNeeded
from engine.options import Limits
from local.mongod import temporary_mongod
from main import open_conversation
from seed_data import CUSTOMERS, orders, seed
from shop import session_id_for
from tools import SupportContext

OURS, BARE = "this program", "bare SDK"
SHORT, LONG, LONGEST = 100, 10_000, 50_000  # stored items; logging in goes up to the longest
ROUNDS, LOGINS = 40, 15
MANY, AT_ONCE = 100, (1, 10, 100)  # conversations
LINK_MS = 10  # there and back; mongod itself waits so long before each command
ALICE = CUSTOMERS[0]["email"]
TODAY = datetime.now(timezone.utc)

NO_ID = "0" * 24
ANSWER = "Your Halo Desk Lamp left us on Friday; its tracking number is TRK-7781002. " * 3
SAY = assistant_message(ANSWER, item_id=f"msg_{NO_ID}")


def call(letter: str, tool: str, **arguments: str) -> Any:
    ids = {"call_id": f"call_{letter}{NO_ID}", "item_id": f"fc_{letter}{NO_ID}"}
    return function_call(tool, arguments, **ids)


class Turn(NamedTuple):
    """What the customer writes, and what the model answers, call by call."""

    name: str
    message: str
    outputs: tuple[Any, ...]


SIMPLE = Turn("simple", "Thank you. And when will the lamp be here?", (SAY,))
HANDOFF = Turn(
    "handoff and tool",
    "Where is the lamp that I ordered two weeks ago?",
    (call("a", "transfer_to_orders"), call("b", "list_orders"), SAY),
)
APPROVAL = Turn(
    "handoff and approval",
    "I want to return ORD-1001, it is not powerful enough.",
    (
        call("c", "transfer_to_orders"),
        call("d", "initiate_return", order_id="ORD-1001", reason="Not powerful enough"),
        SAY,
    ),
)
TURNS = (SIMPLE, HANDOFF, APPROVAL)


class InstantModel(Model):
    """Answers as TURNS says, word by word and at once; unlike ScriptedModel it copies nothing."""

    def __init__(self) -> None:
        self._events: dict[int, list[TResponseStreamEvent]] = {}
        self.asked = 0.0  # when, the last time

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        raise NotImplementedError

    async def stream_response(
        self, system_instructions: str | None, input: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        self.asked = time.perf_counter()
        calls = 0
        for item in reversed(input):
            if item.get("role") == "user":
                break
            calls += item.get("type") == "function_call"
        output = next(t for t in TURNS if t.message == item["content"]).outputs[calls]
        if id(output) not in self._events:
            scripted = ScriptedModel([[output]]).stream_response(None, [], *args, **kwargs)
            self._events[id(output)] = [word async for e in scripted for word in _words(e)]
        for event in self._events[id(output)]:
            yield event


MODEL = InstantModel()


def _words(event: TResponseStreamEvent) -> Iterable[TResponseStreamEvent]:
    if event.type != "response.output_text.delta":
        return [event]
    return [event.model_copy(update={"delta": w}) for w in re.findall(r"\S+\s*", event.delta)]


class Player(NamedTuple):
    """One customer's conversation, by one of the two programs."""

    play: Callable[[Turn], Awaitable[None]]
    session: MongoDBSession
    db: Database


async def open_ours(client: AsyncMongoClient[Document], database: str, email: str) -> Player:
    customer = {**CUSTOMERS[0], "email": email}
    opened = await open_conversation(client, customer, MODEL, database=database)  # type: ignore[arg-type]

    async def play(turn: Turn) -> None:
        events = [event async for event in opened.turn(turn.message)]
        if isinstance(events[-1], ApprovalNeeded):
            async for _ in opened.decide(events[-1], True):
                pass

    session = MongoDBSession(session_id_for(email), client=client, database=database)
    return Player(play, session, client[database])


async def commit_alone(write: Callable[[], Awaitable[Any]]) -> Any:
    return await write()


async def open_bare(client: AsyncMongoClient[Document], database: str, email: str) -> Player:
    db, agent = client[database], build_agents()
    context = SupportContext(db, CUSTOMERS[0], commit_alone)
    session = MongoDBSession(session_id_for(email), client=client, database=database)
    config = RunConfig(model=MODEL, session_settings=SessionSettings(limit=Limits.items))
    await session.get_items(1)  # the first call creates the indexes

    async def play(turn: Turn) -> None:
        run_input: Any = turn.message
        while run_input:
            result = Runner.run_streamed(
                agent, run_input, context=context, session=session, run_config=config
            )
            async for _ in result.stream_events():
                pass
            if not (run_input := result.to_state() if result.interruptions else None):
                return
            text = run_input.to_string(context_serializer=lambda _: {})
            await db.waiting.replace_one({"_id": email}, {"state": text}, upsert=True)
            found = await db.waiting.find_one_and_delete({"_id": email}) or {}
            run_input = await RunState.from_string(
                agent, found["state"], context_override=RunContextWrapper(context)
            )
            run_input.approve(run_input.get_interruptions()[0])

    return Player(play, session, db)


OPEN = {OURS: open_ours, BARE: open_bare}


async def fill(player: Player, size: int) -> None:
    """Store `size` items or a few more: whole turns with a handoff and a tool."""
    results = ('{"assistant": "Orders"}', "ORD-1002: shipped")
    question, answer = {"role": "user", "content": HANDOFF.message}, SAY.model_dump()
    for number in range(6, size + 6, 6):  # never 0: the call ids of the turns that are measured
        steps: list[list[Any]] = [[question]]
        for output, told in zip(HANDOFF.outputs, results, strict=False):
            called = output.model_dump(exclude_unset=True)
            called["call_id"] = f"{called['call_id'][:-6]}{number:06}"
            result = {"type": "function_call_output", "call_id": called["call_id"], "output": told}
            steps.append([called, result])
        for step in [*steps, [answer]]:
            await player.session.add_items(step)


async def take_back(player: Player, turn: Turn) -> None:
    """Undo `turn`: the next one finds as many items, and the same shop."""
    for _ in range(2 * len(turn.outputs)):  # a message and its answer, calls and their outputs
        await player.session.pop_item()
    # The SDK goes on counting, and our session would look for what it has counted.
    last = await player.db.agent_messages.find_one(sort=[("seq", -1)])
    counted = {"_seq": last["seq"] + 1 if last else 0}
    await player.db.agent_sessions.update_one({}, {"$set": counted})
    if turn is not SIMPLE:
        await player.db.conversations.update_many({}, {"$unset": {"active_agent": ""}})
        for order in orders(TODAY):
            await player.db.orders.replace_one({"_id": order["_id"]}, order)


class Counter(monitoring.CommandListener):
    """Counts the commands of the clients that are made after it was registered."""

    commands = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...
    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


async def seconds(work: Awaitable[object]) -> float:
    gc.collect()
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def compare_turns(client: AsyncMongoClient[Document], counter: Counter) -> None:
    """Every turn at every size; the two programs alternate."""
    rows, simple = [], {}
    for turn, size in product(TURNS, (0, SHORT, LONG)):
        players = {}
        for program, open_ in OPEN.items():
            players[program] = await open_(client, f"bench_{program[0]}_{size}", ALICE)
            if not await players[program].db.customers.find_one():
                await seed(players[program].db, TODAY)
                await fill(players[program], size)
        times: dict[str, list[float]] = {OURS: [], BARE: []}
        commands = {}
        for number in range((ROUNDS if turn is SIMPLE else ROUNDS // 2) + 1):
            for program, player in list(players.items()):
                before = counter.commands
                took = await seconds(player.play(turn))
                commands[program] = counter.commands - before
                await take_back(player, turn)
                # Opened again: what it remembers of the history is no longer true.
                players[program] = await OPEN[program](client, player.db.name, ALICE)
                if number:  # the first one only warms up
                    times[program].append(took)
        ms = [f"{1000 * median(each):,.1f}" for each in times.values()]
        counted = f"{commands[OURS]} / {commands[BARE]}"
        rows.append([turn.name, f"{size:,}", *ms, ratio(*times.values()), counted])
        if turn is SIMPLE:
            simple[size] = times[OURS]
    table("A turn, in ms", ["turn", "items", OURS, BARE, "ratio", "commands"], rows)
    print(f"\nA simple turn, {LONG:,} items ÷ {SHORT}: {ratio(simple[LONG], simple[SHORT])}")


async def compare_many(client: AsyncMongoClient[Document]) -> None:
    """Turns a second: one simple turn in each of MANY conversations, so many at a time."""
    players: dict[str, list[Player]] = {}
    for program, open_ in OPEN.items():
        name, emails = f"bench_many_{program[0]}", (f"customer-{n}@x.com" for n in range(MANY))
        await seed(client[name], TODAY)
        players[program] = [await open_(client, name, email) for email in emails]
    speeds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _, at_once, program in product(range(8), AT_ONCE, OPEN):
        waiting = list(players[program])

        async def work(waiting: list[Player] = waiting) -> None:
            while waiting:
                await waiting.pop().play(SIMPLE)

        took = await seconds(asyncio.gather(*(work() for _ in range(at_once))))
        speeds[program, at_once].append(MANY / took)
    rows = []
    for n in AT_ONCE:
        ours, bare = speeds[OURS, n], speeds[BARE, n]
        rows.append([n, spread(ours, 0), spread(bare, 0), ratio(bare, ours)])
    header = ["at once", OURS, BARE, "bare SDK ÷ ours"]
    table("Simple turns a second, in one process", header, rows)


async def compare_waits(client: AsyncMongoClient[Document]) -> None:
    """How long it takes until the model is asked."""
    rows: list[list[str]] = []
    for milliseconds in (0, LINK_MS):
        commands = ["find", "findAndModify", "aggregate", "insert", "update", "commitTransaction"]
        slow = {"blockConnection": True, "blockTimeMS": milliseconds, "failCommands": commands}
        mode = "alwaysOn" if milliseconds else "off"
        await client.admin.command("configureFailPoint", "failCommand", mode=mode, data=slow)
        times: dict[str, list[float]] = {OURS: [], BARE: []}
        players = {
            p: await OPEN[p](client, f"bench_wait_{p[0]}_{milliseconds}", ALICE) for p in OPEN
        }
        for number, program in product(range(ROUNDS // 2 + 2), OPEN):
            began = time.perf_counter()
            await players[program].play(SIMPLE)
            if number > 1:  # the first ones only warm up
                times[program].append(1000 * (MODEL.asked - began))
        where = f"{milliseconds} ms away" if milliseconds else "this machine"
        rows.append([where, *(spread(each, 1) for each in times.values()), ratio(*times.values())])
    table("Until the model is asked, in ms", ["MongoDB", OURS, BARE, "ratio"], rows)


async def compare_logins(client: AsyncMongoClient[Document]) -> None:
    """Opening a conversation, and what the greeting shows of it."""
    emails = {size: f"long-{size}@example.com" for size in (LONGEST, SHORT)}
    for size, email in emails.items():
        player = await open_ours(client, "bench_long", email)
        await fill(player, size)
        await player.play(SIMPLE)  # from here on, its messages are counted
    times: dict[int, list[float]] = {size: [] for size in emails}
    for _ in range(LOGINS):
        for size, email in emails.items():
            times[size].append(await seconds(open_ours(client, "bench_long", email)))
    print(f"\nLogging in, {LONGEST:,} items ÷ {SHORT}: {ratio(*times.values())}")


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    return spread(one / other for one, other in zip(over, under, strict=True))


def spread(figures: Iterable[float], digits: int = 2) -> str:
    """The median, with the quartiles in brackets."""
    low, middle, high = quantiles(figures, n=4, method="inclusive")
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def table(title: str, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    lines = [[str(field) for field in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n**{title}**\n")
    for line in lines:
        print("|", " | ".join(map(str.ljust, line, widths)), "|", flush=True)


async def measure(uri: str) -> None:
    counter = Counter()
    monitoring.register(counter)
    async with await connect(uri) as client:
        gc.freeze()  # gc.collect() then skips what was imported
        await compare_turns(client, counter)
        await compare_many(client)
        await compare_logins(client)
        await compare_waits(client)  # the last: it makes mongod slow


def main() -> None:
    set_tracing_disabled(True)
    versions = [f"{name} {version(name)}" for name in ("openai-agents", "pymongo")]
    print(f"Python {platform.python_version()}", *versions, f"{os.cpu_count()} CPUs", sep=", ")
    with temporary_mongod("--setParameter", "enableTestCommands=1") as mongod:
        asyncio.run(measure(mongod.uri))


if __name__ == "__main__":
    main()
