"""A random history: terminals in processes of their own, and all that may happen to them.

They ask, decide, retry, forget and quit; they are stopped by Ctrl-C, killed, frozen; their links to
mongod stall or break. A seed decides what happens; how fast depends on the machine. At
the end the promises are checked; `told` then says what was done.

A standalone mongod cannot refuse a step that a stalled link held back while another terminal took
over. There it may stand twice, in another's turn, or behind a reset: `late` says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
import time
import uuid
from collections.abc import AsyncIterator

from pymongo import AsyncMongoClient, timeout
from pymongo.errors import PyMongoError

from database import Document
from engine.options import Limits
from tests import promises
from tests.customer import ORDERS, Clerk, Terminal, names_in, open_shop
from tests.player import LEASE_SECONDS, Player
from tests.promises import Deed
from tests.proxy import Link

DEEDS, SECONDS = 30, 20.0  # of one history, at most
PATIENCE = 15.0  # seconds for all that is under way to end
now = time.perf_counter


class History:
    """What happens, in order, and the deeds that the promises are checked on."""

    def __init__(self, client: AsyncMongoClient[Document], players: list[Player], seed: int):
        self.random = random.Random(seed)
        self.players = players
        self.deeds: list[Deed] = []
        self.told: list[str] = []  # for whoever has to understand a broken promise
        self.broken: list[str] = []
        self.held_back: set[str] = set()  # questions, by their names, with a step that a link held
        self.late: list[str] = []
        self.client, self._began, self._asked = client, now(), 0
        self._about: dict[str, str] = {}  # order: the question that named it

    def tell(self, player: Player, what: str) -> None:
        self.told.append(f"{now() - self._began:7.3f} {player.name} {what}")

    async def go_on(self, deeds: int, seconds: float) -> None:
        end = now() + seconds
        while len(self.deeds) < deeds and now() < end:
            await asyncio.sleep(self.random.uniform(0, 0.06))
            self.hear()
            await self.move(self.random.choice(self.players))
        await self.calm_down()

    async def move(self, player: Player) -> None:
        if player.process is None:
            self.tell(player, "starts")
            player.start()
        elif player.trouble_ends:
            if now() > player.trouble_ends:
                self.recover(player)
        elif self.random.random() < (0.02 if player.idle else 0.08):
            await self.harm(player)
        elif player.idle:
            await self.act(player)

    async def act(self, player: Player) -> None:
        """The customer does something."""
        choices = ["turn"] * 12 + ["reset", "quit"]
        if player.approval:
            choices = ["yes"] * 5 + ["no"] * 4 + ["turn"] * 2 + ["quit"]
        elif player.last and player.last.pending and player.last.outcome.result == "open":
            choices = ["resume"]
        elif player.last and player.last.unanswered:
            choices += ["retry"] * 10
        what = self.random.choice(choices)
        if what == "quit":
            self.tell(player, "quits")
            player.send("quit")
            await asyncio.to_thread(player.process.join, PATIENCE)
            await player.end()
        else:
            self.begin(player, what)

    def begin(self, player: Player, what: str) -> None:
        deed = Deed(player.name, what, "", now())
        text = ""
        if what in ("yes", "no"):
            deed.approval, player.approval = player.approval, ""
            deed.about = player.about
        elif what == "retry" and player.last:
            deed.about = names_in(player.last.unanswered or "")[-1]
        elif what == "turn":
            self._asked += 1
            deed.about = f"{player.name}{self._asked}"
            order = ORDERS[self._asked % len(ORDERS)]  # one for each question, to find it by
            self._about[order] = deed.about
            words = self.random.choice(["hello", f"look at {order}", *[f"return {order}"] * 2])
            text = f"{words} [{deed.about}]"
        player.approval, player.deed = "", deed
        self.deeds.append(deed)
        self.tell(player, f"{what} {text or deed.about}".rstrip())
        failing, slow = self.random.random() < 0.1, self.random.choice([0.0, 0.0, 0.05, 0.3])
        player.send(what, text, failing, slow)

    def hear(self) -> None:
        for player in self.players:
            if (report := player.heard()) is None:
                continue
            outcome = report.outcome
            self.tell(player, f"  -> {outcome.result} {outcome.told}")
            self.broken += [f"model: {refused}" for refused in report.refused]
            if outcome.result == "raised":
                self.broken.append(f"raised: {outcome.told}")
            if outcome.result == "unreachable":
                player.process = None
            if deed := player.deed:
                deed.ended, deed.result, deed.told = now(), outcome.result, outcome.told
                player.deed = None
                if outcome.approval:  # it may be of an earlier turn
                    player.approval = deed.approval = outcome.approval.id
                    (order,) = re.findall(r"ORD-\d+", outcome.approval.question)
                    player.about = self._about[order]

    async def harm(self, player: Player) -> None:
        kind = self.random.choice(["stop", "kill", "cut", *["freeze", "stall"] * 2])
        self.tell(player, kind)
        if kind == "stop":
            player.send("stop") if player.last else None
        elif kind == "kill":
            await self.kill(player)
        elif kind == "cut":
            player.link.cut()
        else:
            player.trouble_ends = now() + LEASE_SECONDS * self.random.uniform(0.2, 2.5)
            player.signal(signal.SIGSTOP) if kind == "freeze" else player.link.stall()

    async def kill(self, player: Player) -> None:
        await player.end()
        if player.deed:
            # What it sent may still be on its way, and arrive under the lease that it had.
            player.deed.ended = now() + LEASE_SECONDS
            player.deed = None

    def recover(self, player: Player) -> None:
        held = player.link.held
        self.tell(player, f"recovers {', '.join(held)}".rstrip())
        if "insert agent_messages" in held:  # not of a transaction
            self.held_back.add([deed.about for deed in self.deeds if deed.who == player.name][-1])
        player.trouble_ends = 0.0
        player.link.release()
        player.signal(signal.SIGCONT)

    async def calm_down(self) -> None:
        for player in self.players:
            if player.trouble_ends:
                self.recover(player)
        end = now() + PATIENCE
        while any(player.deed for player in self.players) and now() < end:
            await asyncio.sleep(0.02)
            self.hear()
        for player in self.players:
            if player.deed:
                self.broken.append(f"blocked: {player.name}'s {player.deed.what} did not end")
            await self.kill(player)
        await asyncio.sleep(LEASE_SECONDS)  # for what the killed ones had sent to arrive

    def part_late(self) -> None:
        """What such a step does to its own question is no broken promise."""
        for name in self.held_back:
            for problem in [*self.broken]:
                if re.match(rf"(doubled|order|forgotten): .*(\b|_){name}(\b|_)", problem):
                    self.broken.remove(problem)
                    self.late.append(f"late: {problem}")


async def play(client: AsyncMongoClient[Document], port: int, seed: int) -> History:
    """One history, from its seed; `broken` tells what went wrong."""
    database = f"history_{uuid.uuid4().hex}"
    db = client[database]
    await open_shop(db)
    async with contextlib.AsyncExitStack() as links:
        names = "ABC"[: 2 + seed % 2]
        players = [
            Player(name, await links.enter_async_context(Link(port)), database) for name in names
        ]
        history = History(client, players, seed)
        try:
            await history.go_on(DEEDS, SECONDS)
        finally:
            for player in players:
                await player.end()
    stored = await promises.read(db)
    history.broken += promises.structure(stored)
    history.broken += promises.acknowledged(stored, history.deeds)
    history.broken += [problem async for problem in _next_turn(history, database)]
    # What a killed terminal left open is ended by whoever comes next.
    history.broken += await promises.left_open(db)
    stored = await promises.read(db)
    history.broken += promises.structure(stored)
    orders = await db.orders.find().to_list()
    history.broken += promises.returns(stored, history.deeds, orders)
    history.part_late()
    # A transaction that is still open would lock the database for a minute.
    sessions = [session for player in players for session in player.link.sessions]
    with contextlib.suppress(PyMongoError), timeout(3):
        await client.admin.command("killSessions", sessions)
        await client.drop_database(database)
    return history


async def _next_turn(history: History, database: str) -> AsyncIterator[str]:
    """Somebody logs in afterwards: what was asked is still asked, and a turn is answered."""
    patient = Limits(lease_seconds=5.0)  # this turn must work on a busy machine too
    last = Terminal(history.client, database, Clerk(), patient)
    await last.open()
    resumed = await last.do("resume")
    final = max(history.deeds, key=lambda deed: deed.ended, default=None)
    if final and final.result == "asked":
        alone = all(deed.ended < final.began for deed in history.deeds if deed is not final)
        if alone and (resumed.approval is None or resumed.approval.id != final.approval):
            yield f"lost: the question on {final.about} is no longer asked"
    if last.approval:
        await last.do("no")
    done = await last.do("turn", "hello [Z1]")
    while last.approval:
        done = await last.do("no")
    if "Answer to [Z1]." not in done.told:
        yield f"next: {done.result}: {done.told}"
    for refused in last.clerk.refused:
        yield f"model: {refused}"
