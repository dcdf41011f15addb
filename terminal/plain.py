"""Reads lines and writes answers in a pipe or on a simple terminal, where nothing may move."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from engine.text import clean
from terminal.signals import ctrl_c_calls


class LineReader:
    """Reads one line at a time, as `terminal.keys.LineEditor` does on a real terminal."""

    def __init__(self, write: Callable[[str], None], *, at_keys: bool) -> None:
        """`at_keys`: somebody types at a terminal. It shows the keys, and Ctrl-C does not quit."""
        self._write = write
        self._at_keys = at_keys
        self._reading: asyncio.Future[bytes] | None = None

    async def read(
        self, prompt: str, commands: Sequence[str] = (), *, ctrl_c_clears: bool = True
    ) -> str:
        """Read one line. Raises EOFError at the end, and KeyboardInterrupt unless Ctrl-C clears."""
        interrupted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def on_ctrl_c() -> None:
            if ctrl_c_clears:
                self._write("\n" + prompt)
            elif not interrupted.done():
                interrupted.set_result(b"")

        if self._reading is None:
            read: Future[bytes] = Future()
            self._reading = asyncio.wrap_future(read)
            # A daemon thread: with input() or to_thread(), Ctrl-C would wait for Enter.
            threading.Thread(target=_read_line, args=[read], daemon=True).start()
        with ctrl_c_calls(on_ctrl_c) if self._at_keys else contextlib.nullcontext():
            self._write(prompt)
            await asyncio.wait({self._reading, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        if interrupted.done():  # the next prompt gets the line that is being read
            self._write("\n")
            raise KeyboardInterrupt
        line, self._reading = self._reading.result(), None
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not line or not self._at_keys:
            # A terminal echoes what is typed; in a pipe we do.
            self._write(clean(text) + "\n")
        if not line:
            raise EOFError
        return text


@dataclass
class PlainAnswer:
    """Writes the Markdown as it comes, with notices between."""

    _write: Callable[[str], None]
    _notice: Callable[[str], None]
    _line_open: bool = False

    def __enter__(self) -> PlainAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def text(self, delta: str) -> None:
        """Add the next piece of the answer."""
        if delta.startswith("\n\n") and not self._line_open:
            delta = delta[1:]  # a note has already ended the line
        if delta:
            self._write(delta)
            self._line_open = not delta.endswith("\n")

    def note(self, line: str) -> None:
        """Print a line of our own below the answer so far."""
        self._end_line()
        self._notice(line)

    def wait(self, phrase: str, *, stays: bool = False) -> None:
        """There is no spinner. A phrase that stays is written at once."""
        if stays:
            self.note(f"· {phrase}")

    def trouble(self, phrase: str) -> None:
        """Nothing to do: there is no spinner."""

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to do: nothing moves."""
        return contextlib.nullcontext()

    def _end_line(self) -> None:
        if self._line_open:
            self._line_open = False
            self._write("\n")


def _read_line(line: Future[bytes]) -> None:
    """Read one line of standard input into `line`; it is empty at the end of input."""
    read = b""
    if sys.stdin is not None:
        # Not through sys.stdin: its lock, held by a waiting thread, makes Python abort at exit.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
            read = stdin.readline()
    line.set_result(read)
