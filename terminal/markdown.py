"""Draws Markdown with rich, hides and loses nothing, and can draw it while it grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown as RichMarkdown
from rich.markdown import TableElement
from rich.measure import Measurement
from rich.segment import Segment, SegmentLines
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from engine.text import clean

WIDEST = 100  # columns: longer lines of prose are hard to read

# These are readable on light and on dark; rich's own theme puts code on black.
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

# rich leaves out tags (`write to <address>`) and the targets of images and references. Here they
# stay as they were written.
_parser = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["strikethrough", "table"])
    .disable(["image", "reference"])
)


class Markdown:
    """Keeps line breaks, and puts one blank line between two blocks.

    `first_number`: if `text` continues a numbered list, the number of its first item.
    """

    def __init__(self, text: str, style: str = "", first_number: int | None = None) -> None:
        self._drawn = _Markdown("", style=style, hyperlinks=False, code_theme="ansi_dark")
        tokens = _parser.parse(text)
        _amend(tokens)
        if first_number and tokens and tokens[0].type == "ordered_list_open":
            tokens[0].attrs["start"] = first_number
        self._blocks = list(_blocks(tokens))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        above = False
        options = options.update_width(min(options.max_width, WIDEST))
        for block in self._blocks:
            self._drawn.parsed = block
            with console.use_theme(THEME):
                lines = console.render_lines(self._drawn, options, pad=False)
            # In a narrower window, the terminal would wrap padding into empty lines.
            lines = [list(_stripped(line)) for line in lines]
            # rich puts blank lines around some blocks, not around all.
            written = [number for number, line in enumerate(lines) if line]
            if written:
                lines = lines[written[0] : written[-1] + 1]
                yield SegmentLines([[], *lines] if above else lines, new_lines=True)
                above = True


class _Table(TableElement):
    """Cuts no words, as rich does (`$1,3…`). A table that is too wide gets a line for each cell."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if not isinstance(table, Table):
                continue
            unlimited = options.update_width(10_000)
            if Measurement.get(console, unlimited, table).minimum > options.max_width:
                yield from self._records()
                continue
            for column in table.columns:
                column.overflow = "fold"
            yield table

    def _records(self) -> Iterator[Text]:
        head = self.header.row if self.header else None
        names = [cell.content for cell in head.cells] if head else []
        for number, row in enumerate(self.body.rows if self.body else []):
            if number:
                yield Text()
            for name, cell in zip(names, row.cells, strict=False):
                label = Text.assemble(name, ": ") if name else Text()
                label.stylize("markdown.table.header")
                yield Text.assemble(label, cell.content)


class _Markdown(RichMarkdown):
    elements: ClassVar = {**RichMarkdown.elements, "table_open": _Table}


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting != 1:
            yield block
            block = []


def _stripped(line: list[Segment]) -> Iterator[Segment]:
    end = max((n for n, segment in enumerate(line) if segment.text.strip()), default=-1)
    yield from line[:end]
    if end >= 0:
        yield Segment(line[end].text.rstrip(), line[end].style)


def _amend(tokens: list[Token]) -> None:
    # `<https://x.y>` stays as it is written: it would be a link to itself.
    tokens[:] = [token for token in tokens if token.markup != "autolink"]
    for token in tokens:
        # Only the parser makes of `&#x202E;` the character that turns a line around.
        token.content = clean(token.content)
        if token.type == "softbreak":
            token.type = "hardbreak"
        _amend(token.children or [])


def finished(text: str) -> int:
    """How many characters of `text` are whole blocks that no later text can change."""
    end = text.rfind("\n") + 1
    # A line that begins with a letter is no list item, fence, table row or underline of the
    # line above; any other line counts only when it is complete.
    if text[end : end + 1].isalpha():
        end = len(text)
    blocks = [token.map[0] for token in _parser.parse(text[:end]) if not token.level and token.map]
    return _length(text, blocks[-1] if blocks else 0)


class Cut(NamedTuple):
    """Where a growing block can be cut: its two parts are drawn as the whole would be."""

    length: int  # of the first part, which no later text can change
    reopened: str = ""  # what the second part needs before it
    next_number: int | None = None  # of the second part's first list item


def cut(text: str, before: Cut | None = None) -> Cut | None:
    """Where to cut `text`, an unfinished list or code block; None if it cannot be cut.

    `before`: the last cut, if `text` is the second part of a block.
    """
    lines = text.split("\n")
    tokens = _parser.parse(text + "\n\nend")  # an open code block takes this in
    if tokens and tokens[0].type == "fence" and len(tokens) == 1:
        # Not beside an empty line: rich does not draw one at the edge of a block.
        inner = (n for n in range(len(lines) - 1, 1, -1) if lines[n - 1].strip() and lines[n])
        if line := next(inner, None):
            return Cut(_length(text, line), reopened=lines[0] + "\n")
    elif tokens and tokens[0].type in ("bullet_list_open", "ordered_list_open"):
        block = next(_blocks(tokens))
        items = [token for token in block if token.type == "list_item_open" and token.level == 1]
        first = (before and before.next_number) or int(tokens[0].attrs.get("start", 1))
        if len(items) > 1 and items[-1].map:
            return Cut(_length(text, items[-1].map[0]), next_number=first + len(items) - 1)
    return None


def _length(text: str, lines: int) -> int:
    return sum(len(line) + 1 for line in text.split("\n")[:lines])
