"""What this program costs beside the model: time, commands, bytes, memory.

    python -m tests.benchmark

The model answers at once, the mongod is real and its own. What is compared is interleaved, so that
a busy machine slows all of it alike; figures are medians, with the quartiles in brackets. main.py
runs on a pseudo-terminal here, so this needs a POSIX system.
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
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from agents import (
    Model,
    ModelResponse,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
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
from local.mongod import temporary_mongod
from seed_data import CUSTOMERS, orders, seed
from support.conversation import Conversation
from support.database import DB_NAME, Database, Document, connect
from support.events import ApprovalNeeded
from tests.model_server import ModelServer, say
from tools import SupportContext, approval_question

ROOT = Path(__file__).parent.parent
SIZES = (0, 100, 1_000, 10_000)  # stored items
AT_ONCE = (1, 10, 100)  # conversations
ROUNDS, STARTS, WARM_UP = 27, 5, 0
SLOW = 0.2  # seconds; turns that take longer are timed in every ninth round only
OURS, BARE, SQLITE, W1 = "this program", "bare SDK", "SQLite", "w=1"
ALICE, TODAY = CUSTOMERS[0], datetime.now(timezone.utc)
PROGRAMS = (OURS, BARE, SQLITE, W1)
MILLION, COPIES = 1_000_000, 2_000  # customers: reckoned for so many, measured on so many
PROMPT = "Email:"
STORED_IN = ("agent_messages", "agent_sessions", "conversations")

NO_ID = "0" * 24
ANSWER = "Your Halo Desk Lamp left us on Friday; its tracking number is TRK-7781002. " * 3
RETURN = {"order_id": "ORD-1001", "reason": "Not powerful enough"}
SAY = assistant_message(ANSWER, item_id=f"msg_{NO_ID}")


def call(letter: str, tool: str, **arguments: str) -> Any:
    return function_call(
        tool, arguments, call_id=f"call_{letter}{NO_ID}", item_id=f"fc_{letter}{NO_ID}"
    )


@dataclass(frozen=True, eq=False)  # two are the same only if they are one
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
    (call("a", "transfer_to_orders"), call("b", "initiate_return", **RETURN), SAY),
)
TURNS = {turn.message: turn for turn in (SIMPLE, HANDOFF, APPROVAL)}
MIX = (HANDOFF, SIMPLE, SIMPLE)  # what stored conversations consist of: ten items, again and again


class InstantModel(Model):
    """Answers as TURNS says, word by word and at once; unlike ScriptedModel it copies nothing."""

    def __init__(self) -> None:
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
        output = TURNS[item["content"]].outputs[calls]
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
    """Plays turns of one stored conversation, each from the message to its last event."""

    play: Callable[[Turn], Awaitable[None]]
    session: SessionABC
    db: Database


class Players:
    """Makes players: each program on its own database client, all on the same stored items."""

    def __init__(self, clients: dict[str, AsyncMongoClient[Document]], folder: Path) -> None:
        self._clients = clients
        self._file = folder / "sessions.db"
        self._model = InstantModel()

    async def open(
        self,
        program: str,
        session_id: str,
        *,
        database: str = "benchmark",
        model: Model | None = None,
    ) -> Player:
        db, model = self._clients[program][database], model or self._model
        agent, run_config = build_agents(), RunConfig(model=model)
        context = SupportContext(db, ALICE["_id"], ALICE["name"], ALICE["tier"])
        session: SessionABC = SQLiteSession(session_id, self._file)
        if program != SQLITE:
            session = MongoDBSession(session_id, client=db.client, database=database)
        await session.get_items(1)  # the first call creates the indexes

        async def bare(turn: Turn) -> None:
            """As the SDK's documentation has it: the whole history, no lease, no stored state."""
            message: Any = turn.message
            while message:
                result = Runner.run_streamed(
                    agent, message, context=context, session=session, run_config=run_config
                )
                async for _ in result.stream_events():
                    pass
                message = result.to_state() if result.interruptions else None
                for approval in result.interruptions:
                    message.approve(approval)

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
        session = (await players.open(W1, f"items_{size}")).session
        stored = turns = 0
        while stored < size:
            for batch in batches:
                turns += '"user"' in batch[0]
                items = [json.loads(item.replace(NO_ID, f"{turns:024}")) for item in batch]
                await session.add_items(items)
                stored += len(items)
        sqlite = (await players.open(SQLITE, f"items_{size}")).session
        await sqlite.add_items(await session.get_items())


class Cell(NamedTuple):
    """What is timed: who plays which turn on how many stored items."""

    program: str
    turn: Turn
    size: int


async def take_back(player: Player, turn: Turn) -> None:
    """As if it had not been played: the next turn finds as many items, and the same shop."""
    for _ in range(2 * len(turn.outputs)):  # a message and its answer, calls and their outputs
        await player.session.pop_item()
    if turn is not SIMPLE:
        await player.db.conversations.update_many({}, {"$unset": {"active_agent": ""}})
    if turn is APPROVAL:
        for order in orders(TODAY):
            await player.db.orders.replace_one({"_id": order["_id"]}, order)


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
            for turn in TURNS.values():
                before = counter.commands
                await player.play(turn)
                commands[Cell(program, turn, size)] = counter.commands - before
                await take_back(player, turn)
    return commands


Row = list[Any]
Times = dict[Cell, dict[int, float]]  # seconds, by number of the round


async def time_turns(players: Players) -> Times:
    """Play the cells in turn: simple turns in every round, others in every third or ninth."""
    cells = [Cell(*c) for c in product(PROGRAMS, TURNS.values(), SIZES)]
    opened = {(c.program, c.size): await players.open(c.program, f"items_{c.size}") for c in cells}
    times: Times = {cell: {} for cell in cells}
    for number in range(ROUNDS + 1):
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
    for seconds in times.values():
        del seconds[WARM_UP]
    return times


async def time_many(players: Players, repeats: int) -> dict[tuple[str, int], list[float]]:
    """Turns a second: one simple turn in each of many conversations, so many at once."""
    programs, many = (OURS, BARE), range(max(AT_ONCE))
    opened = {p: [await players.open(p, f"{p} {n}") for n in many] for p in programs}
    speeds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _, at_once, program in product(range(repeats), AT_ONCE, programs):
        waiting = list(opened[program])

        async def work(waiting: list[Player] = waiting) -> None:
            while waiting:
                await waiting.pop().play(SIMPLE)

        gc.collect()
        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        speeds[program, at_once].append(len(many) / (time.perf_counter() - started))
    return speeds


async def bytes_to_model(players: Players) -> list[Row]:
    """The size of the HTTP request of a simple turn, with instructions and tools."""
    rows: list[Row] = []
    with ModelServer(lambda _: say(ANSWER)) as server:
        openai = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        model = OpenAIResponsesModel("any", openai)
        for size in SIZES:
            sent = []
            for program in (OURS, BARE):
                player = await players.open(program, f"items_{size}", model=model)
                await player.play(SIMPLE)
                await take_back(player, SIMPLE)
                sent.append(len(json.dumps(server.requests[-1], separators=(",", ":"))))
            rows.append([f"{size:,}", *(f"{n:,}" for n in sent)])
        assert not server.violations, server.violations
    return rows


async def stored(db: Database, *collections: str) -> tuple[int, int, int]:
    """Documents, their bytes uncompressed, and the bytes of the indexes."""
    await db.client.admin.command("fsync")  # index files are measured as of the last checkpoint
    stats = [await db.command("collStats", name) for name in collections]
    return (
        sum(s["count"] for s in stats),
        sum(s["size"] for s in stats),
        sum(s["totalIndexSize"] for s in stats),
    )


async def storage(players: Players) -> list[Row]:
    """Documents and bytes of each kind of turn, and what they come to for a million customers."""
    alice = await players.open(OURS, "support_alice_at_example_com", database="storage")
    await seed(alice.db, TODAY)
    await alice.play(SIMPLE)
    rows: list[Row] = []
    for turn in TURNS.values():
        before = await stored(alice.db, "agent_messages")
        await alice.play(turn)
        after = await stored(alice.db, "agent_messages")
        rows.append([f"a turn: {turn.name}", after[0] - before[0], after[1] - before[1], ""])
    once = await stored(alice.db, "agent_sessions", "conversations")
    rows.append(["a conversation, whatever its length", *once[:2], ""])

    # Indexes are pages: their size shows on many conversations only.
    copies = (await players.open(OURS, "nobody", database="copies")).db
    for name, key in (*product(STORED_IN[:2], ["session_id"]), (STORED_IN[2], "_id")):
        documents = await alice.db[name].find().to_list()
        for document in documents:
            del document["_id"]
        await copies[name].insert_many(
            {**document, key: f"support_customer_{n}_at_example_com"}
            for n, document in product(range(COPIES), documents)
        )
    million = [figure * MILLION // COPIES for figure in await stored(copies, *STORED_IN)]
    rows.append([f"{MILLION:,} customers, each with {1 + len(TURNS)} such turns", *million])
    return [[what, *(f"{n:,}" if n else "" for n in figures)] for what, *figures in rows]


def until_prompt(command: Sequence[str], folder: Path, env: dict[str, str]) -> float:
    """Seconds from exec until the command has written PROMPT to its terminal."""
    ours, theirs = os.openpty()
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        seen = b""
        while PROMPT.encode() not in seen:
            seen += os.read(ours, 4096)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait()
        os.close(ours)


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
    figures = list(figures)
    low, middle, high = quantiles(figures, n=4, method="inclusive")
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def ratios(times: Times, cell: Cell, other: Cell) -> list[float]:
    """How much longer `cell` took than `other`, by round."""
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


def time_table(times: Times, commands: dict[Cell, int]) -> None:
    rows = []
    for turn, size in product(TURNS.values(), SIZES):
        ours, bare, *_ = cells = [Cell(program, turn, size) for program in PROGRAMS]
        ms = [f"{1000 * median(times[cell].values()):,.1f}" for cell in cells]
        over = [spread(ratios(times, ours, other)) for other in cells[1:3]]
        rows.append([turn.name, f"{size:,}", *ms, *over, f"{commands[ours]} / {commands[bare]}"])
    over = [f"÷ {program}" for program in PROGRAMS[1:3]]
    table("A turn, in ms", ["turn", "items stored", *PROGRAMS, *over, "commands"], rows)
    print(
        f"\n{BARE}: Runner.run_streamed on a MongoDBSession, all of the history, the same client;\n"
        f"{W1}: on a client with default options; {SQLITE}: on a SQLiteSession in a file.\n"
        f"Commands are MongoDB's: {OURS} / {BARE}."
    )


async def in_process(uri: str, folder: Path) -> list[Target]:
    async with await connect(uri) as client, AsyncMongoClient(uri, tz_aware=True) as w1:
        players = Players({OURS: client, BARE: client, W1: w1, SQLITE: client}, folder)
        await fill(players)
        gc.freeze()  # what was imported is not looked through before every turn
        commands = await count_commands(uri, folder)
        times = await time_turns(players)
        time_table(times, commands)
        speeds = await time_many(players, 3)
        rows = [[n, *(spread(speeds[p, n], 0) for p in (OURS, BARE))] for n in AT_ONCE]
        table("Simple turns a second, in one process", ["at once", OURS, BARE], rows)
        rows = await bytes_to_model(players)
        table("Bytes to the model, in a simple turn", ["items stored", OURS, BARE], rows)
        rows = await storage(players)
        table("Stored in MongoDB", ["", "documents", "bytes", "bytes of indexes"], rows)
    hundred, most = (Cell(OURS, SIMPLE, size) for size in (100, max(SIZES)))
    bare = hundred._replace(program=BARE)
    targets = [
        Target("simple turn at 100 items ÷ bare SDK's", ratios(times, hundred, bare), 1.3),
        Target("simple turn at 10,000 items ÷ at 100", ratios(times, most, hundred), 1.2),
    ]
    for turn, limit in ((SIMPLE, 9), (HANDOFF, 14)):
        worst = max(commands[Cell(OURS, turn, size)] for size in SIZES)
        targets.append(Target(f"commands of a turn: {turn.name}", [worst], limit))
    return targets


class Target(NamedTuple):
    """What the benchmark must show: the median of `measured` is at most `most`."""

    what: str
    measured: list[float]
    most: float


def processes(uri: str, folder: Path) -> list[Target]:
    """Start main.py and plain imports in turn, with warm page caches."""
    asyncio.run(seed_shop(uri))
    env = {**os.environ, "MONGODB_URI": uri, "TERM": "xterm"}
    python, main = sys.executable, [sys.executable, str(ROOT / "main.py"), "--offline"]
    imports = "import agents, pymongo, rich, prompt_toolkit"
    question = ["--email", ALICE["email"], "Where is my lamp?"]
    found: list[tuple[float, ...]] = []
    for _ in range(STARTS + 1):
        found.append(
            (
                until_prompt(main, folder, env),
                until_prompt([python, "-c", f"import agents; input({PROMPT!r})"], folder, env),
                peak_memory([*main, *question], folder, env),
                peak_memory([python, "-c", imports], folder, env),
            )
        )
    found = found[1:]  # the first one only warms up
    names = [
        "seconds from exec to the first prompt",
        "seconds from exec to the end of `import agents`",
        "MB at most, for an offline turn",
        f"MB at most, for `{imports}`",
    ]
    rows = [
        [name, spread((run[i] for run in found), 2 if i < 2 else 0)] for i, name in enumerate(names)
    ]
    table("A process", ["", "median"], rows)
    return [
        Target("first prompt ÷ import agents", [run[0] / run[1] for run in found], 0.2),
        Target("peak memory ÷ imports alone", [run[2] / run[3] for run in found], 1.2),
    ]


async def seed_shop(uri: str) -> None:
    async with await connect(uri) as client:
        await seed(client[DB_NAME], TODAY)


def main() -> int:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "MONGODB_"))]:
        del os.environ[name]
    set_tracing_disabled(True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("openai-agents", "pymongo"))
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as name, temporary_mongod() as mongod:
        folder = Path(name)
        targets = processes(mongod.uri, folder)
        targets += asyncio.run(in_process(mongod.uri, folder))
    rows = [
        [
            *(target.what, f"≤ {target.most}"),
            spread(target.measured) if len(target.measured) > 1 else target.measured[0],
            "met" if median(target.measured) <= target.most else "MISSED",
        ]
        for target in targets
    ]
    table("Targets", ["", "target", "measured", ""], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
