"""One answer on a terminal: it grows without flicker, repetition or lost lines."""

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
CUTS_ROWS = {"XTERM_VERSION", "STY"}  # set by xterm and GNU screen, which wrap nothing
REST = 4  # seconds without a frame for each second that the last one took


class _Frames(Live):
    """Each frame erases the last one, also when the window has become narrower since.

    Most terminals then wrap what they show: one row becomes two.
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
    """Prints finished blocks once, for good, and keeps only the unfinished tail in motion."""

    def __init__(self, console: Console, phrase: str = "Thinking") -> None:
        self._console = console
        self._tail = ""
        self._too_tall = False  # whether the last frame did not show all of it
        self._cut: Cut | None = None  # where the block that the tail goes on with was cut
        self._after_text = False
        self._phrase = phrase  # beside the spinner; without one, no spinner
        self._stays = False  # whether the phrase stays as a line
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
        """The next piece of the answer."""
        if not delta:
            return
        if self._phrase:
            self._settle()
        self._tail += delta

    def note(self, line: str) -> None:
        """A line of our own, below all that was said so far."""
        self._settle()
        self._console.print(Text(line, style="dim"))
        self._after_text = False

    def wait(self, phrase: str, *, stays: bool = False) -> None:
        """A spinner with `phrase` until the next thing happens; then it may stay as a line."""
        self._settle()
        self._phrase, self._stays = phrase, stays

    def trouble(self, phrase: str) -> None:
        """A spinner with `phrase`, whatever else happens, until it is called with ``""``."""
        self._trouble = phrase

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the screen to others for the block."""
        self._live.stop()
        try:
            yield
        finally:
            self._start()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is in motion: the last lines of the tail that fit the screen, and the spinner."""
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
        # Frames are drawn by a task, not by Live's thread: no frame can fall between printing
        # a block and taking it out of the tail.
        self._live = _Frames(self, self._console)
        self._live.start(refresh=True)

    async def _draw_frames(self) -> None:
        drawn, spent = None, 0.0
        while True:
            # A table of a thousand rows is one block, in motion to its end: draw it less often.
            await asyncio.sleep(max(1 / FRAMES_PER_SECOND, min(REST * spent, 1)))
            started = time.perf_counter()
            spins = self._trouble or self._phrase
            if spins or drawn != (self._tail, self._console.size, spins):
                if not self._print(finished(self._tail)):  # which draws a frame, too
                    self._live.refresh()
                drawn = (self._tail, self._console.size, spins)
                if self._too_tall and (where := cut(self._tail, self._cut)):
                    self._print(where.length, where)  # it can be scrolled to while it grows
            spent = time.perf_counter() - started

    def _settle(self) -> None:
        """Print all that was in motion, for good."""
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
        """Print the first `length` characters of the tail, or its beginning up to a cut.

        False if there was nothing to print.
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
