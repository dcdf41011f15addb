"""A mongod for a machine that has none: found or installed, started, found again, stopped."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bson
from pymongo import MongoClient, timeout
from pymongo.errors import AutoReconnect, ConnectionFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from database import CONNECT_SECONDS, explain, redact
from local.install import say
from local.program import DATA, OTHER_WAYS, Unavailable, find_mongod

PORT_FILE = DATA / "port"
START_SECONDS, PROBE_SECONDS = 60, 2
PORT_TAKEN = 48  # an exit code of mongod's
OP_MSG = 2013  # the wire protocol's one message type


class InUse(Unavailable):
    """Another mongod holds the port or the data: perhaps one that was started just now."""


@dataclass
class Mongod:
    """A mongod on 127.0.0.1; its log is `mongod.log` beside `dbpath`."""

    program: str
    dbpath: Path
    port: int
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def log(self) -> Path:
        return self.dbpath.parent / "mongod.log"

    def start(self) -> None:
        """Returns when it answers; raises Unavailable where it does not, InUse where it may yet."""
        self.dbpath.mkdir(parents=True, exist_ok=True)
        command = [
            *(self.program, "--dbpath", str(self.dbpath), "--port", str(self.port)),
            *("--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "0.25"),
            # Not zlib: CVE-2025-14847, which 6.0.5 has.
            *("--networkMessageCompressors", "snappy,zstd"),
            *(() if sys.platform == "win32" else ("--nounixsocket",)),
            *self.arguments,
        ]
        with open(self.log, "ab") as log:
            begin = log.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Away from the terminal, or Ctrl-C in the chat would end it.
                start_new_session=True,
                creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),
            )
        try:
            self._wait(self.process, begin)
        except BaseException:
            self.kill()
            raise

    def _wait(self, process: subprocess.Popen[bytes], begin: int) -> None:
        end = time.monotonic() + START_SECONDS
        while not answers("127.0.0.1", self.port):
            if process.poll() is not None:
                why = complaint(self.log, begin) or f"exit code {process.returncode}"
                in_use = process.returncode == PORT_TAKEN or "DBPathInUse" in why
                raise (InUse if in_use else Unavailable)(f"mongod did not start: {why}")
            if time.monotonic() > end:
                raise Unavailable(f"mongod did not answer in {START_SECONDS} s; see {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM: a clean end."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL: what a crash does."""
        if self.process:
            self.process.kill()
            self.process.wait()


def ensure_mongod(uri: str) -> str:
    """The URI of a MongoDB that answers: `uri`, or that of a mongod of ours in its place.

    Raises Unavailable where `uri` does not answer and is not a plain address of this machine.
    """
    address = local_address(uri)
    if address is None:
        reach(uri)
        return uri
    # Asked once: what takes connections and stays silent costs PROBE_SECONDS.
    taken = listens(*address) and not answers(*address)
    if found := find_running(uri, address, taken):
        return found
    program, version = find_mongod()
    say(f"Starting mongod {version} (data in {DATA.name}/, `make stop` ends it) ...")
    end = time.monotonic() + START_SECONDS
    # Another `make chat` may be first, at any moment: then its mongod is ours to use.
    while not (found := find_running(uri, address, taken)):
        port = free_port() if taken else address[1]
        try:
            Mongod(program, DATA / version, port).start()
            PORT_FILE.write_text(str(port))
        except InUse as error:
            if time.monotonic() > end:
                raise Unavailable(f"{error}. {OTHER_WAYS}") from error
            time.sleep(0.2)
    return found


def find_running(uri: str, address: tuple[str, int], taken: bool) -> str | None:
    """`uri` where a MongoDB answers there, else the URI of the mongod that we started before."""
    if not taken and answers(*address):
        return uri
    port = running()
    if port is None:
        return None
    why = f"; {redact(uri)} is taken by another program" if taken else ""
    say(f"MongoDB is on port {port}{why}.")
    return f"mongodb://127.0.0.1:{port}"


def stop_mongod(uri: str) -> int | None:
    """End the mongod that we started; returns its port, None where none runs."""
    address = local_address(uri)
    port = running() or (address and holds(address[1]) and address[1])
    if not port:
        return None
    # Asked over its own port rather than signalled: a stored pid may be a stranger's by now.
    with connect(port) as ours, suppress(AutoReconnect):
        ours.admin.command("shutdown")
    PORT_FILE.unlink(missing_ok=True)
    return port


@contextmanager
def temporary_mongod(*arguments: str) -> Iterator[Mongod]:
    """A mongod with data of its own on a free port, gone at the end of the block.

    `arguments` go to mongod as they are, such as `"--replSet", "rs0"`.
    """
    program, _ = find_mongod()
    with TemporaryDirectory(prefix="mongod-", ignore_cleanup_errors=True) as folder:
        while True:
            mongod = Mongod(program, Path(folder, "data"), free_port(), arguments)
            with suppress(InUse):  # somebody was faster at that port
                mongod.start()
                break
        try:
            yield mongod
        finally:
            mongod.stop()


def local_address(uri: str) -> tuple[str, int] | None:
    """Host and port where `uri` is a plain address of this machine: what we could stand in for."""
    if uri.lower().startswith("mongodb+srv:"):
        return None
    try:
        parsed = parse_uri(uri)
    except (PyMongoError, ValueError) as error:
        raise Unavailable(explain(error, uri)) from error
    (host, port), *more = parsed["nodelist"]
    options = {name.lower() for name in parsed["options"]}
    if more or parsed["username"] or options & {"replicaset", "tls"} or not is_loopback(host):
        return None
    return host, port


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def connect(port: int) -> MongoClient[dict[str, Any]]:
    ms = PROBE_SECONDS * 1000
    return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=ms)


def reach(uri: str) -> None:
    """Raises Unavailable where no MongoDB answers at `uri`."""
    try:
        with timeout(CONNECT_SECONDS), MongoClient[dict[str, Any]](uri) as remote:
            remote.admin.command("ping")
    except ConnectionFailure as error:
        why = re.split(r" \(configured|, Timeout", redact(str(error)))[0]
        raise Unavailable(
            f"MongoDB ({redact(uri)}) does not answer: {why}. "
            "Check MONGODB_URI; only a plain address of this machine gets a mongod of its own."
        ) from error
    except (PyMongoError, ValueError) as error:
        raise Unavailable(explain(error, uri)) from error


def answers(host: str, port: int) -> bool:
    """Whether what listens there speaks MongoDB's protocol.

    Without pymongo, whose client would go on trying where something else answers.
    """
    body = bytes(5) + bson.encode({"hello": 1, "$db": "admin"})
    message = struct.pack("<iiii", 16 + len(body), 1, 0, OP_MSG) + body
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as probe:
            probe.sendall(message)
            return probe.recv(16)[12:] == struct.pack("<i", OP_MSG)
    except OSError:
        return False


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def running() -> int | None:
    """The port of the mongod that we started and that still runs."""
    with suppress(OSError, ValueError):
        port = int(PORT_FILE.read_text())
        return port if holds(port) else None
    return None


def holds(port: int) -> bool:
    """Whether it is our data that the mongod on this port serves."""
    if not answers("127.0.0.1", port):
        return False
    try:
        with connect(port) as local:
            options = local.admin.command("getCmdLineOpts")["parsed"]
        return Path(options["storage"]["dbPath"]).parent.samefile(DATA)
    except (PyMongoError, OSError, KeyError):
        return False


def free_port() -> int:
    """Below the ports of outgoing connections: one of those could take it while mongod is down."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def complaint(log: Path, begin: int) -> str:
    """The last error in the log since `begin`: a JSON line of mongod's, or the loader's words."""
    why = ""
    for line in log.read_bytes()[begin:].decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            why = why or line.strip()
            continue
        if entry.get("s") in ("E", "F"):
            error = entry.get("attr", {}).get("error", "")
            why = f"{entry['msg']}: {error['errmsg'] if isinstance(error, dict) else error}"
    return why
