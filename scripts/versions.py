"""Run the suite on every Python found, on the SDK's floor and newest release, and print a table.

    python -m scripts.versions [NAME ...]      # all rows, or those whose name contains a NAME

Each row gets a virtual environment of its own under `.versions/`, kept for the next time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def rows() -> Iterator[tuple[str, str, list[str]]]:
    """Name, interpreter, and what to install over requirements-dev.txt."""
    for version in PYTHONS:
        yield f"Python {version}", f"python{version}", []
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    floor = re.search(r"(?m)^openai-agents\[mongodb\]>=([\d.]+)", requirements)
    assert floor
    yield f"SDK {floor[1]}, the floor", sys.executable, [f"openai-agents[mongodb]~={floor[1]}.0"]
    yield "SDK, newest", sys.executable, ["--upgrade", "openai-agents[mongodb]"]
    yield "pymongo, newest", sys.executable, ["--upgrade", "pymongo"]


def works(interpreter: str) -> bool:
    """Whether it runs: some launchers stand for a version that is not installed."""
    found = shutil.which(interpreter)
    return (
        bool(found) and not subprocess.run([found or "", "-c", ""], capture_output=True).returncode
    )


def environment(name: str, interpreter: str, install: list[str]) -> Path:
    """The row's interpreter, with everything installed."""
    folder = ROOT / ".versions" / re.sub(r"\W+", "-", name)
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (["-r", "requirements-dev.txt"], install):
        if packages:
            subprocess.run([*pip, *packages], cwd=ROOT, check=True)
    return python


def versions(python: Path) -> str:
    code = (
        "import platform; from importlib.metadata import version as v;"
        "print(platform.python_version(), v('openai-agents'), v('pymongo'))"
    )
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def main() -> int:
    wanted = sys.argv[1:]
    failed = 0
    print(f"{'':24} {'python':9} {'SDK':9} {'pymongo':9} {'seconds':>7}  result", flush=True)
    for name, interpreter, install in rows():
        if wanted and not any(word in name for word in wanted):
            continue
        if not works(interpreter):
            print(f"{name:24} not installed here", flush=True)
            continue
        python = environment(name, interpreter, install)
        started = time.monotonic()
        suite = subprocess.run(
            [python, "-m", "pytest", "-n", "2", "-q", "--no-header", "-p", "no:cacheprovider"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - started
        found = "{:9} {:9} {:9}".format(*versions(python).split())
        result = suite.stdout.strip().splitlines()[-1] if suite.stdout.strip() else suite.stderr
        print(f"{name:24} {found} {seconds:7.0f}  {result}", flush=True)
        if suite.returncode:
            failed += 1
            print("\n".join(re.findall(r"(?m)^(?:FAILED|ERROR).*", suite.stdout)), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
