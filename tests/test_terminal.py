"""The terminal's promises: on a screen (pyte), under keys (pexpect), through pipes (subprocess)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pexpect
import pytest
from bson import ObjectId

import terminal.answer
import terminal.screen
from database import DB_NAME
from engine.events import (
    CutOff,
    Event,
    HandedOff,
    Reason,
    ServerBusy,
    Settled,
    Stopped,
    Text,
    ToolStarted,
    TurnFailed,
    Waiting,
)
from local.mongod import Mongod
from terminal.chat import Chat, words_for
from terminal.inspect import Found, Query, describe, read
from terminal.screen import Screen
from tests import builders
from tests.builders import events
from tests.conftest import Support, session_for
from tests.model_server import ModelServer, Reply, call, fail, say
from tests.processes import Shop, access, order_of, run
from tests.screens import TIMEOUT, Customer, Display, Fork, environment, program_of, script

PHRASES = {"list_orders": "Looking up your orders"}
CTRL_C, CTRL_D, CTRL_Z, TAB, UP = "\x03", "\x04", "\x1a", "\t", "\x1b[A"


# --- the screen ----------------------------------------------------------------------------------


Draw = Callable[..., tuple[Screen, Display]]


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Gives a screen and its display, of 80 columns and 24 rows, or of those that are named."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    # A frame after every piece of text: whatever the clock could show, is shown.
    monkeypatch.setattr(terminal.answer, "FRAMES_PER_SECOND", 1e9)
    monkeypatch.setattr(terminal.answer, "REST", 0)

    def on_screen(columns: int = 80, rows: int = 24) -> tuple[Screen, Display]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(rows))
        display = Display(columns, rows)
        monkeypatch.setattr(sys, "stdout", display)
        return Screen(), display

    return on_screen


async def stream(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
        await asyncio.sleep(1e-9)  # lets a frame be drawn


def pieces(text: str, size: int = 0) -> list[Event]:
    """`text` as a model streams it, cut without regard to words and lines."""
    size = size or 1 + len(text) // 30
    return [Text(text[i : i + size]) for i in range(0, len(text), size)]


def words(count: int, first: int = 0) -> str:
    return " ".join(f"w{n:04}" for n in range(first, first + count))


ANSWERS = {
    "paragraphs": "\n\n".join(words(9, n) for n in range(0, 270, 9)),
    "one paragraph longer than the screen": words(800),
    "loose list": "\n\n".join(f"{n}. w{n:04}" for n in range(1, 40)) + "\n\nw9999",
    "tight list longer than the screen": "\n".join(f"- w{n:04}" for n in range(60)),
    "nested list": "\n".join(f"- w{n:04}\n  - w{n + 1:04}" for n in range(0, 60, 2)) + "\n\nw9999",
    "list items of two paragraphs": "- w0001\n\n  w0002\n\n- w0003\n\n  w0004\n\nw0005",
    "table": "w0001\n\n|w0002|w0003|\n|---|--:|\n|w0004|w0005|\n|w0006|w0007|\n\nw0008",
    "table longer than the screen": "|w0000|\n|---|\n"
    + "\n".join(f"|w{n:04}|" for n in range(1, 60)),
    "fence with blank lines": "w0001\n\n```\nw0002\n\nw0003\n\nw0004\n```\n\nw0005\n\nw0006",
    "fence in a fence": "w0001\n\n~~~\nw0002\n\n```\nw0003\n\nw0004\n```\n\nw0005\n~~~\n\nw0006",
    "fence in a list": "- w0001\n  ```\n  w0002\n\n  w0003\n  ```\n- w0004\n\nw0005",
    "fence that never ends": "w0001\n\n```\nw0002\n\nw0003\n\n" + words(4, 4).replace(" ", "\n\n"),
    "headings": "# w0001\n\nw0002\n\n## w0003\nw0004\n\nw0005\n=====\n\nw0006",
    "rules": "w0001\n\n---\n\nw0002\n\n***\nw0003",
    "quotes": "> w0001\n>\n> w0002\n\nw0003\n\n> w0004\nw0005\n\nw0006",
    "broken lines": "w0001\nw0002\nw0003\n\nw0004  \nw0005\\\nw0006",
    "cjk and emoji": "\n\n".join(f"w{n:04} {'漢字かな' * 12} 💡👍🏽" for n in range(12)),
    "tags, images, references": "<div>w0001</div>\n\n<!-- w0002 -->\n\nw0003 <w0004>\n\n"
    "![w0005](w0006)\n\n[w0007]: http://w0008\n\n[w0009](w0010)",
    "blank lines everywhere": "\n\n\nw0001\n\n\n\n\nw0002\n\n\n",
    "what may become something else": "w0001\n#w0002\n\nw0003\n```w0004``` w0005\n\n1. w0006\n\n"
    "2w0007\n\n~~~\n\nw0008\n\n```\n\nw0009",
    "carriage returns": "w0001\r\n\r\nw0002\r\nw0003",
}


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40)], ids=str)
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_every_word_of_an_answer_is_shown_once_and_in_order(
    draw: Draw, answer: str, size: tuple[int, int]
) -> None:
    screen, display = draw(*size)
    await screen.show(stream(pieces(answer)), PHRASES)
    shown = re.findall(r"w\d{4}", display.text)
    assert shown == re.findall(r"w\d{4}", answer)
    assert display.raw.count("\x1b[?25h") == display.raw.count("\x1b[?25l") == 1  # a cursor again
    screen, printed = draw(*size)
    screen.transcript([("assistant", answer)])
    assert display.text == printed.text


async def test_a_finished_paragraph_is_printed_before_the_next_one_ends(draw: Draw) -> None:
    screen, display = draw()

    async def events() -> AsyncIterator[Event]:
        async for event in stream(pieces("one\n\ntwo\n\nt")):
            yield event
        # Only the tail is drawn again and again.
        before = len(display.raw)
        async for event in stream(pieces("hree" * 10)):
            yield event
        assert "one" not in display.raw[before:]
        assert "three" in display.raw[before:]

    await screen.show(events(), PHRASES)
    assert display.text == "one\n\ntwo\n\nthree" + "hree" * 9


async def test_colours_are_readable_on_light_and_on_dark(draw: Draw) -> None:
    screen, display = draw()
    text = "# h\n\n## h\n\n`c` [l](u)\n\n```python\ndef f(): return 'x'  # y\n```\n\n> q\n\n1. n\n"
    await screen.show(stream([ToolStarted("x"), Text(text + "\n|t|\n|-|\n|u|\n")]), PHRASES)
    screen.inspect(inspection())
    styles = {
        code for codes in re.findall(r"\x1b\[([0-9;]*)m", display.raw) for code in codes.split(";")
    }
    assert "36" in styles
    assert not styles & {"30", "37", "38", "48", "97", *map(str, range(40, 48))}


async def test_while_it_grows_the_end_of_a_long_paragraph_is_in_view(draw: Draw) -> None:
    screen, display = draw(40, 12)
    seen = []

    async def events() -> AsyncIterator[Event]:
        async for event in stream(pieces(words(110) + " ", size=6)):
            yield event
            seen.append(display.text[-20:])

    await screen.show(events(), PHRASES)
    assert "w0100" in "".join(seen[99:103])


LONG_BLOCKS = {
    "list": "\n".join(f"- w{n:04}" for n in range(90)),
    "numbered list": "\n".join(f"{n + 1}. w{n:04} [{n + 1}]" for n in range(90)),
    "numbered by ones": "\n".join(f"1. w{n:04} [{n + 1}]\n   more" for n in range(60)),
    "loose list": "\n\n".join(f"1. w{n:04} [{n + 1}]" for n in range(90)),
    "code": "```python\n" + "\n".join(f"w{n:04} = {n}{chr(10) * (n % 3)}" for n in range(60)),
    "ended code": "~~~\n" + "\n".join(f"w{n:04}" for n in range(60)) + "\n~~~\n\nw9999",
}


@pytest.mark.parametrize("block", LONG_BLOCKS.values(), ids=LONG_BLOCKS.keys())
async def test_a_tall_block_can_be_scrolled_to_while_it_grows(draw: Draw, block: str) -> None:
    screen, display = draw(80, 12)
    text = f"w5000\n\n{block}"

    async def events() -> AsyncIterator[Event]:
        said = ""
        async for event in stream(pieces(text, size=20)):
            yield event
            await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)  # two frames: the first finds it too tall
            shown = re.findall(r"w\d{4}", display.text)
            assert shown == re.findall(r"w\d{4}", text)[: len(shown)]
            assert len(shown) >= len(re.findall(r"w\d{4}", said)) - 1
            assert isinstance(event, Text)
            said += event.delta

    await screen.show(events(), PHRASES)
    for number, told in re.findall(r"(\d+) w\d{4} \[(\d+)\]", display.text):
        assert number == told
    screen, printed = draw(80, 12)
    screen.transcript([("assistant", text)])
    assert [s.strip() for s in display.text.split("\n")] == [
        s.strip() for s in printed.text.split("\n")
    ]


async def test_a_long_table_is_drawn_less_often_but_whole(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One block, in motion to its end: each frame draws all of it."""
    answer = "|w9999|\n|--|\n" + "\n".join(f"|w{n:04} {'x' * 30}|" for n in range(60))
    raw = []
    for rest in (0, 4):
        screen, display = draw()
        monkeypatch.setattr(terminal.answer, "REST", rest)
        await screen.show(stream(pieces(answer, size=60)), PHRASES)
        assert re.findall(r"w\d{4}", display.text) == re.findall(r"w\d{4}", answer)
        raw.append(len(display.raw))
    assert raw[1] < raw[0] / 2


LAMP_SHIPS = [HandedOff("Orders"), ToolStarted("list_orders"), *pieces("Your **lamp**\n\nships.")]
LOOKED: list[Event] = [Text("Let me"), Text(" look."), ToolStarted("x")]
WAITS = "· Another terminal is answering in this conversation; waiting for it."
STOPPED = "Stopped. Ask something else, or Ctrl-D to leave."
RETRY = "Stopped. /retry answers it. Ask something else, or Ctrl-D to leave."
SHOWN: list[tuple[list[Event], str]] = [
    (LAMP_SHIPS, "→ Orders\n· Looking up your orders\nYour lamp\n\nships."),  # as in the README
    ([Waiting(), *LOOKED, Settled(True, "n")], f"{WAITS}\nLet me look.\n· X\n· n"),
    ([*LOOKED, Text("It is."), Stopped()], f"Let me look.\n· X\nIt is.\n{STOPPED}"),
    ([*LOOKED, Stopped()], f"Let me look.\n· X\n{RETRY}"),
    ([Stopped()], RETRY),
    ([Text("It was"), CutOff()], "It was\nThe answer was cut off. Ask it to go on."),
    ([ServerBusy(2.0)], "· The model is busy; asking it again in 2 seconds"),
]


@pytest.mark.parametrize(("told", "shown"), SHOWN)
async def test_an_answer_and_its_notices_read_so(draw: Draw, told: list[Event], shown: str) -> None:
    screen, display = draw()
    await screen.show(stream(told), PHRASES)
    assert display.text == shown


async def test_the_spinner_says_what_is_waited_for(draw: Draw) -> None:
    screen, display = draw()
    lines = []

    async def events() -> AsyncIterator[Event]:
        for event in (None, HandedOff("Orders"), ToolStarted("list_orders"), ToolStarted("a_b")):
            if event:
                yield event
            await asyncio.sleep(0.01)
            lines.append(display.text.split("\n")[-1][2:])
        yield Text("It ")
        await asyncio.sleep(0.01)
        lines.append(display.text.split("\n")[-1])

    await screen.show(events(), PHRASES)
    assert lines == ["Thinking", "Orders is thinking", "Looking up your orders", "A b", "It"]


async def test_what_was_said_before_a_failure_stays(draw: Draw) -> None:
    screen, display = draw()

    async def events() -> AsyncIterator[Event]:
        yield Text("I was about")
        raise TimeoutError("slow")

    with pytest.raises(TimeoutError, match="slow"):
        await screen.show(events(), PHRASES)
    assert display.text == "I was about"


async def test_a_table_too_wide_for_its_words_is_shown_row_by_row(draw: Draw) -> None:
    head = "|Order|Status|Delivered|Tracking|Total|\n|--|--|--|--|--:|\n"
    rows = "|ORD-1001|delivered|10 Nov 2026|TRK-7781001|$1,349.98|\n" * 2
    order = "Order: ORD-1001\nStatus: delivered\nDelivered: 10 Nov 2026\n"
    order += "Tracking: TRK-7781001\nTotal: $1,349.98"
    row = "ORD-1001  delivered  10 Nov 2026  TRK-7781001  $1,349.98"
    for columns, shown in (80, row), (40, f"Yours:\n\n{order}\n\n{order}"):
        screen, display = draw(columns, 24)
        await screen.show(stream(pieces(f"Yours:\n\n{head}{rows}")), PHRASES)
        assert display.text.strip().endswith(shown)


async def until(display: Display, shown: str) -> None:
    """Wait until all that is on the screen is this, a regular expression."""
    while not re.fullmatch(shown, display.text):
        await asyncio.sleep(0.01)


async def test_a_wait_shows_a_spinner_after_a_third_of_a_second_and_goes_on_with_it(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, display = draw()
    started = time.monotonic()
    async with screen.waiting("Long"):
        await until(display, ". Long")
        assert time.monotonic() - started >= 0.33
        while len(set(re.findall("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", display.raw))) < 5:  # it moves
            await asyncio.sleep(0.01)
    assert display.text == ""
    # Longer than this test may take: a wait that follows at once shows its spinner at once.
    monkeypatch.setattr(terminal.screen, "SOON", 1000)
    async with screen.waiting("More"):
        await until(display, ". More")
    assert display.raw.count("\x1b[?25h") == display.raw.count("\x1b[?25l") == 2

    screen, display = draw()
    async with screen.waiting("Short"):
        await asyncio.sleep(0.1)
    assert display.raw == ""


async def test_what_an_answer_waits_for_is_told_meanwhile(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, display = draw()
    monkeypatch.setattr(terminal.screen, "WATCH", 0.05)
    told = ""

    async def trouble() -> str:
        return told

    async def events() -> AsyncIterator[Event]:
        nonlocal told
        await until(display, ". Thinking")
        told = "No MongoDB"
        await until(display, ". No MongoDB")
        yield Text("Words.")
        await until(display, r"Words.\n. No MongoDB")
        told = ""
        await until(display, "Words.")

    await screen.show(events(), PHRASES, trouble)
    assert display.text == "Words."


HOSTILE = (
    "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\x08e\x7ff\u202eg\u2066h\ud800i"
    "[bold]j[/bold] :smile: [safe](https://evil.example) &#x202E;k&#27;[2Jl `\x1b[7A`"
)


@pytest.mark.parametrize("drawn", [True, False], ids=["screen", "pipe"])
async def test_nothing_that_is_said_can_command_the_terminal(
    draw: Draw, capsys: pytest.CaptureFixture[str], drawn: bool
) -> None:
    screen, display = draw() if drawn else (Screen(), None)
    screen.say(HOSTILE)
    screen.notice(HOSTILE)
    screen.error(HOSTILE)
    screen.transcript([("user", HOSTILE), ("assistant", HOSTILE)], dim=True)
    split: list[Event] = [Text(char) for char in HOSTILE]
    notices: list[Event] = [HandedOff(HOSTILE), ToolStarted(HOSTILE), Settled(True, HOSTILE)]
    await screen.show(stream([*notices, Settled(False, HOSTILE), *split]), {})
    output = capsys.readouterr()
    everything = (display.raw if display else output.out) + output.err
    # Our own: colours, and what keeps the last lines in motion.
    rest = re.sub(r"\x1b\[(\d+(;\d+)*m|\?25[lh]|2K|1A)|\r", "", everything) if drawn else everything
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", rest
    )
    assert "a\x1b[31mb" not in everything
    assert "[bold]j[/bold] :smile:" in everything
    assert "https://evil.example" in everything
    assert "\x1b]8" not in everything


def test_a_transcript_reads_like_the_chat(draw: Draw) -> None:
    screen, display = draw()
    said = [("user", "where is\nmy lamp?"), ("assistant", "On its **way**."), ("user", "thanks")]
    screen.transcript(said)
    assert display.text == "> where is\n  my lamp?\nOn its way.\n\n> thanks"


@pytest.mark.parametrize("block", LONG_BLOCKS.values(), ids=LONG_BLOCKS.keys())
def test_a_greeting_shows_the_last_lines_of_an_answer_as_they_were(draw: Draw, block: str) -> None:
    screen, whole = draw()
    screen.transcript([("assistant", block)])
    screen, greeting = draw()
    screen.transcript([("user", "which?"), ("assistant", block)], dim=True, most_lines=10)
    lines = whole.text.split("\n")
    above = f"… {len(lines) - 10} lines above; /history shows all"
    assert greeting.text.split("\n") == ["> which?", above, *lines[-10:]]
    screen, nearly = draw()
    screen.transcript([("assistant", block)], most_lines=len(lines) - 2)
    assert nearly.text == whole.text  # nobody hides a title to show that a line is hidden


# --- /inspect ------------------------------------------------------------------------------------


def inspection(arguments: str = '{"order_id":"ORD-1001"}') -> list[Found]:
    now = datetime(2026, 11, 22, 15, 30, 12, 123456, tzinfo=timezone.utc)
    session = {"_id": ObjectId("6740f3c2a1b2c3d4e5f60718"), "_seq": 14, "updated_at": now}
    items = [
        '{"role":"user","content":"it\'s\\nlate"}',
        '{"type":"function_call","name":"transfer_to_orders","arguments":"{}"}',
        '{"type":"function_call_output","output":"{\\"assistant\\": \\"Orders\\"}"}',
        '{"type":"function_call","name":"list_orders","arguments":"{\\"a\\":1}"}',
        '{"type":"function_call_output","output":"ORD-1001: ' + "long " * 99 + '"}',
        '{"type":"reasoning","summary":[]}',
        '{"type":"message","role":"assistant","content":[{"text":"漢字かな ok"}]}',
        "not JSON",
    ]
    earlier = '{"role":"user","content":"as SDK 0.14 stored it"}'
    of_session = {"session_id": "support_alice_at_example_com"}
    messages = [{"seq": 14, "message_data": items}, {**of_session, "message_data": earlier}]
    call = {"type": "function_call", "name": "initiate_return", "arguments": arguments}
    as_stored = json.dumps(call, ensure_ascii=False)
    pending = {"tool": "initiate_return", "agent": "Orders", "call": as_stored}
    inbox = [{"id": "a", "item": '{"role":"user","content":"one more thing"}'}]
    pending["state"] = "x" * 5000
    conversation = {"_id": "x", "lease": None, "pending": pending, "inbox": inbox}
    order = {"_id": "ORD-1002", "status": "shipped", "return": None}
    returned = {"reason": "Too heavy", "refund_cents": 148_498, "tier": "Gold", "at": now}
    active = {**of_session, "generation": {"$in": [0, None]}}
    index = {"key": [("session_id", 1), ("seq", -1)], "unique": True}
    return [
        Found("agent_sessions", "the SDK's session", [of_session], [session]),
        Found("agent_messages", "x", [active], messages, [index], ".sort({seq: 1})", "A note."),
        Found("orders", "x", [{"customer_id": "C"}, {"a": 1}], [order, {"return": returned}]),
        Found("conversations", "x", [{"_id": "x"}], [conversation]),
    ]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_inspect_shows_what_mongosh_does_and_decodes_messages(draw: Draw, columns: int) -> None:
    screen, display = draw(columns)
    screen.inspect(inspection())
    page = display.text
    for part in (
        'ObjectId("6740f3c2a1b2c3d4e',
        'updated_at: ISODate("2026-11-22T15',
        "\n    " r"""'{"role":"user","content":"it\'s""",
        "\n    └ user  it's late\n",
        "\n    └ handoff  transfer_to_orders\n",
        "\n    └ handoff  to Orders\n",
        '\n    └ tool call  list_orders({"a":1})\n',
        "\n    └ tool output  ORD-1001: long lon",
        "\n    └ reasoning  ",
        "\n    └ answer  漢字かな ok\n",
        "\n    └ unreadable  ",
        "\n  └ user  as SDK 0.14 stored it\n",
        "index {session_id: 1, seq: -1} unique\n",
        "\nA note.\n",
        "\n  lease: null,\n  pending: {\n",
        "\n    └ waits for a yes",
        "└ user  one more thing",
        "\n    state: 5,000 bytes: the SDK's",
        'reason: "Too heavy"',
        "refund_cents: 148498",
    ):
        assert part in page
    # mongosh, too, writes on one line what fits there.
    one_line = '\n{_id: "ORD-1002", status: "shipped", return: null}\n'
    assert (one_line in page) == (columns >= 80)
    # What a yes would do is never cut ...
    assert 'waitsforayesinitiate_return({"order_id":"ORD-1001"})' in re.sub(r"\s", "", page)
    # ... nor is a command, so that it can be copied.
    command = (
        'db.agent_messages.find({session_id: "support_alice_at_example_com", '
        "generation: {$in: [0, null]}}).sort({seq: 1})"
    )
    assert command.replace(" ", "") in re.sub(r"\s", "", page)
    assert 'db.orders.find({customer_id:"C"},{a:1})' in re.sub(r"\s", "", page)
    assert len(display.lines) < 90  # one line for each value, however long


def test_inspect_hides_nothing_and_obeys_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[2J\u202exxx"
    Screen().inspect([*inspection(hostile), Found("x", "x", [{}], [{"a": hostile}])])
    page = capsys.readouterr().out
    assert '"\\u001b[2J\\u202exxx"' in page and "initiate_return([2Jxxx)" in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert all(len(line) <= 85 for line in page.split("\n") if not line.startswith("db."))


async def test_inspect_asks_as_the_sdk_does(support: Support) -> None:
    db, conversation = support.db, await support.open(builders.say("Hello."))
    inspected = [Query(db.orders, "hers", {"customer_id": "CUST-1"})]
    nothing = await read(conversation, inspected)
    assert [len(found.documents) for found in nothing] == [0, 0, 2, 0]
    await events(conversation.turn("hello"))
    for generation in (0, 3):  # counted up when the SDK replaces a history
        of_session = {"session_id": conversation.id}
        await db.agent_sessions.update_one(of_session, {"$set": {"_generation": generation}})
        await db.agent_messages.update_many(of_session, {"$set": {"generation": generation}})
        sessions, messages, orders, conversations = await read(conversation, inspected)
        items = [item for each in messages.documents for item in each["message_data"]]
        assert [json.loads(item) for item in items] == await session_for(db).get_items()
        assert len(items) == 2
        assert messages.indexes and sessions.indexes and conversations.indexes
        assert {order["_id"] for order in orders.documents} == {"ORD-1001", "ORD-1002"}
    await db.agent_messages.update_many({}, {"$set": {"generation": 2}})  # replaced
    assert (await read(conversation))[1].documents == []


@pytest.mark.parametrize(
    "stored", ["", "[]", "null", "1", '"x"', "{}", '{"role":1}', '{"type":"function_call"}', None]
)
def test_an_item_that_is_none_is_called_unreadable(stored: str | None) -> None:
    assert describe(stored)[0] == "unreadable"


# --- pipes ---------------------------------------------------------------------------------------


def piped(body: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    options: Any = {"capture_output": True, "timeout": TIMEOUT, "env": environment(**env)}
    return subprocess.run(script(body), input=stdin.encode(), **options)


SESSION = """
    email = await screen.ask("Email: ")
    screen.say("Hello, Alice.")
    try:
        while True:
            await screen.ask("> ", commands=["/help"])
            said = Text("Your **l"), Text("amp**…")
            events = stream(HandedOff("Orders"), ToolStarted("list_orders"), *said)
            await screen.show(events, {"list_orders": "Looking up your orders"})
            screen.say(repr(await screen.confirm("Return\\x1b ORD-1001.\\nSure\\x1b? [y/N] ")))
    except EOFError:
        screen.error("The\\nend.")
"""


def test_a_piped_session_reads_like_one_and_keeps_its_notices_apart() -> None:
    run = piped(SESSION, "alice@example.com\r\nwhere?\ny\n漢字\x1b[2J?\nno\nlast")
    assert run.stdout.decode() == (
        "Email: alice@example.com\nHello, Alice.\n"
        "\n> where?\nYour **lamp**…\nReturn ORD-1001.\nSure? [y/N] y\n'y'\n"
        "\n> 漢字[2J?\nYour **lamp**…\nReturn ORD-1001.\nSure? [y/N] no\n'no'\n"
        "\n> last\nYour **lamp**…\nReturn ORD-1001.\nSure? [y/N] \n"
    )
    assert run.stderr.decode() == "→ Orders\n· Looking up your orders\n" * 3 + "The end.\n"


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str
)
def test_an_ascii_locale_gets_ascii(env: dict[str, str]) -> None:
    run = piped(SESSION, "a\n漢\n", **env, PYTHONCOERCECLOCALE="0")
    assert run.returncode == 0
    assert b"Your **lamp**..." in run.stdout
    assert b"-> Orders\n- Looking up your orders\n" in run.stderr
    assert (run.stdout + run.stderr).isascii()


def started(body: str) -> subprocess.Popen[bytes]:
    pipe, env = subprocess.PIPE, environment()
    return subprocess.Popen(script(body), stdin=pipe, stdout=pipe, stderr=pipe, env=env)


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    body = """
        try:
            while True:
                await screen.show(stream(Text("line\\n"), ToolStarted("x")), {})
        except BrokenPipeError:
            screen.hang_up()
            screen.say("Goodbye.")
    """
    with started(body) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(TIMEOUT) == 0
    assert set(errors.splitlines()) == {"· X".encode()}


def test_in_a_pipe_paragraphs_stand_one_line_apart_whatever_comes_between() -> None:
    run = piped("""
        said = Text("\\n\\ntwo\\n"), Text("\\n"), Text("three")
        await screen.show(stream(Text("one"), Settled(True, "A notice."), *said), {})
    """)
    assert run.stdout == b"one\n\ntwo\n\nthree\n"


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-", "</dev/null"])
def test_closed_streams_are_the_end_of_input(closed: str, tmp_path: Path) -> None:
    body = f"""
        try:
            await screen.ask("Email: ")
        except EOFError:
            screen.say("said")
            open({str(tmp_path / "end")!r}, "w").close()
    """
    command = ["sh", "-c", f'"$@" {closed}', "sh", *script(body)]
    assert subprocess.run(command, env=environment(), timeout=TIMEOUT).returncode == 0
    assert (tmp_path / "end").exists()


def test_the_prompt_waits_for_no_import_that_it_does_not_need() -> None:
    run = piped("print([m for m in ('rich', 'prompt_toolkit', 'agents') if m in sys.modules])")
    assert run.stdout == b"[]\n"


def test_ctrl_c_on_a_pipe_ends_the_program_at_once() -> None:
    body = """
        with screen.interrupts(lambda: None):
            await screen.ask("> ")
    """
    with started(body) as process:
        assert process.stdout and process.stderr
        assert process.stdout.read(2) == b"> "
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130  # and nobody pressed Enter
        assert process.stderr.read() == b""


# --- keys ----------------------------------------------------------------------------------------


Sit = Callable[..., Customer]


@pytest.fixture
def seated() -> Iterator[Sit]:
    """Makes a customer of a terminal's child; in the end, the child is killed."""
    with contextlib.ExitStack() as ends:

        def customer_at(child: Any, columns: int, rows: int) -> Customer:
            ends.callback(child.close, force=True)
            return Customer(child, columns, rows)

        yield customer_at


@pytest.fixture
def sit(tmp_path: Path, seated: Sit) -> Sit:
    """Sit down at a terminal on which a program runs: a command, or what `script` takes."""

    def sit_down(
        body: str | list[str], *, columns: int = 80, rows: int = 24, **env: str
    ) -> Customer:
        size = rows, columns
        if isinstance(body, str):
            program = tmp_path / "program.py"
            program.write_text(program_of(body))
            return seated(Fork(str(program), (), environment(**env), size), columns, rows)
        command, *arguments = body
        options = {"env": environment(**env), "encoding": "utf-8", "timeout": TIMEOUT}
        return seated(pexpect.spawn(command, arguments, dimensions=size, **options), columns, rows)

    return sit_down


LogIn = Callable[..., Customer]


@pytest.fixture
def log_in(shop: Shop, model: ModelServer, seated: Sit) -> LogIn:
    """Start main.py, for Alice unless its arguments are given; its model gives these replies."""

    def log_in_(
        *replies: Reply,
        arguments: tuple[str, ...] = ("--email", "alice@example.com"),
        columns: int = 80,
    ) -> Customer:
        model.script(*replies)
        env = environment(**access(shop, model))
        customer = seated(Fork("main.py", arguments, env, (24, columns)), columns, 24)
        customer.wait_for_prompt()
        return customer

    return log_in_


def test_ctrl_c_at_a_prompt_clears_the_line_and_never_quits(sit: Sit) -> None:
    customer = sit(r"""
        print("got", await screen.ask("Email: "))
        print("got", await screen.ask("> ", commands=["/help"]))
        print("got", await screen.ask("> ", commands=["/help"]))
    """)
    customer.answer(f"abc{CTRL_C}def\r", "abc" + CTRL_C * 20 + "ghi\r", "abc")
    customer.wait_for("abc")
    customer.child.kill(signal.SIGINT)  # from another terminal
    customer.wait_for_screen("\n>")
    customer.press("jkl\r")
    assert customer.got() == ["def", "ghi", "jkl"]


def test_a_ctrl_c_that_comes_between_two_prompts_does_not_quit(sit: Sit) -> None:
    customer = sit(r"""
        await screen.ask("> ", commands=["/help"])
        os.kill(os.getpid(), signal.SIGINT)
        with screen.interrupts(lambda: None):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGINT)
        print("got", await screen.ask("> "))
        os.kill(os.getpid(), signal.SIGINT)
    """)
    customer.answer("x\r", "y\r")
    assert customer.end()[-1] == "got y"


RETURN = r"""
    async def turn():
        yield ToolStarted("typing")
        await until_typed({keys})
        yield ApprovalNeeded("1", "Return ORD-1001: Laptop.\nMake this return? [y/N] ")

    approval = await screen.show(turn(), {{}})
    try:
        print("answer", repr(await screen.confirm(approval.question)))
    except EOFError:
        print("answer pending")
    print("then", await screen.ask("> "))
"""


@pytest.mark.parametrize("together", [False, True], ids=["meanwhile", "with the message"])
def test_a_yes_typed_before_the_question_does_not_count(sit: Sit, together: bool) -> None:
    """While the answer is written; and with the message, when prompt_toolkit reads both lines."""
    if together:
        customer = sit("await screen.ask('> ')\n" + textwrap.dedent(RETURN.format(keys=0)))
        customer.answer("return it\ry\r")
    else:
        customer = sit(RETURN.format(keys=2))
        customer.wait_for("Typing")
        customer.press("y\r")
    customer.answer("\r", "next\r")
    question = ["Return ORD-1001: Laptop.", "Make this return? [y/N]"]
    assert customer.end()[-6:] == ["· Typing", *question, "answer ''", "> next", "then next"]


@pytest.mark.parametrize(
    ("pressed", "answer"),
    [
        ("y\r", "'y'"),
        ("yep, but where is my lamp?\r", "'yep, but where is my lamp?'"),
        ("\r", "''"),
        (CTRL_C, "''"),
        ("y" + CTRL_C, "''"),
        (CTRL_D, "pending"),
    ],
)
def test_a_question_gives_what_is_typed_ctrl_c_nothing(sit: Sit, pressed: str, answer: str) -> None:
    customer = sit(RETURN.format(keys=0))
    customer.answer(pressed, "next\r")
    assert customer.end()[-3:] == [f"answer {answer}", "> next", "then next"]


LAMP = "yep, but where is my lamp?"
AGREED = ["yep", "OK", "sure, do it", "yes please!", "Go ahead."]  # asked again
DECISIONS: list[tuple[list[str], bool | str]] = [
    *((["y"], True), ([" YES "], True), (["n"], False), (["No"], False), ([""], False)),
    *(([LAMP], LAMP), (["/quit"], "/quit")),
    *[([words, "y"], True) for words in AGREED],
    *[([words, "n"], False) for words in AGREED],
    *[([words, "why?"], "why?") for words in AGREED],
]


@pytest.mark.parametrize(("typed", "decision"), DECISIONS)
async def test_only_a_yes_is_a_yes_and_words_that_only_agree_are_asked_again(
    draw: Draw, monkeypatch: pytest.MonkeyPatch, typed: list[str], decision: bool | str
) -> None:
    """Other words are not swallowed."""
    screen, display = draw()
    lines, questions = iter(typed), list[str]()

    async def confirm(question: str) -> str:
        questions.append(question)
        return next(lines)

    monkeypatch.setattr(screen, "confirm", confirm)
    chat = Chat(screen, cast(Any, None), "Alice")
    assert await chat.decision("Sure? [y/N] ") == decision
    assert questions == ["Sure? [y/N] "] * len(typed)
    assert display.text.count("Please type y or n.") == len(typed) - 1


def test_the_engine_knows_processes_and_the_terminal_says_terminal() -> None:
    error = TurnFailed(Reason.TAKEN_OVER)
    assert str(error) == "Another process took this conversation over."
    assert words_for(error).startswith("Another terminal took this conversation over. ")


def test_keys_typed_into_an_answer_wait_unseen_for_the_next_prompt(sit: Sit) -> None:
    customer = sit(r"""
        async def turn():
            yield ToolStarted("typing")
            await until_typed(4)
            yield Text("An answer.")

        await screen.show(turn(), {})
        print("echo", bool(termios.tcgetattr(0)[3] & termios.ECHO))
        print("got", await screen.ask("> "))
    """)
    customer.wait_for("Typing")
    customer.press("next")
    customer.wait_for("next")
    customer.press("!\r")
    assert customer.end() == ["· Typing", "An answer.", "echo True", "> next!", "got next!"]


def test_help_keeps_its_columns_in_a_narrow_window(log_in: LogIn) -> None:
    customer = log_in(columns=40)
    customer.press("/help\r")
    customer.answer("/quit\r")
    lines = customer.end()
    first = lines.index("/help      show this list")
    entries = lines[first : lines.index("> /quit")]
    assert [line for line in entries if line and not re.fullmatch(r"\S* +", line[:11])] == []
    about = " ".join(line[11:] for line in entries[-4:])
    assert "stop an answer; say no to a question; clear a line" in about


UNANSWERED = "Your last message has no answer yet. Answer it now? [y/N] "
STARTING = "Starting mongod 7.0.14 (data in .mongodb/, `make stop` ends it) ..."


@pytest.mark.parametrize("columns", [40, 200])
def test_a_question_and_what_make_chat_says_are_not_broken_inside_of_a_word(
    sit: Sit, columns: int
) -> None:
    customer = sit(
        f"""
        import local.program
        local.program.say({STARTING!r})
        await screen.confirm({UNANSWERED!r})
        """,
        columns=columns,
    )
    customer.answer("y\r")
    shown = customer.end()
    assert " ".join(shown) == f"{STARTING} {UNANSWERED}y"
    assert len(shown) == (4 if columns == 40 else 2)
    assert customer.display.raw.startswith("\x1b[2m")  # dim


@pytest.mark.parametrize(
    ("keys", "shown", "got"),
    [
        ("\x1b[200~one\r\ntwo\r三\x1b[201~!\r", ["> one", "  two", "  三!"], "one\ntwo\n三!"),
        ("one\x1b\rtwo\r", ["> one", "  two"], "one\ntwo"),
    ],
    ids=["a paste", "Alt-Enter"],
)
def test_several_lines_are_one_message(sit: Sit, keys: str, shown: list[str], got: str) -> None:
    customer = sit("print('got', ascii(await screen.ask('> ')))")
    customer.answer(keys)
    assert customer.end() == [*shown, f"got {got!a}"]


def test_ctrl_z_in_mid_answer_leaves_a_cursor_and_the_answer_goes_on(sit: Sit) -> None:
    command = script(r"""
        async def turn():
            yield Text("one\n\ntwo")
            await until_typed(3)
            yield Text(" three.")

        await screen.show(turn(), {})
        print("echo", bool(termios.tcgetattr(0)[3] & termios.ECHO))
    """)
    # A shell that, as yours does, takes the terminal back when its program stops.
    shell = 'set -m; "$@"; stty -a | tr " " "\\n" | grep -x "\\-*echo"; read -p "$ " _; fg'
    customer = sit(["bash", "-c", shell, "bash", *command])
    customer.wait_for("two")
    customer.press(CTRL_Z)
    customer.wait_for("$ ")
    raw = customer.display.raw
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")
    customer.press("fg\r")
    customer.wait_for("two")
    assert "\x1b[?25l" in customer.display.raw[len(raw) :]
    customer.press("xyz")
    lines = [line for line in customer.end() if "bash" not in line and line]
    assert lines[0] == "one" and lines.count("echo") == 1 and lines[-1] == "echo True"
    assert lines[-2] == "two three."


def test_the_arrow_brings_back_messages_but_no_email_and_no_yes(sit: Sit) -> None:
    customer = sit(r"""
        await screen.ask("Email: ")
        for _ in range(2):
            print("got", repr(await screen.ask("> ", commands=["/help"])))
            await screen.confirm("? [y/N] ")
    """)
    customer.answer("alice@example.com\r", "where is it?\r", "y\r", UP * 4 + "!\r", UP + "\r")
    assert customer.got() == ["'where is it?'", "'where is it?!'"]


def test_tab_completes_commands_and_nothing_else(sit: Sit) -> None:
    customer = sit(r"""
        for _ in range(4):
            print("got", repr(await screen.ask("> ", commands=["/help", "/history"])))
    """)
    typed = [f"/hi{TAB}\r", f"/h{TAB}{TAB}elp\r", f"why {TAB}\r", f"{TAB}/hel{TAB}\r"]
    customer.answer(*typed)
    got = [text.strip("' ") for text in customer.got()]
    assert got == ["/history", "/help", "why", "/help"]


def test_where_output_is_piped_the_prompts_stay_on_the_screen(sit: Sit, tmp_path: Path) -> None:
    customer = sit(rf"""
        sys.stdout.flush()
        os.dup2(os.open({str(tmp_path / "out")!r}, os.O_WRONLY | os.O_CREAT), 1)
        screen = Screen()
        text = await screen.ask("> ", commands=["/help"])
        await screen.show(stream(HandedOff("Orders"), Text(f"**{{text}}**")), {{}})
        await screen.confirm("Facts.\nSure? [y/N] ")
    """)
    customer.answer("hello\r", "y\r")
    assert customer.end() == ["> hello", "→ Orders", "Facts.", "Sure? [y/N] y"]
    assert (tmp_path / "out").read_text() == "\n**hello**\n"


def test_no_color_means_no_color(sit: Sit) -> None:
    customer = sit(
        r"""
        screen.error("An error.")
        screen.notice("A notice.")
        events = HandedOff("Orders"), Text("# One\n\n`two`\n\n```python\nthree = 3\n```\n> four")
        await screen.show(stream(*events), {})
        await screen.ask("> ")
        """,
        NO_COLOR="1",
    )
    customer.answer("\r")
    assert [line for line in customer.end() if "three" in line]
    assert not re.search(r"\x1b\[([0-9;]*;)?[349]\d[;m]", customer.display.raw)


def test_a_dumb_terminal_gets_plain_text_and_keeps_its_keys(sit: Sit) -> None:
    customer = sit(
        r"""
        print("got", await screen.ask("> ", commands=["/help"]))
        await screen.show(stream(ToolStarted("list_orders"), Text("**bold**")), {})
        print("answer", repr(await screen.confirm("Facts.\nSure? [y/N] ")))
        print("got", await screen.ask("> ", commands=["/help"]))
        print("answer", repr(await screen.confirm("Sure? [y/N] ")))
        """,
        TERM="dumb",
    )
    customer.wait_for("> ")
    customer.press("abc" + CTRL_C)
    customer.wait_for("> ")
    customer.press("def\r")
    customer.wait_for("Sure? [y/N] ")
    customer.press("y" + CTRL_C)
    customer.wait_for("> ")
    customer.press("next\r")
    customer.wait_for("Sure? [y/N] ")
    customer.press("y\r")
    shown = [line for line in customer.end() if "^C" not in line]
    turn = ["", "> def", "got def", "· List orders", "**bold**", "Facts.", "answer ''"]
    assert shown == [*turn, "", "> next", "got next", "Sure? [y/N] y", "answer 'y'"]
    assert "\x1b" not in customer.display.raw


@pytest.mark.parametrize("wraps", [True, False], ids=["most terminals", "xterm"])
def test_a_window_that_becomes_narrower_repeats_and_loses_nothing(sit: Sit, wraps: bool) -> None:
    answer = words(60), words(40, 100) + " 漢字かな" * 9 + " end"
    customer = sit(
        rf"""
        async def turn():
            yield Text("{answer[0]}\n\n{answer[1]}")
            await until_typed(1)
            yield Text("ed.")

        await screen.show(turn(), {{}})
        await screen.ask("> ")
        """,
        **({} if wraps else {"XTERM_VERSION": "XTerm(390)"}),
    )
    customer.wait_for("end")
    if wraps:
        customer.display.resize(40, 24)
    customer.child.setwinsize(24, 40)
    customer.press("\r")
    customer.wait_for_prompt()
    # The terminal breaks words, too.
    assert "".join(customer.end()).replace(" ", "") == f"{''.join(answer)}ed.>".replace(" ", "")


# --- the whole program ---------------------------------------------------------------------------


# A process of its own, which imports all that a start does; and no `.env` of a developer's.
START = """
import runpy, settings
settings.dotenv_values = lambda *_, **__: {}
runpy.run_path("main.py", run_name="__main__")
"""


@pytest.mark.parametrize("leaves", ["quit", "/quit", "/exit", CTRL_C, CTRL_D])
def test_at_the_email_one_can_ask_for_help_and_leave(log_in: LogIn, leaves: str) -> None:
    customer = log_in(arguments=("--offline",))
    help_text = "Type a customer's email, such as alice@example.com, or /quit to leave."
    customer.press("/help\r")
    customer.wait_for(help_text)
    customer.answer("  \r")
    customer.answer(leaves if leaves < " " else f"{leaves}\r")
    lines = customer.end()
    assert lines[2:6] == ["Email: /help", help_text, "Email:", help_text]
    assert lines[6].startswith("Email:") and lines[7:] == ["Goodbye."]
    assert customer.child.exitstatus == 0  # with Ctrl-C too: make would report an error


def test_in_a_wide_window_prose_is_no_wider_than_a_hundred_columns(sit: Sit) -> None:
    customer = sit(f"await screen.show(stream(Text({words(60)!r})), {{}})", columns=200)
    assert [90 < len(line) <= 100 for line in customer.end()][:-1] == [True] * 3


def test_a_start_shows_that_it_works(sit: Sit, shop: Shop) -> None:
    customer = sit([sys.executable, "-c", START, "--offline"], **access(shop))
    customer.answer("alice@example.com\r")
    customer.wait_for("Loading")
    customer.wait_for("Hello, Alice.")
    assert len(set(re.findall("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", customer.display.raw))) > 1
    customer.answer("/quit\r")
    lines = customer.end()[2:]
    assert lines[:2] == ["Email: alice@example.com", "Hello, Alice. How can I help?"]
    assert lines[2:] == ["", "> /quit", "Goodbye. Run again with alice@example.com to continue."]


RETURN_IT = call("initiate_return", {"order_id": "ORD-1001", "reason": "Too heavy"})


def test_at_the_question_what_waits_is_shown_and_it_asks_again(log_in: LogIn, shop: Shop) -> None:
    customer = log_in(call("transfer_to_orders"), RETURN_IT, fail(400))
    customer.press("return it\r")
    for typed, shown in (
        ("/help", "/inspect   show what MongoDB holds"),
        ("/help", "Ctrl-C     stop an answer; say no to a question; clear a line"),
        ("/history", "> return it"),
        ("/inspect", "waits for a yes"),
        ("/histroy", "Unknown command /histroy. Try /help."),
    ):
        customer.wait_for("Make this return? [y/N]")
        customer.press(f"{typed}\r")
        customer.wait_for(shown)
    customer.wait_for("Make this return? [y/N]")
    customer.send("y", "refused the request", "/quit\r")
    # The program itself says what was done, whatever the model then does.
    assert "· Return initiated for order ORD-1001." in customer.end()
    assert order_of(shop)["return"]["reason"] == "Too heavy"


@pytest.mark.parametrize("question", ["return", "answer now", "reset"])
def test_words_at_any_question_are_answered(
    log_in: LogIn, model: ModelServer, shop: Shop, question: str
) -> None:
    if question == "return":
        customer = log_in(call("transfer_to_orders"), RETURN_IT, say("On its way."))
        customer.press("return it\r")
        customer.wait_for("Make this return? [y/N]")
    elif question == "answer now":
        customer = log_in(fail(400))
        customer.send("hello", "refused the request", CTRL_D)
        customer.end()
        customer = log_in(say("On its way."))
        assert "Answer it now? [y/N]" in customer.display.text
    else:
        customer = log_in(say("Hello."), say("On its way."))
        customer.send("hello", "Hello.", "/reset\r")
        customer.wait_for("Orders and returns stay. [y/N]")
    customer.send("no wait, where is my lamp?", "On its way.", "/quit\r")
    lines = customer.end()
    assert ("Nothing was returned." in lines) == (question == "return")
    assert ("Nothing was forgotten." in lines) == (question == "reset")
    assert "where is my lamp?" in str(model.requests[-1]["input"])
    assert shop[DB_NAME].conversations.count_documents({}) == 1


def test_a_stopped_answer_stays_as_far_as_shown_and_is_not_offered_again(log_in: LogIn) -> None:
    """Also if Ctrl-C is held down."""
    customer = log_in(say("one " * 200, delay=0.05))
    customer.press("hello\r")
    customer.wait_for("one one one")
    for _ in range(30):
        customer.press(CTRL_C)
        time.sleep(0.03)  # as the keyboard repeats
    customer.wait_for("Stopped.")
    customer.press(f"{CTRL_C}/quit\r")
    lines = customer.end()
    assert "\n".join(lines).count("Stopped.") == 1
    assert lines[-1] == "Goodbye. Run again with alice@example.com to continue."
    assert customer.child.exitstatus == 0

    customer = log_in(say("Two."))
    customer.press("/history\r")
    customer.answer("next\r")
    customer.wait_for("Two.")
    customer.answer("/quit\r")
    lines = customer.end()
    assert "Answer it now?" not in "\n".join(lines)
    shown = [number for number, line in enumerate(lines) if line.startswith("one one one")]
    assert len(shown) == 2  # in the greeting and in /history
    assert [lines[number - 1] for number in shown] == ["> hello", "> hello"]
    assert "\n".join(lines).count("(stopped)") == 2


def test_the_arrow_brings_back_what_was_asked_in_an_earlier_session(log_in: LogIn) -> None:
    customer = log_in(say("Hello."))
    customer.send("where is my lamp?", "Hello.")
    customer.quit()
    customer = log_in(say("Again."))
    customer.send(f"{UP}!", "Again.", f"{UP}{UP}\x15/quit\r")
    assert "> where is my lamp?!" in customer.end()


@contextlib.contextmanager
def frozen(mongod: Mongod) -> Iterator[None]:
    os.kill(mongod.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(mongod.process.pid, signal.SIGCONT)


def test_a_mongodb_that_does_not_answer_is_told_and_ctrl_c_and_quit_end_the_wait(
    log_in: LogIn, mongod: Mongod
) -> None:
    customer = log_in(say("Hello."))
    with frozen(mongod):
        started = time.monotonic()
        customer.press("hello\r")
        customer.wait_for("MongoDB does not answer; waiting for it")
        assert time.monotonic() - started < 10  # 2 seconds, on a machine that has time
        customer.press(CTRL_C)
        customer.wait_for("Stopped.")
        customer.answer("/history\r")
        customer.wait_for("Asking MongoDB")
        customer.press(CTRL_C)
        customer.wait_for("Stopped.")
        customer.answer("hello\r")
    customer.wait_for("Hello.")
    customer.wait_for_prompt()
    with frozen(mongod):  # the end does not wait for it: the driver would, for ever
        started = time.monotonic()
        customer.press("/quit\r")
        assert "MongoDB" not in "\n".join(customer.end())
        assert time.monotonic() - started < 10
    assert customer.child.exitstatus == 0


def test_a_sigterm_gives_back_the_cursor_and_the_conversation(log_in: LogIn, shop: Shop) -> None:
    customer = log_in(say("one " * 200, delay=0.05))
    customer.press("hello\r")
    customer.wait_for("one one")
    customer.child.kill(signal.SIGTERM)
    customer.end()
    assert customer.child.exitstatus == 143
    raw = customer.display.raw
    assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l")
    assert (shop[DB_NAME].conversations.find_one() or {})["lease"] is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has it")
def test_a_full_disk_is_told_in_one_line(shop: Shop) -> None:
    arguments = "--offline", "--email", "alice@example.com", "Where is my order ORD-1002?"
    done = run(shop, *arguments, stdout="/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Cannot read or write: No space left on device."
    assert "Traceback" not in done.stderr
