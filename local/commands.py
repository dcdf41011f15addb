"""`python -m local chat | seed | recover | stop`: what make runs after the installation."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO, Any, NoReturn

from pymongo import MongoClient, timeout
from pymongo.errors import PyMongoError

from database import CONNECT_SECONDS, DB_NAME, DatabaseUnavailable, explain, mongodb_uri, redact
from local.mongod import ensure_mongod, stop_mongod
from local.program import DATA, ROOT, locked, say
from settings import load_settings, only_rules


def chat(arguments: list[str]) -> NoReturn:
    """Become main.py, once there is a seeded database for it."""
    uri = os.environ["MONGODB_URI"] = ensure_mongod(mongodb_uri())
    # Two chats that start at once must not both seed.
    with locked():
        if is_empty(uri):
            if failed := run_seed([], stdout=sys.stderr):
                sys.exit(failed)
            say(f"Look with mongosh or Compass: {redact(uri)}")
    become("main.py", arguments)


def recover(arguments: list[str]) -> NoReturn:
    os.environ["MONGODB_URI"] = ensure_mongod(mongodb_uri())
    become("recover.py", arguments)


def become(program: str, arguments: list[str]) -> NoReturn:
    """Replace this process, so that the terminal and its signals go to `program`."""
    if only_rules():
        if "--offline" not in arguments:
            arguments = ["--offline", *arguments]
        say("No OPENAI_API_KEY is set: running --offline.")
    os.execv(sys.executable, [sys.executable, str(ROOT / program), *arguments])


def seed(arguments: list[str]) -> NoReturn:
    os.environ["MONGODB_URI"] = ensure_mongod(mongodb_uri())
    sys.exit(run_seed(arguments))


def stop(arguments: list[str]) -> None:
    if port := stop_mongod():
        say(f"Stopped mongod on port {port}. Its data stays in {DATA.name}/.")
    else:
        say("No mongod that we started is running.")


def is_empty(uri: str) -> bool:
    with timeout(CONNECT_SECONDS), MongoClient[dict[str, Any]](uri) as mongo:
        return mongo[DB_NAME].customers.find_one({}, {"_id": 1}) is None


def run_seed(arguments: list[str], stdout: IO[str] | None = None) -> int:
    command = [sys.executable, str(ROOT / "seed_data.py"), *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout).returncode


def main() -> None:
    commands = {"chat": chat, "seed": seed, "recover": recover, "stop": stop}
    name, *arguments = sys.argv[1:] or [""]
    if name not in commands:
        print(__doc__)
        sys.exit(name not in ("-h", "--help"))
    load_settings()
    try:
        commands[name](arguments)
    except PyMongoError as error:
        sys.exit(explain(error, mongodb_uri()))
    except (DatabaseUnavailable, OSError) as error:  # OSError: a folder that cannot be written
        sys.exit(str(error))
