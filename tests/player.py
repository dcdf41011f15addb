"""A terminal in a process of its own, which does what it is told over a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from agents import set_tracing_disabled
from pymongo.errors import PyMongoError

from database import DatabaseUnavailable, connect
from engine.options import Limits
from tests.customer import Clerk, Outcome, Terminal
from tests.processes import new_process
from tests.promises import Deed
from tests.proxy import Link

LEASE_SECONDS = 0.5  # on a busy machine some run out, and that must do no harm either


class Report(NamedTuple):
    """What a terminal's process tells after each thing that it did."""

    outcome: Outcome
    unanswered: str | None
    pending: bool  # when it was opened
    refused: list[str]


def terminal_process(connection: Connection, uri: str, database: str, lease: float) -> None:
    set_tracing_disabled(True)
    with contextlib.suppress(EOFError, BrokenPipeError):
        asyncio.run(_serve(connection, uri, database, Limits(lease_seconds=lease)))


async def _serve(connection: Connection, uri: str, database: str, limits: Limits) -> None:
    clerk = Clerk()

    async def do(what: str, text: str) -> None:
        try:
            outcome = await terminal.do(what, text)
        except Exception as error:
            outcome = Outcome("raised", f"{type(error).__name__}: {error}")
        report(outcome)

    def report(outcome: Outcome) -> None:
        conversation = terminal.conversation
        unanswered, pending = conversation.unanswered, conversation.opened.pending
        connection.send(Report(outcome, unanswered, pending, clerk.refused))

    try:
        client = await connect(uri)
        terminal = Terminal(client, database, clerk, limits)
        await terminal.open()
    except (DatabaseUnavailable, PyMongoError) as error:
        connection.send(Report(Outcome("unreachable", str(error)), None, False, []))
        return
    report(Outcome("open"))
    running: set[asyncio.Task[None]] = set()
    while True:
        what, text, clerk.failing, clerk.seconds = await asyncio.to_thread(connection.recv)
        if what == "quit":
            break
        if what == "stop":
            terminal.conversation.stop()
        else:
            task = asyncio.create_task(do(what, text))
            running.add(task)
            task.add_done_callback(running.discard)
    await client.close()


class Player:
    """One customer's seat: a process, or none, and the link that it uses."""

    def __init__(self, name: str, link: Link, database: str) -> None:
        self.name, self.link, self._database = name, link, database
        self.deed: Deed | None = None  # under way
        self.last: Report | None = None  # None until the process is ready
        self.approval, self.about = "", ""  # what is open to decide, and whose question it is
        self.trouble_ends = 0.0  # when it is woken, or its link released
        self.process: Any = None
        self._connection: Connection

    @property
    def idle(self) -> bool:
        return bool(self.last) and self.deed is None

    def start(self) -> None:
        self._connection, theirs = Pipe()
        self.last, self.deed, self.approval = None, None, ""
        arguments = (theirs, self.link.uri, self._database, LEASE_SECONDS)
        self.process = new_process(terminal_process, *arguments)
        theirs.close()

    def send(self, what: str, text: str = "", failing: bool = False, seconds: float = 0.0) -> None:
        self._connection.send((what, text, failing, seconds))

    def heard(self) -> Report | None:
        with contextlib.suppress(EOFError, OSError):
            if self.process and self._connection.poll():
                self.last = self._connection.recv()
                return self.last
        return None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    async def end(self) -> None:
        if self.process:
            self.process.kill()
            await asyncio.to_thread(self.process.join)
            self._connection.close()
            self.process = None
