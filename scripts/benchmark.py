"""What this program costs beside the model: time, commands, bytes, memory.

    python -m scripts.benchmark

The model answers at once, the mongod is real and its own. What is compared is interleaved, so that
a busy machine slows all of it alike; figures are medians, with the quartiles in brackets. It takes
minutes, and a POSIX system, since main.py is started on a pseudo-terminal.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pexpect
from agents import (
    Model,
    ModelResponse,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SessionSettings,
    SQLiteSession,
    set_tracing_disabled,
)
from agents.extensions.memory import MongoDBSession
from agents.items import TResponseStreamEvent
from agents.memory import SessionABC
from agents.testing import ScriptedModel, assistant_message, function_call
from openai import AsyncOpenAI
from pymongo import AsyncMongoClient, monitoring

from agents_def import build_agents
from database import DB_NAME, Database, Document, connect
from engine.conversation import HISTORY_ITEMS, Conversation
from engine.events import ApprovalNeeded
from local.mongod import temporary_mongod
from seed_data import CUSTOMERS, orders, seed
from tests.model_server import ModelServer, say
from tools import SupportContext, approval_question

ROOT = Path(__file__).parent.parent
PROGRAMS = OURS, BARE, LIMITED, SQLITE = "this program", "bare SDK", "bare, limit", "SQLite"
FILLING = "filling"  # no program: writes what all of them find, on a client with default options
SIZES = (0, 100, 1_000, 10_000)  # stored items
AT_ONCE = (1, 10, 100)  # conversations
CUSTOMERS_RECKONED, CUSTOMERS_STORED = 1_000_000, 2_000
ROUNDS, STARTS, REPEATS = 27, 5, 3
SLOW = 0.2  # seconds; turns that take longer are timed in every ninth round only
PROMPT, GREETING = "Email:", "How can I help?"
ALICE, TODAY = CUSTOMERS[0], datetime.now(timezone.utc)
SESSIONS, OUR_OWN = ("agent_messages", "agent_sessions"), "conversations"

NO_ID = "0" * 24
ANSWER = "Your Halo Desk Lamp left us on Friday; its tracking number is TRK-7781002. " * 3
SAY = assistant_message(ANSWER, item_id=f"msg_{NO_ID}")


def call(letter: str, tool: str, **arguments: str) -> Any:
    ids = {"call_id": f"call_{letter}{NO_ID}", "item_id": f"fc_{letter}{NO_ID}"}
    return function_call(tool, arguments, **ids)


@dataclass(frozen=True, eq=False)
class Turn:
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
MIX = (HANDOFF, SIMPLE, SIMPLE)  # what stored conversations consist of: ten items at a time


class InstantModel(Model):
    """Answers as TURNS says, word by word and at once; unlike ScriptedModel it copies nothing."""

    def __init__(self) -> None:
        self._turns = {turn.message: turn for turn in TURNS}
        self._events: dict[int, list[TResponseStreamEvent]] = {}

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        raise NotImplementedError

    async def stream_response(
        self, system_instructions: str | None, input: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        calls = 0
        for item in reversed(input):
            if item.get("role") == "user":
                break
            calls += item.get("type") == "function_call"
        output = self._turns[item["content"]].outputs[calls]
        if id(output) not in self._events:
            scripted = ScriptedModel([[output]]).stream_response(None, [], *args, **kwargs)
            self._events[id(output)] = [word async for e in scripted for word in _words(e)]
        for event in self._events[id(output)]:
            yield event


def _words(event: TResponseStreamEvent) -> Iterable[TResponseStreamEvent]:
    if event.type != "response.output_text.delta":
        return [event]
    return [event.model_copy(update={"delta": w}) for w in re.findall(r"\S+\s*", event.delta)]


class Player(NamedTuple):
    """Goes on with one stored conversation; `play` ends with the turn's last event."""

    play: Callable[[Turn], Awaitable[None]]
    session: SessionABC
    db: Database


class Players:
    """Opens conversations, with each program on its own client and all on the same items."""

    def __init__(self, clients: dict[str, AsyncMongoClient[Document]], folder: Path) -> None:
        self._clients = clients
        self._file = folder / "sessions.db"
        self._model = InstantModel()

    async def open(
        self, program: str, session_id: str, database: str = "shop", model: Model | None = None
    ) -> Player:
        db, model = self._clients[program][database], model or self._model
        context = SupportContext(db, ALICE["_id"], ALICE["name"], ALICE["tier"])
        limit = HISTORY_ITEMS if program == LIMITED else None
        run_config = RunConfig(model=model, session_settings=SessionSettings(limit=limit))
        agent = build_agents()
        session: SessionABC
        if program == SQLITE:
            session = SQLiteSession(session_id, self._file)
        else:
            session = MongoDBSession(session_id, client=db.client, database=database)
        await session.get_items(1)  # the first call creates the indexes

        async def bare(turn: Turn) -> None:
            run_input: Any = turn.message
            while run_input:
                result = Runner.run_streamed(
                    agent, run_input, context=context, session=session, run_config=run_config
                )
                async for _ in result.stream_events():
                    pass
                run_input = result.to_state() if result.interruptions else None
                for approval in result.interruptions:
                    run_input.approve(approval)

        if not isinstance(session, MongoDBSession) or program != OURS:
            return Player(bare, session, db)
        conversation = await Conversation.open(
            session,
            db=db,
            email=ALICE["email"],
            agent=agent,
            context=context,
            question=approval_question,
            model=model,
        )

        async def ours(turn: Turn) -> None:
            events = [event async for event in conversation.turn(turn.message)]
            if isinstance(events[-1], ApprovalNeeded):
                async for _ in conversation.decide(events[-1], True):
                    pass

        return Player(ours, session, db)


async def fill(players: Players) -> None:
    """Record a conversation of MIX, and store it again and again as the SDK stored it."""
    recording = await players.open(OURS, "recorded")
    await seed(recording.db, TODAY)
    for turn in MIX:
        await recording.play(turn)
    documents = recording.db.agent_messages.find({"session_id": "recorded"}).sort("seq")
    batches = [document["message_data"] async for document in documents]
    for size in SIZES:
        session = (await players.open(FILLING, f"items_{size}")).session
        stored = turns = 0
        while stored < size:
            for batch in batches:
                turns += '"user"' in batch[0]
                items = [json.loads(item.replace(NO_ID, f"{turns:024}")) for item in batch]
                await session.add_items(items)
                stored += len(items)
        sqlite = (await players.open(SQLITE, f"items_{size}")).session
        await sqlite.add_items(await session.get_items())


async def take_back(player: Player, turn: Turn) -> None:
    """As if it had not been played: the next turn finds as many items, and the same shop."""
    for _ in range(2 * len(turn.outputs)):  # a message and its answer, calls and their outputs
        await player.session.pop_item()
    if turn is not SIMPLE:
        await player.db.conversations.update_many({}, {"$unset": {"active_agent": ""}})
    if turn is APPROVAL:
        for order in orders(TODAY):
            await player.db.orders.replace_one({"_id": order["_id"]}, order)


class Cell(NamedTuple):
    """What is measured: who plays which turn on how many stored items."""

    program: str
    turn: Turn
    size: int


Times = dict[Cell, dict[int, float]]  # seconds, by number of the round


async def time_turns(players: Players) -> Times:
    """Play the cells in turn: simple turns in every round, others in every third or ninth."""
    cells = [Cell(*c) for c in product(PROGRAMS, TURNS, SIZES)]
    opened = {(c.program, c.size): await players.open(c.program, f"items_{c.size}") for c in cells}
    times: Times = {cell: {} for cell in cells}
    for number in range(ROUNDS + 1):  # the first one only warms up
        random.shuffle(cells)
        for cell in cells:
            slow = median(times[cell].values() or [0]) > SLOW
            if number % (9 if slow else 1 if cell.turn is SIMPLE else 3):
                continue
            player = opened[cell.program, cell.size]
            gc.collect()
            started = time.perf_counter()
            await player.play(cell.turn)
            times[cell][number] = time.perf_counter() - started
            await take_back(player, cell.turn)
    return {cell: {n: s for n, s in by_round.items() if n} for cell, by_round in times.items()}


class Counter(monitoring.CommandListener):
    """Counts commands. Heartbeats are none, and a lease is renewed in turns of seconds only."""

    def __init__(self) -> None:
        self.commands = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...
    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


async def count_commands(uri: str, folder: Path) -> dict[Cell, int]:
    counter, commands = Counter(), {}
    monitoring.register(counter)  # for clients that are made from now on
    async with await connect(uri) as client:
        players = Players({OURS: client, BARE: client}, folder)
        for program, size in product((OURS, BARE), SIZES):
            player = await players.open(program, f"items_{size}")
            for turn in TURNS:
                before = counter.commands
                await player.play(turn)
                commands[Cell(program, turn, size)] = counter.commands - before
                await take_back(player, turn)
    return commands


async def time_many(players: Players) -> dict[tuple[str, int], list[float]]:
    """Turns a second: one simple turn in each of many conversations, so many at once."""
    many = range(max(AT_ONCE))
    opened = {p: [await players.open(p, f"{p} {n}") for n in many] for p in (OURS, BARE)}
    speeds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _, at_once, program in product(range(REPEATS), AT_ONCE, opened):
        waiting = list(opened[program])

        async def work(waiting: list[Player] = waiting) -> None:
            while waiting:
                await waiting.pop().play(SIMPLE)

        gc.collect()
        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        speeds[program, at_once].append(len(many) / (time.perf_counter() - started))
    return speeds


Row = Sequence[object]


async def bytes_to_model(players: Players) -> list[Row]:
    """The size of the HTTP request of a simple turn, instructions and tools included."""
    rows: list[Row] = []
    with ModelServer(lambda _: say(ANSWER)) as server:
        openai = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        model = OpenAIResponsesModel("any", openai)
        for size in SIZES:
            for program in (OURS, BARE):
                player = await players.open(program, f"items_{size}", model=model)
                await player.play(SIMPLE)
                await take_back(player, SIMPLE)
            sent = [len(json.dumps(r, separators=(",", ":"))) for r in server.requests[-2:]]
            rows.append([f"{size:,}", *(f"{length:,}" for length in sent)])
        assert not server.violations, server.violations
    return rows


async def stored(db: Database, *collections: str) -> list[int]:
    """Documents, their bytes uncompressed, and the bytes of the indexes."""
    await db.client.admin.command("fsync")  # the size of an index is that of its last checkpoint
    stats = [await db.command("collStats", name) for name in collections]
    return [sum(s[figure] for s in stats) for figure in ("count", "size", "totalIndexSize")]


async def storage(players: Players) -> list[Row]:
    """Documents and bytes of each kind of turn, and what they come to for many customers."""
    alice = await players.open(OURS, "support_alice_at_example_com", "storage")
    await seed(alice.db, TODAY)
    await alice.play(SIMPLE)
    rows: list[list[Any]] = []
    for turn in TURNS:
        await alice.db.conversations.update_one({}, {"$unset": {"active_agent": ""}})
        before = await stored(alice.db, "agent_messages")
        await alice.play(turn)
        after = await stored(alice.db, "agent_messages")
        rows.append([f"a turn: {turn.name}", after[0] - before[0], after[1] - before[1], 0])
    once = await stored(alice.db, "agent_sessions", OUR_OWN)
    rows.append(["a conversation, however long", *once[:2], 0])

    # Indexes consist of pages: what they take shows on many customers only.
    copies = (await players.open(OURS, "nobody", "copies")).db
    for name in (*SESSIONS, OUR_OWN):
        documents = await alice.db[name].find({}, {"_id": 0}).to_list()
        await copies[name].insert_many(
            {
                **document,
                "_id" if name == OUR_OWN else "session_id": f"support_customer_{n}_at_x_com",
            }
            for n, document in product(range(CUSTOMERS_STORED), documents)
        )
    found = await stored(copies, *SESSIONS, OUR_OWN)
    reckoned = [figure * CUSTOMERS_RECKONED // CUSTOMERS_STORED for figure in found]
    rows.append([f"{CUSTOMERS_RECKONED:,} customers with {1 + len(TURNS)} such turns", *reckoned])
    return [[what, *(f"{n:,}" if n else "" for n in figures)] for what, *figures in rows]


def until(text: str, command: Sequence[str], folder: Path, env: dict[str, str]) -> float:
    """Seconds from exec until the command has written `text` to its terminal."""
    started = time.perf_counter()
    child = pexpect.spawn(command[0], command[1:], cwd=folder, env=env)
    child.delaybeforesend = child.ptyproc.delayafterclose = 0
    child.expect_exact(text)
    seconds = time.perf_counter() - started
    child.close(force=True)
    return seconds


def peak_memory(command: Sequence[str], folder: Path, env: dict[str, str]) -> float:
    """The most memory that the command had at once, in MB."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=quiet, stderr=quiet)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def spread(figures: Iterable[float], digits: int = 2) -> str:
    """The median, with the quartiles in brackets."""
    low, middle, high = quantiles(figures, n=4, method="inclusive")
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def ratios(times: Times, cell: Cell, other: Cell) -> list[float]:
    """How much longer `cell` took than `other`, round by round."""
    both = times[cell].keys() & times[other].keys()
    return [times[cell][n] / times[other][n] for n in both]


def table(title: str, header: Row, rows: Iterable[Row]) -> None:
    """Print a Markdown table."""
    lines = [[str(field) for field in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n**{title}**\n")
    for line in lines:
        print("|", " | ".join(map(str.ljust, line, widths)), "|", flush=True)


class Target(NamedTuple):
    """What is to be reached: the median of `measured` is at most `most`."""

    what: str
    measured: list[float]
    most: float


def report_turns(times: Times, commands: dict[Cell, int]) -> list[Target]:
    rows: list[Row] = []
    for turn, size in product(TURNS, SIZES):
        ours, *others = (Cell(program, turn, size) for program in PROGRAMS)
        ms = [f"{1000 * median(times[c].values()):,.1f}" for c in (ours, *others)]
        over = [spread(ratios(times, ours, other)) for other in others]
        counted = f"{commands[ours]} / {commands[others[0]]}"
        rows.append([turn.name, f"{size:,}", *ms, *over, counted])
    over = [f"÷ {other}" for other in PROGRAMS[1:]]
    table("A turn, in ms", ["turn", "items stored", *PROGRAMS, *over, "commands"], rows)
    print(
        f"\n{BARE}: Runner.run_streamed with a MongoDBSession, all of the history, the client of\n"
        f"{OURS}; {LIMITED}: with SessionSettings(limit={HISTORY_ITEMS}); {SQLITE}: with a\n"
        f"SQLiteSession in a file. Medians of {ROUNDS} rounds, {ROUNDS // 3} of turns that are not "
        f"simple, {ROUNDS // 9} of\nturns over {SLOW} s. Commands are MongoDB's: {OURS} / {BARE}. "
        "To open a\nconversation, as a web server does for each request, takes 3 more."
    )
    hundred, most = (Cell(OURS, SIMPLE, size) for size in (100, max(SIZES)))
    bare = hundred._replace(program=BARE)
    worst = {turn: max(commands[Cell(OURS, turn, size)] for size in SIZES) for turn in TURNS}
    return [
        Target("simple turn at 100 items ÷ bare SDK's", ratios(times, hundred, bare), 1.3),
        Target(f"simple turn at {most.size:,} items ÷ at 100", ratios(times, most, hundred), 1.2),
        Target("commands of a simple turn", [worst[SIMPLE]], 9),
        Target("commands with handoff and tool", [worst[HANDOFF]], 14),
    ]


async def in_process(uri: str, folder: Path) -> list[Target]:
    default: AsyncMongoClient[Document] = AsyncMongoClient(uri, tz_aware=True)
    async with await connect(uri) as client, default:
        players = Players(dict.fromkeys(PROGRAMS, client) | {FILLING: default}, folder)
        await fill(players)
        gc.freeze()  # what was imported is not looked through before every turn
        commands = await count_commands(uri, folder)
        targets = report_turns(await time_turns(players), commands)
        speeds = await time_many(players)
        rows: list[Row] = [[n, *(spread(speeds[p, n], 0) for p in (OURS, BARE))] for n in AT_ONCE]
        table("Simple turns a second, in one process", ["at once", OURS, BARE], rows)
        rows = await bytes_to_model(players)
        table("Bytes to the model, in a simple turn", ["items stored", OURS, BARE], rows)
        rows = await storage(players)
        table("Stored in MongoDB", ["", "documents", "bytes", "bytes of indexes"], rows)
    return targets


async def seed_shop(uri: str) -> None:
    async with await connect(uri) as client:
        await seed(client[DB_NAME], TODAY)


def processes(uri: str, folder: Path) -> list[Target]:
    """Start main.py and plain imports in turn, with warm page caches."""
    asyncio.run(seed_shop(uri))
    env = {**os.environ, "MONGODB_URI": uri, "TERM": "xterm"}
    python, main = sys.executable, [sys.executable, str(ROOT / "main.py"), "--offline"]
    imports = "import agents, pymongo, rich, prompt_toolkit"
    runs = [
        (
            until(PROMPT, main, folder, env),
            until(PROMPT, [python, "-c", f"import agents; input({PROMPT!r})"], folder, env),
            until(GREETING, [*main, "--email", CUSTOMERS[1]["email"]], folder, env),
            peak_memory([*main, "--email", ALICE["email"], "Where is my lamp?"], folder, env),
            peak_memory([python, "-c", imports], folder, env),
        )
        for _ in range(STARTS + 1)
    ][1:]  # the first one only warms up
    prompt, imported, greeting, turn, alone = zip(*runs, strict=True)
    rows = [
        ["seconds from exec to the first prompt", spread(prompt)],
        ["seconds from exec to the end of `import agents`", spread(imported)],
        ["seconds from exec to the greeting, with --email", spread(greeting)],
        ["MB at most in an offline turn", spread(turn, 0)],
        [f"MB at most in `{imports}`", spread(alone, 0)],
    ]
    table("A process", ["", "measured"], rows)
    return [
        Target("first prompt ÷ import agents", [run[0] / run[1] for run in runs], 0.2),
        Target("peak memory ÷ imports alone", [run[3] / run[4] for run in runs], 1.2),
    ]


def main() -> None:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "MONGODB_"))]:
        del os.environ[name]
    set_tracing_disabled(True)
    versions = [f"{name} {version(name)}" for name in ("openai-agents", "pymongo")]
    print(f"Python {platform.python_version()}", *versions, f"{os.cpu_count()} CPUs", sep=", ")
    with TemporaryDirectory() as folder, temporary_mongod() as mongod:
        targets = processes(mongod.uri, Path(folder))
        targets += asyncio.run(in_process(mongod.uri, Path(folder)))
    rows = []
    for what, measured, most in targets:
        found = spread(measured) if len(measured) > 1 else measured[0]
        rows.append([what, f"≤ {most}", found, "met" if median(measured) <= most else "missed"])
    table("Targets", ["", "target", "measured", ""], rows)


if __name__ == "__main__":
    main()
