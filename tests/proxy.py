"""A link to mongod that a test can cut, or stall: at once, or at an exact command.

It reads MongoDB's wire protocol far enough to name each command. While it is stalled nothing
passes, in either direction, on any connection: as on a dead network, or for a stopped process.
What was sent stays in the link, and arrives when the stall is over, also if the sender has given
up by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import Any, Literal

import bson

from tests.servers import uri

OP_MSG = 2013  # what every command and every reply is, after the first handshake
UNCOUNTED = {"hello", "ismaster", "isMaster", "ping", "endSessions"}  # the driver's own
Side = Literal["before", "after"]  # before mongod has the command; after, before its reply is heard


class Link:
    """One client's way to mongod; the client connects to `uri`."""

    def __init__(self, mongod_port: int) -> None:
        self.uri = ""
        self.commands: list[str] = []  # since the last `hold_at`, such as `insert agent_messages`
        self.held: list[str] = []  # the commands that a stall holds back
        self.sessions: list[dict[str, Any]] = []  # the server sessions that were used
        self.stalled = asyncio.Event()
        self.delivered = asyncio.Event()  # set once the client has the reply to the held command
        self._mongod_port = mongod_port
        self._open = asyncio.Event()
        self._open.set()
        self._number: int | None = None
        self._label: str | None = None
        self._side: Side = "before"
        self._request: int | None = None  # of the command that is held, on the wire
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Link:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.uri = uri(port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        self.cut()

    def hold_at(self, number: int | None, side: Side = "before") -> None:
        """Stall at the command with this number, counted from 0 and from now; None: only count."""
        self.commands.clear()
        self._number, self._label, self._side, self._request = number, None, side, None
        self.stalled.clear()
        self.delivered.clear()

    def hold_when(self, label: str, side: Side = "before") -> None:
        """Stall at the next command with this label."""
        self.hold_at(None, side)
        self._label = label

    def stall(self) -> None:
        self._open.clear()
        self.stalled.set()

    def release(self) -> None:
        self.held.clear()
        self._open.set()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            if transport := writer.transport:
                transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection("127.0.0.1", self._mongod_port)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far[1]}
        for pump in (
            asyncio.create_task(self._pump(reader, far[1], self._asked, self._sent)),
            asyncio.create_task(self._pump(far[0], writer, self._answered, self._heard)),
        ):
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        before: Callable[[bytes], None],
        after: Callable[[bytes], None],
    ) -> None:
        """Pass whole messages on, in their order, for as long as the link is not stalled."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await source.readexactly(16)
                message = head + await source.readexactly(struct.unpack("<i", head[:4])[0] - 16)
                before(message)
                await self._open.wait()
                target.write(message)
                await target.drain()
                after(message)
        await self._open.wait()  # the end of a connection does not pass a stalled link either
        self._writers.discard(target)
        with contextlib.suppress(OSError):
            target.close()

    def _asked(self, message: bytes) -> None:
        command = _command(message)
        if command is None:
            return
        if (session := command.get("lsid")) and session not in self.sessions:
            self.sessions.append(session)
        label = _label(command)
        if len(self.commands) == self._number or label.removesuffix(" (txn)") == self._label:
            self._number = self._label = None
            (self._request,) = struct.unpack("<i", message[4:8])
            if self._side == "before":
                self.stall()
        self.commands.append(label)
        if not self._open.is_set():
            self.held.append(label)

    def _sent(self, message: bytes) -> None:
        """Nothing to note: the reply tells that mongod has done it."""

    def _answered(self, message: bytes) -> None:
        if self._side == "after" and self._replies(message):
            self.stall()

    def _heard(self, message: bytes) -> None:
        if self._replies(message):
            self.delivered.set()

    def _replies(self, message: bytes) -> bool:
        (answered,) = struct.unpack("<i", message[8:12])
        return self._request is not None and answered == self._request


def _command(message: bytes) -> dict[str, Any] | None:
    """The command in a message to mongod; None for what the driver sends for itself."""
    if struct.unpack("<i", message[12:16])[0] != OP_MSG:
        return None
    size = struct.unpack("<i", message[21:25])[0]  # behind the flags and the kind of section
    command: dict[str, Any] = bson.decode(message[21 : 21 + size])
    return None if next(iter(command)) in UNCOUNTED else command


def _label(command: dict[str, Any]) -> str:
    name, target = next(iter(command.items()))
    words = [name] + [target] * isinstance(target, str) + ["(txn)"] * ("autocommit" in command)
    return " ".join(words)
