"""main.py as customers run it: a process, its exit code, and the requests that a server accepts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGQUIT, Signals
from typing import Any

import pytest
from dns.resolver import LifetimeTimeout
from pymongo.errors import ConfigurationError, OperationFailure, ServerSelectionTimeoutError

from database import DB_NAME, DatabaseUnavailable, connect, explain, redact
from engine.errors import failure
from engine.events import Reason, TurnFailed
from local.mongod import Mongod, temporary_mongod
from settings import choose_model
from terminal.chat import words_for
from tests.model_server import ModelServer, call, fail, say, think
from tests.processes import ROOT, Shop, chat, order_of, run


def test_a_return_is_asked_made_and_remembered(shop: Shop, model: ModelServer) -> None:
    reason = {"order_id": "ORD-1001", "reason": "Not powerful enough"}
    ask = think() + call("initiate_return", reason)
    model.script(call("transfer_to_orders"), ask, say("Your return is **on its way**."))
    first = run(shop, lines="  ALICE@Example.com \nreturn my laptop\ny\n", model=model)
    assert first.returncode == 0, first.stderr
    assert "Hello, Alice. How can I help?" in first.stdout, "case and spaces do not count"
    assert "Refund $1,484.98 (includes 10% Gold loyalty bonus)." in first.stdout
    assert "Your return is **on its way**." in first.stdout
    notices = "→ Orders\n· Preparing the return\n· Return initiated for order ORD-1001.\n"
    assert notices in first.stderr
    assert "Goodbye. Run again with alice@example.com to continue." in first.stdout
    assert order_of(shop)["return"]["refund_cents"] == 148_498

    model.script(call("initiate_return", reason), say("It exists already."))
    second = run(shop, lines="alice@example.com\nreturn it again\n", model=model)
    assert "Welcome back, Alice: 2 messages" in second.stdout
    assert "[y/N]" not in second.stdout
    sent = json.dumps(model.requests[-1]["input"])
    assert "return my laptop" in sent
    assert "already has a return" in sent
    assert model.requests[-1]["model"] == "Test-Model"
    assert model.requests[-1]["parallel_tool_calls"] is False


THREE = "alice@example.com, bob@example.com or carol@example.com"
# How it is started, what is piped to it, and all that it says on standard error.
NO_START: list[tuple[list[str], str, str]] = [
    (["--offline"], "x@y\nalice@example.com\n", f'No customer has the email "x@y". Try {THREE}.\n'),
    ([], "alice@example.com\n", "OPENAI_API_KEY is not set. Put it in .env, or try --offline.\n"),
    (["--offline", "hi"], "", "Not answered: say who asks, such as --email alice@example.com.\n"),
]


@pytest.mark.parametrize(("arguments", "lines", "told"), NO_START)
def test_what_cannot_start_says_why_and_exits_with_1(
    shop: Shop, arguments: list[str], lines: str, told: str
) -> None:
    done = run(shop, *arguments, lines=lines)
    assert (done.returncode, done.stderr) == (1, told)
    assert ("Shop support" in done.stdout) == lines.startswith("x@y")


def test_no_input_is_no_error(shop: Shop) -> None:
    assert run(shop, "--offline", lines="").returncode == 0


def test_what_failed_on_the_command_line_the_chat_answers(shop: Shop, model: ModelServer) -> None:
    model.script(fail(400), say("Hello."))
    first = run(shop, "--email", "alice@example.com", "hello", model=model)
    assert first.returncode == 1
    assert first.stderr.endswith("--debug shows why; in the chat, /retry asks again.\n")
    second = run(shop, "--email", "alice@example.com", lines="/retry\n", model=model)
    assert "Hello.\n" in second.stdout
    assert [item["content"] for item in model.requests[-1]["input"]] == ["hello"]


@pytest.mark.parametrize("reason", Reason)
def test_no_command_is_advised_where_none_can_be_typed(reason: Reason) -> None:
    told = words_for(TurnFailed(reason), prompt=False)
    assert "/" not in re.sub("in the chat, /", "", told, flags=re.I)
    assert "{" not in told and "{" not in words_for(TurnFailed(reason))


def test_tokens_that_no_server_counted_are_not_called_none(shop: Shop, model: ModelServer) -> None:
    model.script(say("Hello."), fail(400))
    lines = "alice@example.com\nhello\nhello?\n"
    done = run(shop, "--usage", lines=lines, model=model)
    counted, none, failed = done.stderr.splitlines()
    assert counted.startswith("· 1 finished model call: ") and "refused the request" in failed
    assert none == "· No model call was finished, so no tokens were counted."
    assert done.returncode == 0


def test_an_empty_database_says_to_seed(shop: Shop) -> None:
    shop[DB_NAME].customers.delete_many({})
    done = run(shop, "--offline", lines="alice@example.com\n")
    assert done.returncode == 1
    assert "Run: python seed_data.py" in done.stderr


@pytest.mark.parametrize("program", ["main.py --offline", "seed_data.py"])
def test_without_mongodb_it_says_so_without_the_password(closed_port: int, program: str) -> None:
    uri, (file, *arguments) = f"mongodb://me:secret@127.0.0.1:{closed_port}", program.split()
    done = run(uri, *arguments, program=file, lines="alice@example.com\n")
    assert done.returncode == 1
    assert done.stderr == (
        f"Cannot connect to MongoDB (mongodb://***@127.0.0.1:{closed_port}): connection refused. "
        "Start it (`make chat` does, on this machine), or set MONGODB_URI.\n"
    )


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("mongodb://localhost:27017", True),
        ("mongodb://me:x@127.0.0.1/?authSource=admin", True),
        ("mongodb://[::1]:27017/shop", True),
        ("mongodb://db.example.net", False),
        ("mongodb://localhost.example.net:27017", False),
        ("mongodb+srv://me:x@cluster.example.net", False),
        ("mongodb://localhost:x@db.example.net", False),
    ],
)
def test_only_a_mongodb_of_this_machine_is_started_by_make_chat(uri: str, here: bool) -> None:
    told = explain(ServerSelectionTimeoutError("no answer"), uri)
    assert ("`make chat`" in told, "Check MONGODB_URI" in told) == (here, not here)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:hunter2@h/",
        "mongodb://me:hunter2@a:1,b:2,c/?replicaSet=x",
        "mongodb+srv://me:hunter2@cluster.example.net",
        "MongoDB://me:x@hunter2@h",
        "mongodb://me:a hunter2@h",
        "mongodb://me:a\nhunter2@h",
        "mongodb://h/?tlsCertificateKeyFilePassword=hunter2&appName=x",
        "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:hunter2",
    ],
)
def test_no_secret_of_a_uri_is_shown(uri: str) -> None:
    assert "hunter2" not in redact(uri)
    assert "hunter2" not in redact(f"Invalid: {uri} (see the manual)")
    assert "hunter2" not in explain(ConfigurationError(f"in {uri}"), uri)


ATLAS = "mongodb+srv://me:hunter2@cluster.example.net"
DENIED = {
    "ok": 0.0,
    "errmsg": 'not authorized on shop to execute command { find: "customers", filter: { x: 1 } }',
    "code": 13,
    "codeName": "Unauthorized",
    "$clusterTime": {"clusterTime": "Timestamp(1, 1)"},
}
TLS_ALERT = "SSL handshake failed: a:27017: [SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationFailure("bad auth", 8000, {"codeName": "AtlasError"}), "refused the login."),
        (OperationFailure(str(DENIED), 13, DENIED), "refused a command: not authorized on shop"),
        (ServerSelectionTimeoutError(TLS_ALERT), "put this machine's address on the IP access"),
        (ConfigurationError("The DNS query name does not exist: _mongodb._tcp.x."), "resolved."),
        (ConfigurationError("Unknown option foo"), "MONGODB_URI is not valid: Unknown option foo"),
    ],
)
def test_what_mongodb_refuses_is_told_without_the_command(error: Exception, told: str) -> None:
    line = explain(error, ATLAS)
    assert told in line and "hunter2" not in line
    assert "customers" not in line and "Timestamp" not in line and len(line) < 200
    if isinstance(error, OperationFailure):
        assert "customers" not in str(failure(error))


async def test_a_name_that_no_dns_knows_ends_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []

    async def silent(*_: Any, lifetime: float, **__: Any) -> None:
        seconds.append(lifetime)
        raise LifetimeTimeout(timeout=lifetime, errors=[])  # type: ignore[no-untyped-call]

    monkeypatch.setattr("dns.asyncresolver.resolve", silent)
    with pytest.raises(DatabaseUnavailable, match="its name cannot be resolved"):
        await connect(ATLAS)
    assert seconds and sum(seconds) <= 6


async def test_writes_are_on_disk_unless_the_uri_says_otherwise(mongod: Mongod) -> None:
    async with await connect(mongod.uri) as client:
        # A replica set's own default is majority; in a transaction none may be sent.
        default = await client.admin.command("getDefaultRWConcern")
        assert default["defaultWriteConcern"] == {"w": "majority", "wtimeout": 0}
        assert client.write_concern.document == {}
        assert client.options.timeout == 15
    async with await connect(f"{mongod.uri}/?w=1&timeoutMS=7000") as client:
        assert client.write_concern.document == {}
        assert client.options.timeout == 7
    with temporary_mongod(replica_set=False) as standalone:
        async with await connect(standalone.uri) as client:
            assert client.write_concern.document == {"w": "majority"}
        async with await connect(f"{standalone.uri}/?w=1&timeoutMS=7000") as client:
            assert client.write_concern.document == {"w": 1}
            assert client.options.timeout == 7


@pytest.mark.parametrize(
    ("offline", "key", "url", "traced"),
    [
        (False, "sk-x", None, True),
        (False, "sk-x", "https://api.openai.com/v1/", True),
        (False, "sk-x", "http://127.0.0.1:1/v1", False),
        (False, None, "http://127.0.0.1:1/v1", False),
        (True, "sk-x", None, False),
    ],
)
def test_traces_go_only_where_the_model_is(
    offline: bool, key: str | None, url: str | None, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disabled: list[bool] = []
    monkeypatch.setattr("settings._disable_tracing", lambda: disabled.append(True))
    for name, value in {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": url}.items():
        monkeypatch.setenv(name, value or "")
    choose_model(offline)
    assert disabled == ([] if traced else [True])


def test_a_question_on_the_command_line_that_needs_a_yes_exits_with_1(shop: Shop) -> None:
    question = "I want to return ORD-1001, too heavy"
    done = run(shop, "--offline", "--email", "alice@example.com", question, lines="")
    assert "Make this return? [y/N]" in done.stdout
    assert done.returncode == 1
    told = "the chat asks again when you are back, unless you send another message before.\n"
    assert done.stderr.endswith(f"Not decided: {told}")
    assert order_of(shop)["return"] is None
    assert "Make this return? [y/N]" in run(shop, "--offline", lines="alice@example.com\n").stdout
    withdrawn = run(shop, "--offline", "--email", "alice@example.com", "Where is ORD-1002?")
    assert withdrawn.returncode == 0, withdrawn.stderr
    assert "The return of ORD-1001 that waited for your yes was not made." in withdrawn.stdout
    assert "TRK-7781002" in withdrawn.stdout
    for words in ("Shop support", "Email", "Goodbye"):
        assert words not in withdrawn.stdout
    assert shop[DB_NAME].conversations.find_one()["pending"] is None


def test_end_of_input_at_reset_forgets_nothing(shop: Shop) -> None:
    done = run(shop, "--offline", lines="alice@example.com\nhello\n/reset\n")
    assert done.stderr == "Not decided.\n"
    assert shop[DB_NAME].conversations.count_documents({}) == 1


def test_end_of_input_at_the_question_leaves_it_for_the_next_login_and_a_no_closes_it(
    shop: Shop, model: ModelServer
) -> None:
    ask = call("initiate_return", {"order_id": "ORD-1001", "reason": "x"})
    model.script(call("transfer_to_orders"), ask, say("Very well."))
    first = run(shop, lines="alice@example.com\nreturn it\n", model=model)
    assert first.returncode == 0, first.stderr
    done = run(shop, lines="alice@example.com\nn\n/history\n", model=model)
    assert done.returncode == 0, done.stderr
    assert "Refund $1,484.98" in done.stdout
    assert "Make this return? [y/N] n\nNothing was returned.\n\nVery well.\n" in done.stdout
    assert "Very well.\n" in done.stdout.rpartition("> /history\n")[2]
    assert shop[DB_NAME].conversations.find_one()["pending"] is None
    assert order_of(shop)["return"] is None


@pytest.mark.parametrize(
    ("sent", "number"),
    [("hi", SIGINT), ("/retry", SIGINT), ("hi", SIGHUP), ("hi", SIGQUIT)],
)
def test_a_signal_in_mid_turn_gives_back_the_lease(
    shop: Shop, model: ModelServer, sent: str, number: Signals
) -> None:
    model.script(fail(400))
    with chat(shop, "--email", "alice@example.com", model=model) as running:
        running.type("hello")
        assert "refused the request" in running.stderr.readline()
        gate = model.hold()
        model.script(say("Never."))
        running.type(sent)
        gate.wait_reached(30)
        assert shop[DB_NAME].conversations.find_one()["lease"]
        os.kill(running.pid, number)
        assert running.finish().returncode == 128 + number
        gate.release()
    assert shop[DB_NAME].conversations.find_one()["lease"] is None


def test_commands_answer_and_unknown_ones_are_named(shop: Shop) -> None:
    lines = "alice@example.com\nhello\n/history\n/inspect\n/nonsense\n/retry\n/reset\ny\n/quit\n"
    done = run(shop, "--offline", lines=lines)
    assert done.returncode == 0, done.stderr
    assert "not a language model" in done.stdout
    assert done.stdout.count("> hello") == 2
    assert 'db.agent_messages.find({session_id: "support_alice_at_example_com", ' in done.stdout
    assert "Unknown command /nonsense. Try /help.\n" in done.stderr
    assert "there is nothing to retry" in done.stderr
    assert shop[DB_NAME].conversations.count_documents({}) == 0
    assert shop[DB_NAME].agent_messages.count_documents({}) == 0


@pytest.mark.parametrize(
    "command, imported", [(["-m", "local", "chat"], "pymongo"), (["main.py"], "dotenv")]
)
def test_ctrl_c_while_it_imports_shows_no_traceback(
    tmp_path: Path, command: list[str], imported: str
) -> None:
    (tmp_path / f"{imported}.py").write_text("raise KeyboardInterrupt")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_help_is_instant_and_imports_nothing_slow() -> None:
    code = (
        "import runpy, sys; sys.argv = ['main.py', '--help']; sys.path.insert(0, '')\n"
        "try: runpy.run_path('main.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "slow = {'agents', 'openai', 'pymongo', 'rich', 'prompt_toolkit'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=20)
