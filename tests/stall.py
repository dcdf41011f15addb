"""One stall: a terminal stands still at one command, another takes over, the first goes on.

Terminal A has a thread and an event loop of its own and reaches mongod over a `Link`. B has no
link, and nothing stalls it. A case names what A does, at which of its commands it stalls, on which
side, how, and what B does meanwhile; `run` returns the promises that were broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient, timeout
from pymongo.errors import PyMongoError

from database import Document, connect
from engine.options import Limits
from tests import promises
from tests.customer import ORDERS, Clerk, Outcome, Terminal, names_in, open_shop
from tests.promises import Deed, Stored
from tests.proxy import Link, Side
from tests.sleeper import Sleeper

Client = AsyncMongoClient[Document]
OPERATIONS = ("turn", "ask", "yes", "no", "retry", "reset", "retention", "slow", "cold")
OTHERS = ("turn", "reset", "no", "yes", "retry")  # what B does
PATIENCE = 6.0  # seconds beyond the lease: far more than anything here takes
now = time.perf_counter


@dataclass(frozen=True)
class Case:
    operation: str
    number: int  # of the command, from 0
    side: Side
    other: str
    kind: str  # link: A runs on; stopped: it does not; asleep: nor does its monotonic clock


@dataclass
class Verdict:
    case: Case
    command: str = ""
    broken: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)  # A's commands that the stall held back
    skipped: bool = False  # A needed fewer commands, or B had nothing to decide or to retry


class NotReached(Exception):
    """A did not come to the command at which it was to stall."""


class Stall:
    """Everything of one case: two terminals, the link between A and mongod, what was done."""

    def __init__(self, direct: Client, link: Link, sleeper: Sleeper, lease: float) -> None:
        self.link, self.sleeper, self.clerk = link, sleeper, Clerk()
        self.direct, self.db = direct, direct[f"stall_{uuid.uuid4().hex}"]
        self.lease = lease  # seconds
        self.deeds: list[Deed] = []
        self.a: Terminal
        self._a_client: Client

    async def connect(self) -> None:
        self._a_client = await self.sleeper.run(connect(self.link.uri))
        self.a = self.terminal(self._a_client)

    def terminal(self, client: Client) -> Terminal:
        limits = Limits(lease_seconds=self.lease)
        return Terminal(client, self.db.name, self.clerk, limits)

    async def close(self) -> None:
        await self.sleeper.run(self._a_client.close())
        # A transaction that is still open would lock the database for a minute.
        with contextlib.suppress(PyMongoError), timeout(3):
            await self.direct.admin.command("killSessions", self.link.sessions)
            await self.direct.drop_database(self.db.name)

    async def prepare(self, operation: str) -> Coroutine[Any, Any, Deed]:
        """Do all that comes before the operation; returns the operation, not yet begun."""
        if operation == "cold":
            return self._cold()
        await self.as_a("open")
        await self._expect("answered", "hello [S1]")
        if operation in ("yes", "no"):
            await self._expect("asked", f"return {ORDERS[0]} [S2]")
            return self.as_a(operation)
        if operation == "retry":
            self.clerk.failing = True
            await self._expect("failed", f"look at {ORDERS[0]} [S2]")
            self.clerk.failing = False
        if operation in ("retry", "reset", "retention"):
            return self.as_a(operation)
        if operation == "slow":  # long enough for the lease to be renewed
            self.clerk.seconds = self.lease * 0.45
        words = {"ask": "return", "slow": "hello at", "turn": "look at"}[operation]
        return self.as_a("turn", f"{words} {ORDERS[0]} [A1]")

    async def _expect(self, result: str, text: str) -> None:
        deed = await self.as_a("turn", text)
        if deed.result != result:
            raise NotReached(f"{text}: {deed.result} {deed.told}")

    async def _cold(self) -> Deed:
        await self.as_a("open")
        return await self.as_a("turn", f"look at {ORDERS[0]} [A1]")

    async def as_a(self, what: str, text: str = "") -> Deed:
        if what == "open":
            await self.sleeper.run(self.a.open())
            return Deed("A", what, "", now())
        return await self.record("A", self.a, what, text)

    async def record(self, who: str, terminal: Terminal, what: str, text: str = "") -> Deed:
        approval = terminal.approval
        deed = Deed(who, what, "", now())
        if what in ("yes", "no") and approval:
            deed.approval = approval.id
            deed.about = self._name_of(approval.id)
        elif what == "retry":
            deed.about = names_in(terminal.conversation.unanswered or "")[-1]
        elif text:
            (deed.about,) = names_in(text)
        self.deeds.append(deed)
        work = terminal.do(what, text)
        outcome: Outcome = await (self.sleeper.run(work) if who == "A" else work)
        deed.ended, deed.result, deed.told = now(), outcome.result, outcome.told
        if outcome.approval:
            deed.approval = outcome.approval.id
        if what == "resume":
            deed.about = self._name_of(deed.approval)
        return deed

    def _name_of(self, approval: str) -> str:
        """The name of the approval's question. Only A asks for what needs an approval."""
        named = [deed for deed in self.deeds if deed.about]
        of_a = [deed.about for deed in named if deed.who == "A"]
        return next((deed.about for deed in named if deed.approval == approval), of_a[-1])

    async def transactions(self) -> bool:
        return "setName" in await self.direct.admin.command("hello")

    async def stored(self) -> Stored:
        return await promises.read(self.db)

    async def patiently(self, who: str, work: Any, broken: list[str]) -> Any:
        """The result of `work`. If it raises or does not end: None, and a broken promise."""
        try:
            return await asyncio.wait_for(work, self.lease + PATIENCE)
        except asyncio.TimeoutError:
            broken.append(f"blocked: {who} did not end")
        except Exception as error:
            broken.append(f"raised: {who} got {type(error).__name__}: {error}")
        return None

    async def b(self, other: str) -> AsyncIterator[Deed]:
        """B logs in and does `other`. Yields nothing if there is nothing to decide or to retry."""
        b = self.terminal(self.direct)
        await b.open()
        if other in ("yes", "no"):
            if b.conversation.opened.pending:
                yield await self.record("B", b, "resume")
                if b.approval:
                    yield await self.record("B", b, other)
        elif other == "reset":
            yield await self.record("B", b, other)
        elif other == "turn" or b.conversation.unanswered:
            yield await self.record("B", b, other, "hello [B1]" * (other == "turn"))
            if b.approval:
                yield await self.record("B", b, "no")


async def dry_run(direct: Client, operation: str, lease: float) -> list[str]:
    """The commands of one operation, in their order."""
    async with _stage(direct, lease) as stall:
        work = await stall.prepare(operation)
        stall.link.hold_at(None)
        await work
        return list(stall.link.commands)


async def run(direct: Client, case: Case, lease: float, tries: int = 3) -> Verdict:
    """`direct` is a client without a link, for B and for what is checked."""
    verdict = Verdict(case)
    try:
        async with _stage(direct, lease) as stall:
            await _play(stall, case, verdict)
    except (NotReached, PyMongoError) as error:  # a busy machine was too slow for it
        if tries > 1:
            return await run(direct, case, lease, tries - 1)
        verdict.broken.append(f"error: {error!r}")
    return verdict


@contextlib.asynccontextmanager
async def _stage(direct: Client, lease: float) -> AsyncIterator[Stall]:
    sleeper = Sleeper()
    _, port = await direct.address or ("", 0)
    async with Link(port) as link:
        stall = Stall(direct, link, sleeper, lease)
        await open_shop(stall.db)
        await stall.connect()
        try:
            yield stall
        finally:
            link.hold_at(None)
            link.release()
            sleeper.wake()
            await stall.close()
            await sleeper.end()


async def _play(stall: Stall, case: Case, verdict: Verdict) -> None:
    broken = verdict.broken
    work = await stall.prepare(case.operation)
    stall.link.hold_at(case.number, case.side)
    operation = asyncio.create_task(work)
    reached = asyncio.create_task(stall.link.stalled.wait())
    await asyncio.wait({operation, reached}, return_when="FIRST_COMPLETED", timeout=PATIENCE)
    reached.cancel()
    if not stall.link.stalled.is_set():
        if operation.done() and (await operation).acknowledged:
            verdict.skipped = True  # this time it needed fewer: the lease was renewed less often
            return
        raise NotReached(f"not stalled, after {len(stall.link.commands)} commands")
    verdict.command = stall.link.commands[case.number]
    stall.sleeper.stop(case.kind)
    stalled = now()
    before = await stall.stored()

    if (
        case.operation == "yes"
        and await stall.transactions()
        and before.pending == bool(before.returns)
    ):
        broken.append("both or neither: the question is open, and the return made, or neither")
    others = await stall.patiently("B", _all(stall.b(case.other)), broken)
    verdict.skipped = others == []
    taken_over = await stall.stored()
    for deed in others or []:
        if not (deed.acknowledged or deed.result == "asked"):
            broken.append(f"taking over: B's {deed.what} {deed.result}: {deed.told}")

    verdict.held = list(stall.link.held)
    stall.link.release()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stall.link.delivered.wait(), 0.2)
    stall.sleeper.wake()
    mine = await stall.patiently("A", operation, broken)
    if verdict.skipped:
        return
    # If A took the lease after the stall, what it then did is a turn of its own.
    anew = "findAndModify conversations" in stall.link.commands[case.number + 1 :]
    held = before.held and not anew
    if held and mine:
        mine.ended = min(mine.ended, stalled)  # B took the lease: nothing of A's may come later
    after = await stall.stored()
    broken += _judge(stall, held, taken_over, after)
    broken += await _go_on(stall)
    broken += [f"model: {refused}" for refused in stall.clerk.refused]


async def _all(deeds: AsyncIterator[Deed]) -> list[Deed]:
    return [deed async for deed in deeds]


def _judge(stall: Stall, held: bool, taken_over: Stored, after: Stored) -> Iterator[str]:
    if held and taken_over.lasting() != after.lasting():
        yield f"late: {_difference(taken_over, after)}"
    if not taken_over.pending and after.returns != taken_over.returns:
        yield "return: made after the question was closed"
    yield from promises.structure(after)
    yield from promises.acknowledged(after, stall.deeds)


def _difference(one: Stored, two: Stored) -> str:
    names = ("agent_messages", "agent_sessions", "conversations", "orders")
    pairs = zip(names, one.lasting(), two.lasting(), strict=True)
    return "written to " + ", ".join(name for name, was, is_ in pairs if was != is_)


async def _go_on(stall: Stall) -> list[str]:
    """Both terminals go on, and a new one logs in: nobody notices that anything was wrong."""
    broken: list[str] = []
    if stall.a.conversation.unanswered is not None:
        await stall.patiently("A's retry", stall.as_a("retry"), broken)
        if stall.a.approval:
            await stall.patiently("A's no", stall.as_a("no"), broken)
    later = stall.terminal(stall.direct)
    turns = [(stall.a, "A", "hello [A9]"), (later, "C", "hello [C1]")]
    for terminal, who, text in turns:
        if who == "C":
            await later.open()
        deed = await stall.patiently(who, stall.record(who, terminal, "turn", text), broken)
        if terminal.approval:
            await stall.patiently(who, stall.record(who, terminal, "no"), broken)
        elif deed and deed.result != "answered":
            broken.append(f"next: {who}'s next turn {deed.result}: {deed.told}")
    end = await stall.stored()
    broken += await promises.left_open(stall.db)
    broken += promises.structure(end)
    broken += promises.returns(end, stall.deeds, await stall.db.orders.find().to_list())
    said = [message.text for message in await later.conversation.transcript()]
    if not broken and said[-2:] != ["hello [C1]", "Answer to [C1]."]:
        broken.append(f"next: the conversation ends with {said[-2:]}")
    return broken
