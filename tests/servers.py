"""The two kinds of MongoDB that the promises are checked on, each a real mongod of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from pymongo import MongoClient

from local.mongod import Mongod, temporary_mongod

TOPOLOGIES = ("replica", "standalone")


@contextlib.contextmanager
def server(topology: str) -> Iterator[Mongod]:
    """The replica set has one member."""
    with temporary_mongod(*["--replSet", "rs0"] * (topology == "replica")) as mongod:
        if topology == "replica":
            host = f"127.0.0.1:{mongod.port}"
            with MongoClient[dict[str, object]](host, directConnection=True) as client:
                members = [{"_id": 0, "host": host}]
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
                while not client.admin.command("hello")["isWritablePrimary"]:
                    time.sleep(0.05)
        yield mongod


def uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"
