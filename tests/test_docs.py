"""What the pages for builders show is applied and run as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, Shop

PAGE = (ROOT / "docs" / "make-it-yours.md").read_text(encoding="utf-8")
FOURTH_AGENT = """
import asyncio, sys
from agents.testing import ScriptedModel, assistant_message, function_call
from tests.conftest import context_for, session_for, TODAY
from agents_def import build_agents
from engine.conversation import Conversation
from database import connect
from seed_data import seed
from tools import PHRASES, approval_question

async def main():
    async with await connect(sys.argv[1]) as client:
        db = client.test_fourth_agent
        await seed(db, TODAY)
        model = ScriptedModel([
            [function_call("transfer_to_loyalty", {}, call_id="a")],
            [function_call("loyalty_status", {}, call_id="b")],
            [assistant_message("Ten percent.")],
        ])
        conversation = await Conversation.open(
            session_for(db), db=db, email="alice@example.com", agent=build_agents(),
            context=context_for(db), question=approval_question, model=model,
        )
        seen = [event async for event in conversation.turn("my tier?")]
        print([type(event).__name__ for event in seen])
        print(model.last_call.input[-1]["output"], "|", PHRASES["loyalty_status"])
        stored = await db.conversations.find_one({})
        print(stored["active_agent"])

asyncio.run(main())
"""


def block(language: str) -> str:
    found = re.search(rf"(?s)```{language}\n(.*?)```", PAGE)
    assert found
    return found[1]


def uri_of(shop: Shop) -> str:
    host, port = shop.address or ("", 0)
    return f"mongodb://{host}:{port}"


def run_python(folder: Path, uri: str, *arguments: str, typed: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=typed,
        env={**os.environ, "MONGODB_URI": uri, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for module in ROOT.glob("*.py"):
        shutil.copy(module, tmp_path)
    for name in ("engine", "terminal", "local", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_diff_adds_an_agent_that_answers(copy: Path, shop: Shop) -> None:
    (copy / "loyalty.diff").write_text(block("diff"), encoding="utf-8")
    apply = ["git", "apply", "--unidiff-zero", "loyalty.diff"]
    if not subprocess.run(
        [*apply, "--reverse", "--check"], cwd=copy, stderr=subprocess.DEVNULL
    ).returncode:
        pytest.skip("it is applied already")
    subprocess.run(apply, cwd=copy, check=True)
    said = run_python(copy, uri_of(shop), "-c", FOURTH_AGENT, uri_of(shop)).splitlines()
    assert said == [
        "['HandedOff', 'ToolStarted', 'Text']",
        "Tier Gold: 10% bonus on refunds. | Looking up your tier",
        "Loyalty",
    ]


def test_the_other_front_end_answers(copy: Path, shop: Shop) -> None:
    (copy / "ask.py").write_text(block("python"), encoding="utf-8")
    said = run_python(
        copy, uri_of(shop), "ask.py", "alice@example.com", "Where is my order ORD-1002?"
    )
    assert "TRK-7781002" in said


def test_the_other_front_end_asks_before_a_return(copy: Path, shop: Shop) -> None:
    (copy / "ask.py").write_text(block("python"), encoding="utf-8")
    ask = ("ask.py", "alice@example.com")
    first = run_python(copy, uri_of(shop), *ask, "Return ORD-1001, too heavy", typed="n\n")
    assert "Make this return? [y/N]" in first
    assert "Return initiated" not in first
    second = run_python(copy, uri_of(shop), *ask, "Return ORD-1001, too heavy", typed="y\n")
    assert "Return initiated for order ORD-1001." in second
