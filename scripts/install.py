"""Installs the packages that requirement files list into .venv, once; the Makefile calls it.

    python3 scripts/install.py FILE.txt ...

The first file's stamp, .venv/FILE.done, tells make that this was done. Pythons that are too old for
the chat must be able to read this file, and it uses the standard library alone.
"""

import fcntl
import os
import subprocess
import sys
from importlib.util import find_spec

PYTHON = ".venv/bin/python"

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(
        f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}. "
        "Name another with PYTHON=, such as: make chat PYTHON=python3.12"
    )
if not find_spec("ensurepip"):
    sys.exit(
        "This Python cannot make virtual environments. "
        "On Debian and Ubuntu: sudo apt install python3-venv"
    )


def installed(files: list[str]) -> bool:
    """Whether the stamp is newer than the files, and its Python still runs."""
    stamp = stamps(files)[0]
    if not os.path.exists(stamp) or not runs("-c", ""):
        return False
    return all(os.path.getmtime(file) <= os.path.getmtime(stamp) for file in files)


def stamps(files: list[str]) -> list[str]:
    return [os.path.join(".venv", file.replace(".txt", ".done")) for file in files]


def runs(*arguments: str) -> bool:
    try:
        return not subprocess.run([PYTHON, *arguments], capture_output=True).returncode
    except OSError:
        return False


def do(*command: str) -> None:
    """Run it; what it says is of interest only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}It failed; run it again to resume.")


def install(files: list[str]) -> None:
    print("Installing packages in .venv (once) ...", file=sys.stderr)
    if not runs("-m", "pip", "--version"):  # none yet, or an upgrade took its Python away
        do(sys.executable, "-m", "venv", "--clear", ".venv")
    wanted = [part for file in files for part in ("-r", file)]
    do(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
    for stamp in stamps(files):
        with open(stamp, "w"):
            pass


if __name__ == "__main__":
    with open("requirements.txt") as lock:  # two makes at once: one installs, the other waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed(sys.argv[1:]):
            install(sys.argv[1:])
