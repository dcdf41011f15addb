"""Where settings come from, and that no secret is printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settings import missing_setting
from tests.model_server import ModelServer, say
from tests.processes import ROOT, Shop, run

SECRET = "sk-never-to-be-seen"


def python(folder: Path, code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_only_the_env_file_of_the_project_counts(tmp_path: Path) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    shutil.copy(ROOT / "settings.py", project)
    (tmp_path / ".env").write_text("MONGODB_URI=mongodb://elsewhere\nOPENAI_MODEL=another\n")
    # Notepad writes a mark before the first variable, which is no part of its name.
    (project / ".env").write_text("\ufeffMONGODB_URI=mongodb://here\n", encoding="utf-8")
    code = "import os, settings; settings.load_settings(); "
    code += "print(os.environ.get('MONGODB_URI'), os.environ.get('OPENAI_MODEL'))"
    assert python(project, code) == "mongodb://here None\n"
    assert python(project, code, MONGODB_URI="mongodb://set") == "mongodb://set None\n"
    assert python(project, code, MONGODB_URI="") == "mongodb://here None\n"
    (project / ".env").unlink()
    assert python(project, code) == "None None\n"


SURROUNDINGS = [
    ("ALL_PROXY", "socks5://127.0.0.1:1"),
    ("all_proxy", "socks5h://127.0.0.1:1"),
    ("HTTPS_PROXY", "ftp://127.0.0.1:1"),
    ("SSL_CERT_FILE", "/nowhere/cert.pem"),
    ("SSL_CERT_FILE", __file__),  # a file without a certificate
    ("http_proxy", "http://[::1"),
]


@pytest.mark.parametrize(("name", "value"), SURROUNDINGS)
def test_what_the_surroundings_break_is_named_and_only_a_server_needs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv(name, value)
    assert (missing_setting(offline=False) or "").startswith(name)
    assert missing_setting(offline=True) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_BASE_URL", "foo"),
        ("OPENAI_BASE_URL", "http://[::1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1/v1?api-version=1"),
        ("OPENAI_API", "soap"),
        ("OPENAI_REPLAY_REASONING", "yes"),
        ("OPENAI_FIRST_SECONDS", "0"),
        ("OPENAI_HISTORY_TOKENS", "8k"),
        ("CONVERSATION_TTL_DAYS", "soon"),
        ("CONVERSATION_TTL_DAYS", "999999999999"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    problem = missing_setting(offline=True) or ""
    assert problem.startswith(f"{name} must be ") and "\n" not in problem


def test_what_stops_the_chat_is_one_line_and_offline_it_does_not(shop: Shop) -> None:
    broken = {"ALL_PROXY": "ftp://127.0.0.1:1"}
    done = run(shop, "--email", "bob@example.com", "hi", OPENAI_API_KEY="sk-x", **broken)
    assert done.returncode == 1 and done.stderr.startswith("ALL_PROXY must be ")
    assert done.stderr.count("\n") == 1
    done = run(shop, "--offline", "--email", "bob@example.com", "hi", **broken)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("content", [b"\xff\xfeA\0", b"A=\xe9", b"A=\0"])
def test_an_env_file_that_is_no_text_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    shutil.copy(ROOT / "settings.py", tmp_path)
    (tmp_path / ".env").write_bytes(content)
    told = python(tmp_path, "import settings; settings.load_settings()")
    assert told.startswith("Cannot read .env (") and told.count("\n") == 1


def test_a_key_with_a_line_break_behind_it_works(shop: Shop) -> None:
    with ModelServer([say("Hello!")]) as model:
        key = model.api_key + " \r\n"
        bob = "--email", "bob@example.com"
        done = run(shop, *bob, "hi", model=model, OPENAI_API_KEY=key)
    assert (done.returncode, "Hello!" in done.stdout) == (0, True), done.stderr


def test_a_key_that_no_header_holds_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (f"{SECRET}\nX: y", f"{SECRET}é", f"{SECRET}\t"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        problem = missing_setting(offline=False) or ""
        assert "OPENAI_API_KEY" in problem and SECRET not in problem


def test_debug_shows_tracebacks_and_no_secret(shop: Shop) -> None:
    host, port = shop.address or ("", 0)
    done = run(
        f"mongodb://me:{SECRET}@{host}:{port}/?authSource=admin", "--debug", "hi",
        lines="alice@example.com\n", OPENAI_API_KEY=SECRET,
    )  # fmt: skip
    assert "refused the login" in done.stderr and SECRET not in done.stdout + done.stderr
    with ModelServer([]) as closed:
        url = closed.base_url
    done = run(
        shop, "--debug", "--email", "alice@example.com", "hi",
        OPENAI_API_KEY=SECRET, OPENAI_BASE_URL=url,
    )  # fmt: skip
    assert "Traceback" in done.stderr and SECRET not in done.stdout + done.stderr


def test_a_log_line_holds_no_secret() -> None:
    code = "import logging, settings; settings.log_problems(debug=True)\n"
    code += f"try: raise ValueError('Bearer {SECRET} for mongodb://me:{SECRET}@host/db')\n"
    code += "except ValueError: logging.warning('It failed', exc_info=True)"
    said = python(ROOT, code, OPENAI_API_KEY=SECRET)
    assert "Bearer *** for mongodb://***@host/db" in said and SECRET not in said
