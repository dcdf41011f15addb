"""The suite is green whatever surrounds it: any window, any settings, nohup, a proxy, a `.env`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests import KEPT
from tests.processes import ROOT

# Tests that fail if they read, or their processes inherit, what is hostile here.
PART = [
    "tests/test_surroundings.py::"
    "test_a_process_that_a_test_starts_inherits_nothing_of_the_surroundings",
    "tests/test_terminal.py::test_inspect_hides_nothing_and_obeys_nothing",  # a wide window
    "tests/test_terminal.py::test_a_piped_session_reads_like_one_and_keeps_its_notices_apart",
    "tests/test_terminal.py::test_a_start_shows_that_it_works",  # a .env
    "tests/test_main.py::test_a_signal_in_mid_turn_gives_back_the_lease",
    "tests/test_main.py::test_what_failed_on_the_command_line_the_chat_answers",  # a proxy
]
NOWHERE = "127.0.0.1:9"
HOSTILE = {
    **{"NO_COLOR": "1", "TERM": "dumb", "TZ": "Asia/Kolkata", "LC_ALL": "C"},
    **{"HTTP_PROXY": f"http://{NOWHERE}", "ALL_PROXY": f"socks5://{NOWHERE}"},
    **{"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    **{"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"},
    **{"OPENAI_API_KEY": "a developer's own", "GIT_DIR": "/nowhere"},
}


def test_a_process_that_a_test_starts_inherits_nothing_of_the_surroundings() -> None:
    names = "import os; print(*os.environ)"
    run = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True)
    more = [name for name in run.stdout.split() if not name.startswith(KEPT)]
    assert set(more) <= {"TZ", "SSL_CERT_DIR", "LC_CTYPE"}  # Python itself sets the last


@pytest.mark.timeout(330)  # ten seconds, and a suite beside it
@pytest.mark.parametrize(("columns", "workers", "part"), [(40, "0", PART), (200, "1", PART[:3])])
def test_a_part_of_the_suite_is_green_in_hostile_surroundings(
    tmp_path: Path, columns: int, workers: str, part: list[str]
) -> None:
    """All without a worker, as one types it; and some with one, as `make test` runs it."""
    for file in [*ROOT.glob("*.py"), *ROOT.glob("*.toml")]:
        shutil.copy(file, tmp_path)
    for name in ("engine", "terminal", "local", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / ".env").write_text("OPENAI_API=soap\nCONVERSATION_TTL_DAYS=never\n")
    # -E as in the Makefile: it keeps the PYTHON variables from pytest itself.
    command = [sys.executable, "-E", "-m", "pytest", "-n", workers, "-q", "--tb=short", *part]
    done: Any = pexpect.run(
        "sh",
        args=["-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh", *command],
        cwd=str(tmp_path),
        env={**os.environ, **HOSTILE},
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=300,
        withexitstatus=True,
    )
    output, code = done
    assert code == 0, output
