"""Draws one answer on a terminal while it grows, without flicker, repeated or lost lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator

from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, SegmentLines
from rich.spinner import Spinner
from rich.text import Text

from terminal.markdown import Cut, Markdown, cut, finished

FRAMES_PER_SECOND = 12
# Set by xterm and GNU screen, which cut a row and do not wrap it.
CUTS_ROWS = {"XTERM_VERSION", "STY"}
REST = 4  # after a frame, rest this many times as long as it took


class _Frames(Live):
    """Erases the last frame before it draws the next, also if the window has become narrower.

    Most terminals then wrap the rows that they show: one row becomes two.
    """

    def __init__(self, answer: LiveAnswer, console: Console) -> None:
        super().__init__(answer, console=console, auto_refresh=False, transient=True)
        self._answer = answer

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        rows = [] if CUTS_ROWS & os.environ.keys() else self._answer.rows
        added = sum(len(chop_cells(row, self.console.width)) - 1 for row in rows if row)
        erase_row = (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)
        return [Control(*erase_row * added), *super().process_renderables(renderables)]


class LiveAnswer:
    """Prints each finished block once. Draws only the unfinished end (the tail) again and again."""

    def __init__(self, console: Console, phrase: str = "Thinking") -> None:
        self._console = console
        self._tail = ""
        self._too_tall = False  # whether the last frame showed only the end of the tail
        self._cut: Cut | None = None  # set if the tail is the rest of a block that was cut
        self._after_text = False
        self._phrase = phrase  # beside the spinner; empty: no spinner
        self._stays = False  # whether the phrase becomes a line in the end
        self._trouble = ""
        self._spinner = Spinner("dots", style="dim")
        self.rows: list[str] = []  # of the last frame

    def __enter__(self) -> LiveAnswer:
        self._start()
        self._frames = asyncio.create_task(self._draw_frames())
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.cancel()
        try:
            self._settle()
        finally:
            self._live.stop()

    def text(self, delta: str) -> None:
        """Add the next piece of the answer."""
        if not delta:
            return
        if self._phrase:
            self._settle()
        self._tail += delta

    def note(self, line: str) -> None:
        """Print a line of our own below the answer so far."""
        self._settle()
        self._console.print(Text(line, style="dim"))
        self._after_text = False

    def wait(self, phrase: str, *, stays: bool = False) -> None:
        """Show a spinner with `phrase` until something else is shown.

        If it `stays`, the phrase then becomes a line.
        """
        self._settle()
        self._phrase, self._stays = phrase, stays

    def trouble(self, phrase: str) -> None:
        """Show a spinner with `phrase` until this is called again; an empty phrase ends it."""
        self._trouble = phrase

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """During the block, others may use the screen."""
        self._live.stop()
        try:
            yield
        finally:
            self._start()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One frame: the last lines of the tail that fit the screen, and the spinner."""
        below: list[list[Segment]] = []
        if phrase := self._trouble or self._phrase:
            self._spinner.update(text=Text(phrase, style="dim"))
            below = console.render_lines(self._spinner, options, pad=False)
        lines = console.render_lines(self._drawn(self._tail), options, pad=False)
        if self._gap and self._tail.strip():
            lines.insert(0, [])
        rows = max(options.size.height - 1 - len(below), 1)
        self._too_tall = len(lines) > rows
        shown = [*lines[-rows:], *below] or [[]]
        self.rows = ["".join(segment.text for segment in line) for line in shown]
        yield SegmentLines(shown, new_lines=True)

    def _start(self) -> None:
        # A task draws the frames, not Live's thread: a thread could draw one after a block is
        # printed and before it leaves the tail.
        self._live = _Frames(self, self._console)
        self._live.start(refresh=True)

    async def _draw_frames(self) -> None:
        drawn, spent = None, 0.0
        while True:
            # A table of a thousand rows is one block, and each frame draws all of it.
            await asyncio.sleep(max(1 / FRAMES_PER_SECOND, min(REST * spent, 1)))
            started = time.perf_counter()
            spins = self._trouble or self._phrase
            if spins or drawn != (self._tail, self._console.size, spins):
                if not self._print(finished(self._tail)):  # printing also draws a frame
                    self._live.refresh()
                drawn = (self._tail, self._console.size, spins)
                if self._too_tall and (where := cut(self._tail, self._cut)):
                    self._print(where.length, where)  # the customer can scroll to it
            spent = time.perf_counter() - started

    def _settle(self) -> None:
        """Print the tail, and the phrase if it stays. Nothing is in motion after that."""
        phrase, self._phrase = self._phrase, ""
        if self._stays:
            self._stays = False
            self.note(f"· {phrase}")
        self._print(len(self._tail))

    @property
    def _gap(self) -> bool:
        """Whether a blank line stands above the tail."""
        return self._after_text and self._cut is None

    def _drawn(self, text: str) -> Markdown:
        return Markdown(text, first_number=self._cut.next_number if self._cut else None)

    def _print(self, length: int, where: Cut | None = None) -> bool:
        """Print the first `length` characters of the tail; `where` if they end at a cut.

        Returns False if there was nothing to print.
        """
        block, self._tail = self._tail[:length], self._tail[length:]
        if not block.strip():
            return False
        gap, drawn = [""] if self._gap else [], self._drawn(block)
        self._cut, self._after_text = where, True
        if where:
            self._tail = where.reopened + self._tail
        self._console.print(*gap, drawn)
        return True
