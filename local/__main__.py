"""`python -m local chat | seed | stop`: what make runs once the packages are installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import IO, Any, NoReturn

from dotenv import load_dotenv
from pymongo import MongoClient, timeout
from pymongo.errors import PyMongoError

from database import CONNECT_SECONDS, DB_NAME, explain, mongodb_uri
from local.install import ROOT, locked, say
from local.mongod import ensure_mongod, stop_mongod
from local.program import DATA, Unavailable


def chat(arguments: list[str]) -> NoReturn:
    """Become main.py, once there is a seeded database for it."""
    uri = ensure_mongod(mongodb_uri())
    os.environ["MONGODB_URI"] = uri
    # Two chats that start at once must not both seed.
    with locked(DATA):
        if is_empty(uri) and (failed := run_seed([], stdout=sys.stderr)):
            sys.exit(failed)
    if not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
        if "--offline" not in arguments:
            arguments = ["--offline", *arguments]
        say("No OPENAI_API_KEY is set: running --offline.")
    become([sys.executable, str(ROOT / "main.py"), *arguments])


def seed(arguments: list[str]) -> NoReturn:
    os.environ["MONGODB_URI"] = ensure_mongod(mongodb_uri())
    sys.exit(run_seed(arguments))


def stop(arguments: list[str]) -> None:
    port = stop_mongod(mongodb_uri())
    if port is None:
        say("No mongod that we started is running.")
    else:
        say(f"Stopped mongod on port {port}. Its data stays in {DATA.name}/.")


def is_empty(uri: str) -> bool:
    try:
        with timeout(CONNECT_SECONDS), MongoClient[dict[str, Any]](uri) as mongo:
            return mongo[DB_NAME].customers.find_one({}, {"_id": 1}) is None
    except PyMongoError as error:
        raise Unavailable(explain(error, uri)) from error


def run_seed(arguments: list[str], stdout: IO[str] | None = None) -> int:
    command = [sys.executable, str(ROOT / "seed_data.py"), *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout).returncode


def become(command: list[str]) -> NoReturn:
    """Run `command` in place of this process, so that the terminal and its signals are its own."""
    if sys.platform != "win32":
        os.execv(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.run(command).returncode)


def main() -> None:
    commands = {"chat": chat, "seed": seed, "stop": stop}
    name, *arguments = sys.argv[1:] or [""]
    if name not in commands:
        print("usage: python -m local chat | seed | stop [arguments]", file=sys.stderr)
        sys.exit(2)
    # load_dotenv lets an empty variable hide the one in .env.
    for variable in ("MONGODB_URI", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        if not os.environ.get(variable):
            os.environ.pop(variable, None)
    load_dotenv()
    try:
        commands[name](arguments)
    except (Unavailable, OSError) as error:  # OSError: a folder that cannot be written
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
