"""Draw docs/session.svg and docs/inspect.svg from a real session: `python -m scripts.picture`."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pexpect
import pyte
from rich.console import Console
from rich.padding import Padding
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from database import DB_NAME, connect
from local.mongod import temporary_mongod
from seed_data import seed

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS = 80, 40
MARGIN = 1
READY = r"\x1b\[\?2004h.*?\x1b\[\?25h"  # the line editor reads keys, and has drawn its prompt
START, EMAIL, CTRL_D = "python main.py --offline", "alice@example.com", "\x04"
ASK = "I want to return ORD-1001, not powerful enough"

CUT = Text("…", "dim")

BLACK, RED, GREEN, YELLOW = (30, 34, 42), (240, 113, 120), (152, 209, 121), (229, 192, 123)
BLUE, MAGENTA, CYAN, WHITE = (97, 175, 239), (198, 120, 221), (86, 200, 216), (224, 227, 233)
COLORS = [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE]
THEME = TerminalTheme(BLACK, WHITE, COLORS)  # a dark window fits a light page and a dark one
# Some readers know only the first.
FONTS = "DejaVu Sans Mono, ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
CHARACTER_WIDTH = 0.6  # of these fonts, in units of their size

pyte.graphics.TEXT[2] = "+blink"  # pyte has no dim, and nothing here blinks


def main() -> None:
    with temporary_mongod() as mongod:
        asyncio.run(fill(mongod.uri))
        session = play(mongod.uri)
    start = find(session, "Make this return? [y/N] /inspect")
    end = find(session, "}", after=find(session, "  pending: {"))
    inspected = session[start : end + 1]
    save("session", "Shop support", [*session[:start], *question(inspected), *session[end + 1 :]])
    save("inspect", "/inspect: what MongoDB holds", abridged(inspected))


async def fill(uri: str) -> None:
    async with await connect(uri) as client:
        await seed(client[DB_NAME], datetime.now(timezone.utc))


def play(uri: str) -> list[Text]:
    """Type like a customer who quits at the question, comes back, looks, and says yes.

    Returns the lines of the whole session.
    """
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MONGODB_URI": uri,
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "PS1": "$ ",
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
    }
    with pexpect.spawn(
        "/bin/sh",
        cwd=ROOT,
        env=environment,
        dimensions=(ROWS, COLUMNS),
        encoding="utf-8",
        timeout=60,
    ) as shell:
        shell.logfile_read = SimpleNamespace(write=pyte.Stream(screen).feed, flush=lambda: None)
        for typed in (START, EMAIL, ASK, CTRL_D, START, EMAIL, "/inspect", "y", ASK):
            shell.expect(r"\$ " if typed == START else READY)
            shell.send(typed if typed == CTRL_D else f"{typed}\r")
        shell.expect(READY)
        return list(lines(screen))


def lines(screen: pyte.HistoryScreen) -> Iterator[Text]:
    """All that was ever on the screen, down to the cursor, which is drawn as a block."""
    screen.draw("█")
    screen.cursor_back()
    rows = [screen.buffer[y] for y in range(screen.cursor.y + 1)]
    for row in [*screen.history.top, *rows]:
        line = Text()
        for look, run in groupby((row[x] for x in range(COLUMNS)), key=style):
            line.append("".join(cell.data for cell in run), look)
        line.rstrip()
        yield line


def style(cell: pyte.screens.Char) -> Style:
    color = {"brown": "yellow"}.get(cell.fg, cell.fg)
    return Style(
        color=f"#{color}" if re.fullmatch("[0-9a-f]{6}", color) else color,
        bold=cell.bold,
        dim=cell.blink,
        italic=cell.italics,
        underline=cell.underscore,
        reverse=cell.reverse,
    )


def find(drawn: Sequence[Text], line: str, after: int = 0) -> int:
    return [each.plain for each in drawn].index(line, after)


def question(inspected: Sequence[Text]) -> list[Text]:
    """Of /inspect, no more than the question that waits."""
    start = find(inspected, "  pending: {")
    end = find(inspected, "  },", after=start)
    title = next(n for n, line in enumerate(inspected) if "─ conversations ─" in line.plain)
    return [inspected[0], CUT, *inspected[title : title + 2], CUT, *inspected[start : end + 1], CUT]


def abridged(inspected: Sequence[Text]) -> list[Text]:
    """Keep only the first document of agent_messages: one is enough to see."""
    ends = [number for number, line in enumerate(inspected) if line.plain == "}"]
    _session, first, *others, _conversation = ends
    cut = Text(f"… {len(others)} more documents", "dim")
    return [*inspected[: first + 1], cut, *inspected[others[-1] + 1 :]]


def save(name: str, title: str, drawn: Sequence[Text]) -> None:
    """Write docs/NAME.svg: it loads nothing, and its columns align in any font."""
    console = Console(record=True, width=COLUMNS + 2 * MARGIN, file=io.StringIO())
    console.print(Padding(Text("\n").join(drawn), (0, MARGIN)))
    svg = console.export_svg(
        title=title, theme=THEME, unique_id=name, font_aspect_ratio=CHARACTER_WIDTH
    )
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fonts from a server
    svg = re.sub(r"font-family: (Fira Code, monospace|arial)", f"font-family: {FONTS}", svg)
    svg = svg.replace("font-variant-east-asian: full-width;", "")  # of Latin letters, too
    # Some readers would drop the spaces at the beginning of a line.
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)
    svg = svg.replace(" textLength=", ' lengthAdjust="spacingAndGlyphs" textLength=')
    path = ROOT / "docs" / f"{name}.svg"
    path.write_text(svg.replace("</text><text", "</text>\n<text"), encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(drawn)} lines")


if __name__ == "__main__":
    main()
