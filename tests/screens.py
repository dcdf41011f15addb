"""A terminal for tests: what is to be read on its screen, and the keys that somebody presses."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import textwrap
from multiprocessing.reduction import DupFd
from typing import Any

import pexpect
import pexpect.fdpexpect
import pyte

from tests.processes import ROOT, new_process, on_terminal

TIMEOUT = 90  # seconds, for a machine that has much else to do


class Display(io.StringIO):
    """A terminal to write to, and what is to be read on it, scrolled-off lines included."""

    encoding = "utf-8"

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.raw = ""
        self._open(columns, rows)

    def _open(self, columns: int, rows: int) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self._screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._screen)

    def resize(self, columns: int, rows: int) -> None:
        """As most terminals do: a line that is too long for the new window is wrapped."""
        shown = self.lines[: len(self._screen.history.top) + self._screen.cursor.y + 1]
        self._open(columns, rows)
        self._stream.feed("\n".join(shown))

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.raw += text
        self._stream.feed(text)
        return len(text)

    @property
    def lines(self) -> list[str]:
        scrolled = [
            "".join(line[x].data for x in range(self._screen.columns))
            for line in self._screen.history.top
        ]
        return [line.rstrip() for line in [*scrolled, *self._screen.display]]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip("\n")


PROGRAM = """
import array, asyncio, fcntl, os, signal, sys, termios
from engine.events import *
from terminal.screen import Screen

async def stream(*events):
    for event in events:
        yield event
        await asyncio.sleep(0)

async def until_typed(count):
    waiting = array.array("i", [0])
    while waiting[0] < count:
        await asyncio.sleep(0.001)
        fcntl.ioctl(0, termios.FIONREAD, waiting)

async def main():
    screen = Screen()
"""
RUN = """
try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


def program_of(body: str) -> str:
    """A program that runs `body` in an event loop, with a `screen` and a way to stream events."""
    program = PROGRAM + textwrap.indent(textwrap.dedent(body), " " * 4) + RUN
    return program.encode("ascii", "backslashreplace").decode()


def script(body: str) -> list[str]:
    return [sys.executable, "-c", program_of(body)]


def environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    quiet = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    return kept | quiet | {"PYTHONPATH": str(ROOT)} | changes


class Fork(pexpect.fdpexpect.fdspawn):  # type: ignore[misc, name-defined, type-arg]
    """A Python program at a terminal, forked: a start costs 0.1 s instead of seconds."""

    def __init__(
        self,
        program: str,
        arguments: tuple[str, ...],
        env: dict[str, str],
        dimensions: tuple[int, int],
    ) -> None:
        ours, theirs = os.openpty()
        super().__init__(ours, encoding="utf-8", timeout=TIMEOUT)
        self.setwinsize(*dimensions)
        self._process = new_process(on_terminal, program, arguments, env, DupFd(theirs))
        os.close(theirs)
        self.exitstatus: int | None = None

    def setwinsize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.child_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def kill(self, sig: int) -> None:
        os.kill(self._process.pid, sig)

    def close(self, force: bool = False) -> None:
        super().close()
        if force:
            self._process.kill()
        self._process.join()
        self.exitstatus = self._process.exitcode


class Customer:
    """Somebody at a terminal: presses keys, waits for what is to come, reads the screen."""

    def __init__(self, child: Any, columns: int, rows: int) -> None:
        self.display = Display(columns, rows)
        self.child = child
        self.child.delaybeforesend = None
        self.child.logfile_read = self.display

    def press(self, keys: str) -> None:
        self.child.send(keys)

    def wait_for(self, text: str) -> None:
        self.child.expect_exact(text)

    def wait_for_prompt(self) -> None:
        self.wait_for("\x1b[?2004h")  # prompt_toolkit listens

    def answer(self, *keys: str) -> None:
        """At each prompt that comes, press the next of `keys`."""
        for pressed in keys:
            self.wait_for_prompt()
            self.press(pressed)

    def send(self, message: str, answer: str, *then: str) -> None:
        """A message, its answer, and `then` at the prompt after it."""
        self.press(f"{message}\r")
        self.wait_for(answer)
        self.answer(*then) if then else self.wait_for_prompt()

    def quit(self) -> list[str]:
        self.press("/quit\r")
        return self.end()

    def wait_for_screen(self, end: str) -> None:
        """Wait until what is on the screen ends so."""
        while not self.display.text.endswith(end):
            self.child.expect(".+")

    def got(self) -> list[str]:
        """What the program printed behind `got`, until its end."""
        lines = self.end()
        return [line.removeprefix("got ") for line in lines if line.startswith("got ")]

    def end(self) -> list[str]:
        """Wait for the program's end; returns the lines of the screen."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        return self.display.text.split("\n")
