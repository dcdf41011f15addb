"""Makes `.venv` and installs the given requirements files into it, once.

It runs before anything is installed, so it may import the standard library only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

if sys.platform != "win32":
    import fcntl

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def say(text: str) -> None:
    """To stderr: stdout belongs to the chat."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out until the end of the block, or of this process."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installed(names: list[str]) -> bool:
    """Whether all of these requirements files were installed as they are now."""
    copies = [VENV / name for name in names]
    return PYTHON.exists() and all(
        copy.exists() and copy.read_bytes() == (ROOT / copy.name).read_bytes() for copy in copies
    )


def install(names: list[str]) -> None:
    if find_spec("ensurepip") is None:
        sys.exit(
            "This Python cannot make virtual environments. "
            "On Debian and Ubuntu: sudo apt install python3-venv"
        )
    say("Installing the Python packages into .venv (once) ...")
    # Gone until the end: an interrupted installation must not pass for a finished one.
    for name in names:
        (VENV / name).unlink(missing_ok=True)
    if not PYTHON.exists():
        # Links to a Python that was since upgraded away; venv would keep them.
        for link in PYTHON.parent.glob("python*"):
            link.unlink()
    run(sys.executable, "-m", "venv", str(VENV))
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, *(word for name in names for word in ("-r", str(ROOT / name))))
    for name in names:
        (VENV / name).write_bytes((ROOT / name).read_bytes())


def run(*command: str) -> None:
    """Its output is shown only where it fails; its stdin is not ours, which is the chat's."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        sys.exit(f"{done.stdout.strip()}\nThe installation failed; run it again to resume.")


if __name__ == "__main__":
    try:
        with locked(VENV):
            if not installed(sys.argv[1:]):
                install(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
