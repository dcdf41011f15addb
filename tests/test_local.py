"""What `make chat`, `make seed` and `make stop` promise about the database on a laptop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from local.commands import main
from local.mongod import Mongod, free_port, temporary_mongod
from local.program import ROOT, find_mongod

# Stand-ins for the two programs that `python -m local` runs; each tells what it was given.
MAIN = """
import json, os, sys
print(json.dumps({"uri": os.environ["MONGODB_URI"], "args": sys.argv[1:], "in": sys.stdin.read()}))
sys.exit(7 if "--fail" in sys.argv else 0)
"""
SEED = r"""
import os, sys
from pymongo import MongoClient
MongoClient(os.environ["MONGODB_URI"]).ecommerce_support.customers.insert_one({})
print("seeded", *sys.argv[1:], end=sys.stdin.read() + "\n")
"""


class Clone:
    """A fresh clone in a temporary folder, whose MONGODB_URI names a port that nobody uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("local", "engine"):  # the engine for database.py
            shutil.copytree(ROOT / name, folder / name)
        for name in ("database.py", "settings.py"):
            shutil.copy(ROOT / name, folder)
        for name in ("main.py", "recover.py"):
            (folder / name).write_text(MAIN)
        (folder / "seed_data.py").write_text(SEED)
        self.port = free_port()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
        self.env["MONGODB_URI"] = f"mongodb://localhost:{self.port}"

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        command, pipe = [sys.executable, "-m", "local", *arguments], subprocess.PIPE
        pipes: Any = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.env, **pipes)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.popen(*arguments) as process:
            out, err = process.communicate("hello\n", timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def chat(self, *arguments: str) -> dict[str, Any]:
        """What main.py was given, and what was said before it under `said`."""
        done = self.run("chat", *arguments)
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout), "said": done.stderr}

    def mongods_started(self) -> int:
        log = self.folder / ".mongodb" / "mongod.log"
        return log.read_text().count('"Waiting for connections"') if log.exists() else 0


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    clone = Clone(tmp_path)
    yield clone
    for lock in tmp_path.glob(".mongodb/*/mongod.lock"):
        if pid := lock.read_text():  # empty after a clean end
            os.kill(int(pid), signal.SIGKILL)


@contextmanager
def foreign_listener(port: int, says: bytes = b"") -> Iterator[None]:
    """Something on the port that takes connections, says something, hangs up, and is no MongoDB."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def answer() -> None:
            with suppress(OSError):  # the end of the test
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(says)

        Thread(target=answer, daemon=True).start()
        yield


def customers(uri: str) -> int:
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2000) as client:
        return client.ecommerce_support.customers.count_documents({})


def add_customer_in_transaction(uri: str) -> None:
    """As the chat's client would: with the URI that it is given, and no directConnection."""
    client = MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2000)
    with client, client.start_session() as session, session.start_transaction():
        client.ecommerce_support.customers.insert_one({}, session=session)


def test_the_first_chat_starts_and_seeds_and_the_second_does_neither(clone: Clone) -> None:
    first = clone.chat("--email", "a@b")
    assert first["uri"] == clone.env["MONGODB_URI"]
    assert first["args"] == ["--offline", "--email", "a@b"]
    assert first["in"] == "hello\n", "something before main.py read its standard input"
    assert "seeded" in first["said"]
    assert (clone.folder / ".mongodb").stat().st_mode & 0o077 == 0, "others can read the data"
    assert "--offline" in first["said"]
    assert f"Look with mongosh or Compass: {first['uri']}\n" in first["said"]

    clone.env["OPENAI_API_KEY"] = "a key"
    second = clone.run("chat", "--fail")
    given = json.loads(second.stdout)
    assert (given["uri"], given["args"]) == (first["uri"], ["--fail"])
    assert (second.stderr, second.returncode) == ("", 7)
    assert clone.mongods_started() == 1
    assert customers(first["uri"]) == 1


def test_transactions_work_from_the_first_minute_also_when_the_port_changes(clone: Clone) -> None:
    for expected in (1, 2):
        uri = clone.chat()["uri"]
        assert uri == clone.env["MONGODB_URI"]
        assert customers(uri) == expected
        add_customer_in_transaction(uri)
        clone.run("stop")
        clone.env["MONGODB_URI"] = f"mongodb://localhost:{free_port()}"


@pytest.mark.parametrize("arguments", [(), ("--replSet", "rs0")])
def test_a_standalones_data_and_an_unfinished_start_become_a_replica_set(
    clone: Clone, arguments: tuple[str, ...]
) -> None:
    program, version = find_mongod()
    earlier = Mongod(program, clone.folder / ".mongodb" / version, clone.port, replica_set=False)
    earlier.start()
    with MongoClient[dict[str, Any]](earlier.uri) as client:
        client.ecommerce_support.customers.insert_one({})
    earlier.stop()
    if arguments:  # killed before it had initiated the set
        (clone.folder / ".mongodb" / "port").write_text(str(clone.port))
        earlier.arguments = arguments
        earlier.start()
    given = clone.chat()
    assert "seeded" not in given["said"]
    add_customer_in_transaction(given["uri"])
    assert customers(given["uri"]) == 2


def test_a_mongod_that_somebody_else_started_is_used_as_it_is(clone: Clone) -> None:
    with temporary_mongod(replica_set=False) as standalone:
        clone.env["MONGODB_URI"] = f"mongodb://localhost:{standalone.port}"
        assert clone.chat()["uri"] == clone.env["MONGODB_URI"]
        with pytest.raises(OperationFailure, match="Transaction numbers"):
            add_customer_in_transaction(standalone.uri)
    assert clone.mongods_started() == 0


def test_an_empty_variable_does_not_hide_the_one_in_dotenv(clone: Clone) -> None:
    clone.env |= {"MONGODB_URI": "", "OPENAI_API_KEY": ""}
    uri = f"mongodb://127.0.0.1:{clone.port}"
    (clone.folder / ".env").write_text(f"MONGODB_URI={uri}\nOPENAI_API_KEY=a key\n")
    given = clone.chat()
    assert (given["uri"], given["args"]) == (uri, [])


@pytest.mark.parametrize("taken", [False, True], ids=["free port", "taken port"])
def test_two_starts_at_once_end_with_one_mongod_and_two_chats(clone: Clone, taken: bool) -> None:
    with foreign_listener(clone.port) if taken else nullcontext():
        both = [clone.popen("chat"), clone.popen("chat")]
        given = [json.loads(chat.communicate("", timeout=60)[0]) for chat in both]
    uri = given[0]["uri"]
    assert given[1]["uri"] == uri and (uri != clone.env["MONGODB_URI"]) == taken
    assert clone.mongods_started() == 1
    assert customers(uri) == 1, "both seeded"


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_is_taken_gives_another_which_is_found_again(clone: Clone, says: bytes) -> None:
    with foreign_listener(clone.port, says):
        first = clone.chat()
        second = clone.chat()
    assert first["uri"] == second["uri"] != clone.env["MONGODB_URI"]
    assert "is taken by another program" in first["said"]
    assert clone.mongods_started() == 1
    add_customer_in_transaction(first["uri"])


def test_a_program_that_stays_silent_is_waited_for_only_once(clone: Clone) -> None:
    clone.chat()
    ours, clone.port = clone.port, free_port()
    clone.env["MONGODB_URI"] = f"mongodb://localhost:{clone.port}"
    with socket.create_server(("127.0.0.1", clone.port)) as silent:
        assert clone.chat()["uri"] == f"mongodb://127.0.0.1:{ours}"
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize("user", ["", "me:secret@"])
def test_a_remote_uri_that_does_not_answer_is_an_error_and_never_replaced(
    monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("MONGODB_URI", f"mongodb://{user}nowhere.invalid")
    monkeypatch.setattr("settings.dotenv_values", lambda *_, **__: {})
    monkeypatch.setattr("local.commands.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("local.mongod.Mongod.start", lambda self: pytest.fail("replaced"))
    monkeypatch.setattr("sys.argv", ["local", "chat"])
    with pytest.raises(SystemExit) as exit:
        main()
    said = str(exit.value)
    assert "Cannot connect" in said
    assert "nowhere.invalid" in said
    assert "secret" not in said
    assert "\n" not in said


def test_stop_keeps_the_data(clone: Clone) -> None:
    uri = clone.chat()["uri"]
    stopped = clone.run("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert f"port {clone.port}" in stopped.stderr
    assert "seeded" not in clone.chat()["said"]
    assert customers(uri) == 1


def test_stop_ends_no_mongod_but_ours_and_says_so_when_none_runs(clone: Clone) -> None:
    with temporary_mongod() as stranger:
        clone.env["MONGODB_URI"] = stranger.uri
        (clone.folder / ".mongodb").mkdir()
        (clone.folder / ".mongodb" / "port").write_text(str(stranger.port))
        assert "No mongod" in clone.run("stop").stderr
        assert customers(stranger.uri) == 0


def test_seed_seeds_every_time_and_passes_its_arguments(clone: Clone) -> None:
    clone.run("seed")
    done = clone.run("seed", "--today", "2026-01-01")
    assert (done.returncode, done.stdout) == (0, "seeded --today 2026-01-01\n")
    assert customers(clone.env["MONGODB_URI"]) == 2


def test_without_a_key_recover_uses_the_rules_on_the_chats_database(clone: Clone) -> None:
    chat = clone.chat()
    done = clone.run("recover", "--older-than", "0")
    given = json.loads(done.stdout)
    assert (given["uri"], given["args"]) == (chat["uri"], ["--offline", "--older-than", "0"])
    assert "--offline" in done.stderr
    clone.env["OPENAI_API_KEY"] = "a key"
    assert json.loads(clone.run("recover").stdout)["args"] == []


def test_a_temporary_mongod_comes_back_after_a_kill_with_its_data() -> None:
    with temporary_mongod("--setParameter", "enableTestCommands=1") as mongod:
        with MongoClient[dict[str, Any]](mongod.uri, w="majority") as client:
            client.db.things.insert_one({"_id": 1})
            mongod.kill()
            mongod.start()
            assert client.db.things.count_documents({}) == 1
        folder = mongod.dbpath
    assert not folder.exists()
    assert mongod.process.returncode == 0, "it was not ended cleanly"


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["-h"], 0), ([], 1), (["x"], 1)])
def test_help_and_a_wrong_command_show_the_commands(arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert "chat | seed | recover | stop" in done.stdout
