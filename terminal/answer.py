"""One answer on a terminal: Markdown that grows without flicker, repetition or lost lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown, TableElement
from rich.segment import Segment
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from engine.text import clean

FRAMES_PER_SECOND = 12
REST = 4  # seconds without a frame for each second that the last one took

# Readable on light and dark: rich's own theme puts code on black.
THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.code_block": "cyan",
        "markdown.link": "bold",
        "markdown.link_url": "underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.block_quote": "italic",
    }
)

# What rich would leave out stays as it was written: tags (`write to <address>`), the targets of
# images and references.
_parser = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["strikethrough", "table"])
    .disable(["image", "reference"])
)


class _Table(TableElement):
    """A table that wraps what does not fit; rich cuts it: `$1,3…`."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _Markdown(Markdown):
    elements: ClassVar = {**Markdown.elements, "table_open": _Table}


class Answer:
    """Markdown as rich draws it, but line breaks stay, and nothing is hidden or lost."""

    def __init__(self, text: str, style: str = "") -> None:
        self._markdown = _Markdown("", style=style, hyperlinks=False, code_theme="ansi_dark")
        self._markdown.parsed = _parser.parse(text)
        _amend(self._markdown.parsed)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with console.use_theme(THEME):
            lines = console.render_lines(self._markdown, options, pad=False)
        # Padding becomes empty lines when the window is made narrower.
        lines = [list(_stripped(line)) for line in lines]
        # rich puts blank lines around lists, tables and code, but only around some of them.
        written = [number for number, line in enumerate(lines) if line]
        for line in lines[written[0] : written[-1] + 1] if written else []:
            yield from line
            yield Segment.line()


def _stripped(line: list[Segment]) -> Iterator[Segment]:
    end = max((n for n, segment in enumerate(line) if segment.text.strip()), default=-1)
    yield from line[:end]
    if end >= 0:
        yield Segment(line[end].text.rstrip(), line[end].style)


def _amend(tokens: list[Token]) -> None:
    # `<https://x.y>` is drawn as it is written, not as a link to itself.
    tokens[:] = [token for token in tokens if token.markup != "autolink"]
    for token in tokens:
        # `&#x202E;` becomes the character that turns a line around only when it is parsed.
        token.content = clean(token.content)
        if token.type == "softbreak":
            token.type = "hardbreak"
        _amend(token.children or [])


def finished(text: str) -> int:
    """How many characters of `text` are whole blocks that nothing written later can change."""
    end = text.rfind("\n") + 1
    # A line that begins with a letter is no list item, fence, table row or underline of the
    # line above; any other line counts only when it is complete.
    if text[end : end + 1].isalpha():
        end = len(text)
    blocks = [token.map[0] for token in _parser.parse(text[:end]) if not token.level and token.map]
    lines_before = blocks[-1] if blocks else 0
    return sum(len(line) + 1 for line in text.split("\n")[:lines_before])


class LiveAnswer:
    """Prints finished blocks once, for good, and keeps only the unfinished tail in motion."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tail = ""
        self._after_text = False
        self._doing = ""
        self._spinner = Spinner("dots", style="dim")
        self.wait("Thinking")
        # Frames are drawn by a task, not by Live's thread: no frame can fall between printing
        # a block and taking it out of the tail.
        self._live = Live(self, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveAnswer:
        self._live.start(refresh=True)
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
        if self._waiting:
            self._settle()
        self._tail += delta

    def note(self, line: str) -> None:
        """A line of our own, below all that was said so far."""
        self._settle()
        self._console.print(Text(line, style="dim"))
        self._after_text = False

    def doing(self, phrase: str) -> None:
        """A spinner with `phrase`, which stays as a line when the next thing happens."""
        self.wait(phrase)
        self._doing = phrase

    def wait(self, phrase: str) -> None:
        """A spinner with `phrase` until the next thing happens."""
        self._settle()
        self._waiting = True
        self._spinner.update(text=Text(phrase, style="dim"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is in motion: the spinner, or the last lines of the tail that fit the screen."""
        if self._waiting:
            yield self._spinner
            return
        lines = console.render_lines(Answer(self._tail), options, pad=False)
        if self._after_text and self._tail.strip():
            lines.insert(0, [])
        for line in lines[-max(options.size.height - 1, 1) :] or [[]]:
            yield from line
            yield Segment.line()

    async def _draw_frames(self) -> None:
        drawn, spent = None, 0.0
        while True:
            # A list of a thousand lines is one block, in motion to its end: draw it less often.
            await asyncio.sleep(max(1 / FRAMES_PER_SECOND, min(REST * spent, 1)))
            started = time.perf_counter()
            if self._waiting or drawn != (self._tail, self._console.size):
                self._print(finished(self._tail))
                drawn = (self._tail, self._console.size)
                self._live.refresh()
            spent = time.perf_counter() - started

    def _settle(self) -> None:
        self._waiting = False
        if self._doing:
            line, self._doing = f"· {self._doing}", ""
            self._console.print(Text(line, style="dim"))
            self._after_text = False
        self._print(len(self._tail))

    def _print(self, length: int) -> None:
        block, self._tail = self._tail[:length], self._tail[length:]
        if not block.strip():
            return
        gap = [""] if self._after_text else []
        self._after_text = True
        self._console.print(*gap, Answer(block))
