"""What the Makefile promises about the environment; make, venv and pip are the real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.program import ROOT

# In place of the chat: what it was given, and which Python runs it.
CHAT = "import sys; print(sys.argv[1:], sys.stdin.read(), sys.prefix)"
ONCE = "Installing packages in .venv (once) ...\n"


class Clone:
    """A folder with the real Makefile, whose requirements are none: pip needs no network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "local").mkdir()
        (folder / "local" / "__main__.py").write_text(CHAT)
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "install.py", folder / "scripts")
        self.require("")

    def require(self, text: str) -> None:
        (self.folder / "requirements.txt").write_text(f"--no-index\n{text}\n")
        (self.folder / "requirements-dev.txt").write_text("-r requirements.txt\n")

    def start(self, *arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["make", *(arguments or ["chat"]), f"PYTHON={python}"],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PIP_", "ARGS"))},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    def make(self, *arguments: str, python: str = sys.executable) -> tuple[str, str]:
        return self.start(*arguments, python=python).communicate("hello", timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_packages_are_installed_again_only_if_their_list_or_python_changed(clone: Clone) -> None:
    """And once by two makes at once, whose chats have the standard input."""
    done = ".venv/requirements-dev.done"
    assert clone.make(done)[1] == ONCE
    assert clone.make()[1] == "", "what is installed for the tests is enough for the chat"
    clone.require("# another")
    assert clone.make()[1] == ONCE
    assert clone.make(done)[1] == ONCE
    for link in (clone.folder / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    both = [clone.start(), clone.start()]
    heard = [make.communicate("hello", timeout=60) for make in both]
    given = f"['chat'] hello {clone.folder / '.venv'}\n"
    assert [out for out, _ in heard] == [given, given]
    assert sorted(err for _, err in heard) == ["", ONCE]


def test_an_installation_that_failed_or_was_interrupted_is_resumed(clone: Clone) -> None:
    with clone.start() as make:
        while not (clone.folder / ".venv" / "bin" / "python").exists():
            time.sleep(0.01)
        os.killpg(make.pid, signal.SIGINT)
        assert make.wait(30)
    clone.require("no-such-package")
    out, err = clone.make()
    assert out == ""
    assert "No matching distribution found for no-such-package" in err
    assert "It failed; run it again to resume." in err
    clone.require("")
    out, err = clone.make()
    assert out
    assert err == ONCE


@pytest.mark.parametrize(
    "lack, said",
    [
        ("sys.version_info, sys.version = (3, 9, 1), '3.9.1'", "Python 3.10 or newer is needed; "),
        ("sys.modules['ensurepip'] = None", "This Python cannot make virtual environments. "),
    ],
)
def test_a_python_that_will_not_do_is_told_in_words(clone: Clone, lack: str, said: str) -> None:
    python = clone.folder / "python"
    script = f"import sys; {lack}; exec(open(sys.argv[1]).read())"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}" "$1"\n')
    python.chmod(0o755)
    out, err = clone.make(python=str(python))
    assert out == ""
    assert err.startswith(said)
    assert not (clone.folder / ".venv").exists()
