"""docs/one-message.md tells the truth: its functions, its commands, its documents."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from pymongo import AsyncMongoClient, monitoring

import main
from engine import ApprovalNeeded
from local.mongod import Mongod
from seed_data import CUSTOMERS, seed
from terminal.chat import Chat
from terminal.screen import Screen
from tests.conftest import TODAY
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "one-message.md").read_text(encoding="utf-8")


class Commands(monitoring.CommandListener):
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        target = event.command[event.command_name]
        self.sent.append((event.command_name, target if isinstance(target, str) else ""))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...
    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def test_each_function_that_the_page_names_is_there() -> None:
    named = re.findall(r"`([\w.]+)`\s\(([\w/]+)\.py\)", PAGE)
    assert len(named) > 10
    for name, file in named:
        found: Any = importlib.import_module(file.replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)


async def test_the_commands_and_the_documents_are_those_of_the_page(mongod: Mongod) -> None:
    commands = Commands()
    client = AsyncMongoClient[Any](mongod.uri, tz_aware=True, event_listeners=[commands])
    db = client["test_one_message"]
    await seed(db, TODAY)
    during: list[dict[str, Any]] = []

    async def answer(call: ModelCall) -> ModelStep:
        sent = len(commands.sent)
        during.extend(await db.conversations.find().to_list())
        del commands.sent[sent:]
        return ModelStep(output=[assistant_message("It is on its way.")])

    handoff = [function_call("transfer_to_orders", {}, call_id="call_1")]
    hello = [assistant_message("Hello.")]
    wanted = {"order_id": "ORD-1001", "reason": "Too slow"}
    wants = [function_call("initiate_return", wanted, call_id="call_2")]
    model = ScriptedModel([hello, handoff, hello, ModelStep.respond(answer), wants, hello])
    chat = await main.open_conversation(client, CUSTOMERS[0], model, database=db.name)
    for message in ("hi", "my orders?"):
        async for _ in chat.turn(message):
            pass
    commands.sent.clear()
    async for _ in chat.turn("And the lamp?"):
        pass
    sent = list(commands.sent)
    after = await db.conversations.find_one() or {}
    events = [event async for event in chat.turn("I return it")]
    needed = events[-1]
    assert isinstance(needed, ApprovalNeeded)
    commands.sent.clear()
    async for _ in chat.decide(needed, True):
        pass
    sent_at_yes = list(commands.sent)
    await client.drop_database(db.name)
    await client.close()

    rows = re.findall(r"(?m)^\| \d+ \| `(\w+)` \| (?:`(\w+)`)? ?\|", PAGE)
    assert sent + sent_at_yes == rows
    told = [
        re.findall(r"(?m)^  (\w+):", block) for block in re.findall(r"```\n(.*?)```", PAGE, re.S)
    ]
    assert [sorted(block) for block in told] == [sorted(during[0]), sorted(after)]
    assert len(during[0]["inbox"]) == 1 and during[0]["messages"] == 4
    assert (after["inbox"], after["lease"], after["messages"]) == ([], None, 6)
    assert after["unanswered_since"] is None


async def test_about_as_many_functions_are_entered_as_the_page_says(mongod: Mongod) -> None:
    """Those of the program's own files, from the prompt to the end of the answer."""
    client = AsyncMongoClient[Any](mongod.uri, tz_aware=True)
    db = client["test_functions"]
    await seed(db, TODAY)
    model = ScriptedModel([[assistant_message("Hello.")], [assistant_message("It is on its way.")]])
    conversation = await main.open_conversation(client, CUSTOMERS[0], model, database=db.name)
    chat = Chat(Screen(), conversation, "Alice")
    await chat.answer(lambda: conversation.turn("hi"))
    entered: set[tuple[str, str, int]] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        file = Path(code.co_filename)
        ours = ROOT in file.parents and not {".venv", "tests"} & set(file.parts)
        if event == "call" and ours and not code.co_name.startswith("<"):
            entered.add((code.co_filename, code.co_name, code.co_firstlineno))

    sys.setprofile(note)
    try:
        await chat.answer(lambda: conversation.turn("And the lamp?"))
    finally:
        sys.setprofile(None)
    found = re.search(r"(\d+) functions\s+in\s+(\d+) files", PAGE)
    assert found
    # A slow machine enters a few more: it renews the lease, and looks what keeps the answer.
    assert int(found[1]) == pytest.approx(len(entered), abs=5)
    assert int(found[2]) == pytest.approx(len({file for file, *_ in entered}), abs=1)
    await client.drop_database(db.name)
    await client.close()
