"""A mongod for a machine that has none: started as a replica set of one, found again, stopped."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pymongo import MongoClient, timeout
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from database import DatabaseUnavailable, explain, redact
from local.program import DATA, find_mongod, locked, say

PORT_FILE = DATA / "port"
START_SECONDS, PROBE_MS = 60, 2_000
ALREADY_INITIALIZED = 23
OPTIONS = (
    *("--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
    # Not zlib: CVE-2025-14847, which 6.0.5 has.
    *("--networkMessageCompressors", "snappy,zstd"),
)
# The default oplog takes a gigabyte or more of the disk.
SET_OPTIONS = ("--replSet", "rs0", "--oplogSize", "200")


@dataclass
class Mongod:
    """A mongod on 127.0.0.1, by default a replica set of one. `mongod.log` is beside `dbpath`."""

    program: str
    dbpath: Path
    port: int
    arguments: tuple[str, ...] = ()
    replica_set: bool = True
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return once it answers, and as a replica set takes writes. Raises DatabaseUnavailable."""
        self.dbpath.mkdir(parents=True, exist_ok=True)
        command = [self.program, "--dbpath", str(self.dbpath), "--port", str(self.port), *OPTIONS]
        command += [*(SET_OPTIONS if self.replica_set else ()), *self.arguments]
        log = self.dbpath.parent / "mongod.log"
        with open(log, "ab") as file:
            begin = file.tell()
            # A session of its own, or Ctrl-C in the chat would end it.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        try:
            end = time.monotonic() + START_SECONDS
            while not answers("127.0.0.1", self.port):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise DatabaseUnavailable(f"mongod did not start: {complaint(log, begin)}")
                time.sleep(0.02)
            if self.replica_set:
                make_primary(self.port)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """SIGTERM: a clean end."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(START_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL: what a crash does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def temporary_mongod(
    *arguments: str, replica_set: bool = True, folder: Path | None = None
) -> Iterator[Mongod]:
    """A mongod with data of its own on a free port, gone at the end of the block.

    Its data is in a new folder in `folder`; without one, where temporary files are.
    `arguments` go to mongod as they are. Without `replica_set` it is a standalone, or, with
    `"--replSet", "rs0"` among the arguments, a node that waits to be initiated.
    """
    with locked():
        program, _ = find_mongod()
    with TemporaryDirectory(prefix="mongod-", dir=folder, ignore_cleanup_errors=True) as own:
        mongod = Mongod(program, Path(own, "data"), free_port(), arguments, replica_set)
        mongod.start()
        try:
            yield mongod
        finally:
            mongod.stop()


def ensure_mongod(uri: str) -> str:
    """The URI to use: `uri`, or that of our own mongod if no MongoDB answers at `uri`.

    Only a plain address of this machine is probed and replaced; any other URI comes back as it is.
    """
    address = local_address(uri)
    if address is None:
        return uri
    with locked():  # of two starts at once, the second finds what the first has started
        found = answers(*address)
        port = running()
        if port:
            make_primary(port)  # whoever started it may have died before this
        elif not found:
            # False: another program has the port.
            port = address[1] if found is None else free_port()
            program, version = find_mongod()
            say(f"Starting mongod {version} (data in {DATA.name}/, `make stop` ends it) ...")
            PORT_FILE.write_text(str(port))
            Mongod(program, DATA / version, port).start()
    if found or port == address[1]:
        return uri
    why = "" if found is None else f"; {redact(uri)} is taken by another program"
    say(f"MongoDB is on port {port}{why}.")
    return f"mongodb://127.0.0.1:{port}"


def stop_mongod() -> int | None:
    """End the mongod that we started; returns its port, None if none runs."""
    port = running()
    if port:
        # Not by a signal: a stored pid may belong to another program by now.
        with connect("127.0.0.1", port) as ours, suppress(AutoReconnect):
            ours.admin.command("shutdown", force=True)
    return port


def running() -> int | None:
    """The port of the mongod that we started and that still runs: the one that serves our data."""
    try:
        port = int(PORT_FILE.read_text())
        if not answers("127.0.0.1", port):
            return None
        with connect("127.0.0.1", port) as local:
            options = local.admin.command("getCmdLineOpts")["parsed"]
        return port if Path(options["storage"]["dbPath"]).parent.samefile(DATA) else None
    except (PyMongoError, OSError, ValueError, KeyError):
        return None


def make_primary(port: int) -> None:
    """Return once the mongod on this port takes writes; initiate its replica set if need be."""
    config = {"_id": "rs0", "version": 1, "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
    with timeout(START_SECONDS), connect("127.0.0.1", port) as client:
        while not (hello := client.admin.command("hello"))["isWritablePrimary"]:
            if hello.get("isreplicaset"):  # no configuration, or none that names it
                try:
                    client.admin.command("replSetInitiate", config)
                except OperationFailure as error:
                    if error.code != ALREADY_INITIALIZED:
                        raise
                    # The stored configuration names the port that it had before.
                    with suppress(OperationFailure):
                        client.admin.command("replSetReconfig", config, force=True)
            time.sleep(0.01)


def local_address(uri: str) -> tuple[str, int] | None:
    """Host and port if `uri` is a plain address of this machine, which we can stand in for."""
    if not uri.startswith("mongodb://"):
        return None
    try:
        parsed = parse_uri(uri)
    except (PyMongoError, ValueError) as error:
        raise DatabaseUnavailable(explain(error, uri)) from error
    (host, port), *more = parsed["nodelist"]
    options = {name.lower() for name in parsed["options"]} & {"replicaset", "tls"}
    plain = host in ("localhost", "127.0.0.1") and not (more or parsed["username"])
    return (host, port) if plain and not options else None


def connect(host: str, port: int) -> MongoClient[dict[str, Any]]:
    limits: dict[str, Any] = {"connectTimeoutMS": PROBE_MS, "serverSelectionTimeoutMS": PROBE_MS}
    return MongoClient(host, port, directConnection=True, **limits)


def answers(host: str, port: int) -> bool | None:
    """Whether a MongoDB answers there; None if nothing listens. Unlike a client, it asks once."""
    with connect(host, port) as client:
        while True:
            (server,) = client.topology_description.server_descriptions().values()
            if server.error:
                return None if "refused" in str(server.error) else False
            if server.server_type_name != "Unknown":
                return True
            time.sleep(0.002)


def free_port() -> int:
    """Below the ports of outgoing connections, which could take it while mongod is down."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def complaint(log: Path, begin: int) -> str:
    """The last error in the log since `begin`, else the last line: a library may be missing."""
    text = log.read_bytes()[begin:].decode(errors="replace")
    errors = re.findall(r'"s":"[EF]".*"msg":(.*)}', text)
    return str(["no reason given", *text.splitlines(), *errors][-1])
