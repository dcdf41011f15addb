"""Markdown as rich draws it, but nothing is hidden or lost, and it can be drawn while it grows."""

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


class Markdown:
    """A text whose line breaks stay, and whose blocks stand one blank line apart.

    `first_number` is the number of a list's first item, if it goes on from an earlier one.
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
        for block in self._blocks:
            self._drawn.parsed = block
            with console.use_theme(THEME):
                lines = console.render_lines(self._drawn, options, pad=False)
            # Padding becomes empty lines when the window is made narrower.
            lines = [list(_stripped(line)) for line in lines]
            # rich puts blank lines around some blocks, but only around some.
            written = [number for number, line in enumerate(lines) if line]
            if written:
                lines = lines[written[0] : written[-1] + 1]
                yield SegmentLines([[], *lines] if above else lines, new_lines=True)
                above = True


class _Table(TableElement):
    """A table that loses nothing (rich cuts words: `$1,3…`); if it is too wide, line by line."""

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
    return _length(text, blocks[-1] if blocks else 0)


class Cut(NamedTuple):
    """Where a block that still grows can be cut in two, so that both are drawn like one."""

    length: int  # characters that nothing written later can change
    reopened: str = ""  # what to put before the rest
    next_number: int | None = None  # of the rest's first item


def cut(text: str, before: Cut | None = None) -> Cut | None:
    """Where to cut `text`, a list or a code block without its end; None if it cannot be cut.

    `before`: where it was cut before, if it is the rest of a block.
    """
    lines = text.split("\n")
    tokens = _parser.parse(text + "\n\nend")  # a code block that is open swallows this
    if tokens and tokens[0].type == "fence" and len(tokens) == 1:
        # Not beside an empty line: at the edge of a block it would not be drawn.
        inner = (n for n in range(len(lines) - 1, 1, -1) if lines[n - 1].strip() and lines[n])
        if line := next(inner, None):
            return Cut(_length(text, line), reopened=lines[0] + "\n")
    elif tokens and tokens[0].type in ("bullet_list_open", "ordered_list_open"):
        items = [token for token in next(_blocks(tokens)) if _begins_item(token)]
        first = (before and before.next_number) or int(tokens[0].attrs.get("start", 1))
        if len(items) > 1 and items[-1].map:
            return Cut(_length(text, items[-1].map[0]), next_number=first + len(items) - 1)
    return None


def _begins_item(token: Token) -> bool:
    return token.type == "list_item_open" and token.level == 1


def _length(text: str, lines: int) -> int:
    return sum(len(line) + 1 for line in text.split("\n")[:lines])
