"""main.py, or an example, as real processes, forked from one that has imported the SDK already.

A start costs 0.1 s instead of seconds; a process can be killed, stopped and spoken to like any.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from pymongo import MongoClient

import settings
from engine.options import Limits
from tests.model_server import ModelServer

ROOT = Path(__file__).parent.parent
Shop = MongoClient[dict[str, Any]]

_forks = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    multiprocessing.set_forkserver_preload(["tests.warm"])


def new_process(target: Callable[..., None], *arguments: Any) -> Any:
    """It has started; it ends with this process, at the latest."""
    process = _forks.Process(target=target, args=arguments, daemon=True)  # type: ignore[attr-defined]
    process.start()
    return process


class Chat:
    """A running main.py: type lines into `stdin`, read `stdout` and `stderr`."""

    def __init__(self, become: tuple[Any, ...], stdout: str) -> None:
        """`become` is what `_become` takes; `stdout` names a file, or nothing."""
        (their_in, our_in), (our_out, their_out), (our_err, their_err) = (
            _forks.Pipe(duplex=False) for _ in range(3)
        )
        self._process = new_process(_main, become, their_in, their_out, their_err, stdout)
        for end in (their_in, their_out, their_err):
            end.close()
        self.pid = self._process.pid or 0
        self.stdin = _stream(our_in, "w")
        self.stdout, self.stderr = _stream(our_out, "r"), _stream(our_err, "r")

    def type(self, line: str) -> None:
        self.stdin.write(line + "\n")
        self.stdin.flush()

    def wait_for(self, start: str) -> str:
        """Read on to the line of standard output that begins so; the line."""
        for line in self.stdout:
            if line.removeprefix("> ").startswith(start):
                return line
        raise AssertionError(f"the chat ended without saying {start!r}: {self.stderr.read()}")

    def finish(self, lines: str = "") -> subprocess.CompletedProcess[str]:
        """Type `lines`, end the input, and wait for the end."""
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        reader.start()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(lines)
            self.stdin.close()
        output = self.stdout.read()
        self._process.join()
        reader.join()
        code = self._process.exitcode or 0
        return subprocess.CompletedProcess(["main.py"], code, output, errors[0])

    def ends_within(self, seconds: float) -> bool:
        self._process.join(seconds)
        return not self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def chat(
    shop: Shop | str,
    *arguments: str,
    model: ModelServer | None = None,
    program: str = "main.py",
    stdout: str = "",
    folder: Path = ROOT,
    lease: float = Limits().lease_seconds,
    **environment: str,
) -> Iterator[Chat]:
    """Start the program on this shop and model; it is killed in the end, wherever it then is.

    `stdout`: a file to write to; else it is read by `Chat.stdout`. `folder` holds the product, or a
    copy of it that was changed. `lease` is in seconds.
    """
    env = {**os.environ, **access(shop, model)}
    running = Chat((folder, lease, program, arguments, env | environment), stdout)
    # A chat that says nothing would keep a test reading for ever.
    watchdog = threading.Timer(60, running.kill)
    watchdog.start()
    try:
        yield running
    finally:
        watchdog.cancel()
        running.kill()


def access(shop: Shop | str, model: ModelServer | None = None) -> dict[str, str]:
    """The settings with which a program reaches this MongoDB and this model's server."""
    if not isinstance(shop, str):
        shop = "mongodb://{}:{}".format(*(shop.address or ()))
    if not model:
        return {"MONGODB_URI": shop}
    server = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.api_key}
    return {"MONGODB_URI": shop, "OPENAI_MODEL": "Test-Model", **server}


def run(
    shop: Shop | str, *arguments: str, lines: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the program with `lines` as its whole standard input; `options` are those of `chat`."""
    with chat(shop, *arguments, **options) as running:
        return running.finish(lines)


def order_of(shop: Shop, order_id: str = "ORD-1001") -> dict[str, Any]:
    found = shop.ecommerce_support.orders.find_one({"_id": order_id})
    assert found
    return found


def times_returned(order: dict[str, Any]) -> int:
    return [past["status"] for past in order["history"]].count("return initiated")


def _stream(end: Connection, mode: str) -> IO[str]:
    return open(os.dup(end.fileno()), mode, encoding="utf-8", closefd=True)


def on_terminal(
    program: str, arguments: tuple[str, ...], environment: dict[str, str], end: Any
) -> None:
    """For `new_process`: become `python PROGRAM ARGUMENTS` at the terminal `end`, a DupFd."""
    import fcntl
    import termios

    os.setsid()
    terminal = end.detach()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)  # Ctrl-C there is for this process
    for number in range(3):
        os.dup2(terminal, number)
    os.close(terminal)
    _become(ROOT, Limits().lease_seconds, program, arguments, environment)


def _main(
    become: tuple[Any, ...], stdin: Connection, stdout: Connection, stderr: Connection, file: str
) -> None:
    for number, end in enumerate((stdin, stdout, stderr)):
        os.dup2(end.fileno(), number)
        end.close()
    if file:
        os.dup2(os.open(file, os.O_WRONLY), 1)
    _become(*become)


def _become(
    folder: Path,
    lease: float,
    program: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
) -> None:
    """What the forked process does: become `python PROGRAM ARGUMENTS` in this folder."""
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    vars(settings)["dotenv_values"] = lambda *_, **__: {}  # a developer's own
    defaults: Any = vars(Limits)["__init__"].__kwdefaults__
    defaults["lease_seconds"] = lease
    if folder != ROOT:
        _leave_the_product()
        sys.path.insert(0, str(folder))
    sys.argv = [program, *arguments]
    code = 1
    try:
        runpy.run_path(program, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_the_product() -> None:
    """Its modules are then imported anew, from the folder of a copy; the libraries stay."""
    sys.path = [path for path in sys.path if Path(path).resolve() != ROOT]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if Path(file).is_relative_to(ROOT) and not Path(file).is_relative_to(sys.prefix):
            del sys.modules[name]
