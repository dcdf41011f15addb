"""A second product, examples/desk.py: engine/ and terminal/ are anybody's, and carry it alone."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.api import read_configuration
from pymongo import MongoClient

import engine
from database import Document
from local.mongod import Mongod
from tests.model_server import Json, ModelServer, Reply, call, say
from tests.processes import ROOT, chat, run

PROGRAM = "examples/desk.py"
ASK = "Monday at nine please, a check-up"


@pytest.fixture
def desk(mongod: Mongod) -> Iterator[MongoClient[Document]]:
    with MongoClient[Document](mongod.uri) as client:
        client.drop_database("appointment_desk")
        yield client


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(receptionist) as server:
        yield server


def receptionist(request: Json) -> Reply:
    """Hands over, looks, books, and tells what the last tool said."""
    items = request["input"]
    asked = max(index for index, item in enumerate(items) if item.get("role") == "user")
    if items[asked]["content"] != ASK:
        return say("You are welcome.")
    done = [item for item in items[asked:] if "output" in item]
    if "book" not in {tool["name"] for tool in request["tools"]}:
        return call("transfer_to_calendar")
    steps = [call("list_bookings"), call("book", {"time": "Monday 9:00", "about": "a check-up"})]
    return [*steps, say(f"Well: {done[-1]['output']}")][len(done) - 1]


def test_engine_and_terminal_alone_carry_it_across_a_kill_at_the_question(
    desk: MongoClient[Document], model: ModelServer, tmp_path: Path
) -> None:
    for name in ("engine", "terminal"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / PROGRAM, tmp_path)
    db = desk.appointment_desk
    with chat(desk, program="desk.py", folder=tmp_path, model=model) as running:
        running.type(f"m-1007\n{ASK}")
        running.wait_for("Book Monday 9:00: 'a check-up'.")
        running.kill()
    assert db.bookings.count_documents({}) == 0

    lines = "M-1007\ny\n/inspect\nthanks\n/reset\nn\n"
    done = run(desk, program="desk.py", folder=tmp_path, model=model, lines=lines)
    assert done.returncode == 0, done.stderr
    assert "── Welcome back, M-1007: 1 message, " in done.stdout
    assert "· Booked: Monday 9:00." in done.stderr
    for said in ("Well: Booked: Monday 9:00.\n", "You are welcome.\n", "\nGoodbye.\n"):
        assert said in done.stdout
    assert "Forget this conversation? [y/N] n\n" in done.stdout
    for name in ("bookings", "desk_sessions", "desk_messages", "desk_conversations"):
        assert f"db.{name}.find(" in done.stdout
        assert db[name].find_one()
    assert len(db.list_collection_names()) == 4
    assert [booked["member"] for booked in db.bookings.find()] == ["M-1007"]
    assert "lamp" not in done.stdout + done.stderr and "order" not in done.stdout + done.stderr


def test_without_a_key_it_says_so_in_a_line(desk: MongoClient[Document]) -> None:
    done = run(desk, program=PROGRAM, OPENAI_API_KEY="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "OPENAI_API_KEY is not set. Put it in .env.\n"


def test_it_is_short_and_imports_the_front_door_the_terminal_and_libraries() -> None:
    text = (ROOT / PROGRAM).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    found = {node.module or "" for node in nodes}
    packages = {module.split(".")[0] for module in found} - sys.stdlib_module_names
    assert packages == {"agents", "dotenv", "pymongo", "engine", "terminal"}
    assert [module for module in found if module.startswith("engine.")] == []


def test_the_front_door_explains_each_name_and_loads_nothing_before_its_use() -> None:
    for name in engine.__all__:
        assert name == "Event" or getattr(engine, name).__doc__, name
    code = "import engine, engine.events, sys; print({'agents', 'pymongo'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_the_contracts_forbid_every_module_of_ours() -> None:
    """A new module must be named in pyproject.toml, or the engine might import it."""
    ours = {path.stem for path in ROOT.glob("*.py")}
    ours |= {path.parent.name for path in ROOT.glob("*/*.py")}
    contracts = read_configuration("pyproject.toml")["contracts_options"]
    forbidden = {
        contract["source_modules"][0]: set(contract["forbidden_modules"])
        for contract in contracts
        if contract["type"] == "forbidden"
    }
    assert ours - forbidden["engine"] == {"engine"}
    assert ours - forbidden["terminal"] == {"engine", "terminal"}
