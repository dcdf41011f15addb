"""The two kinds of MongoDB that the promises are checked on, each a real mongod of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from local.mongod import Mongod, temporary_mongod

TOPOLOGIES = ("replica", "standalone")
on_both = pytest.mark.parametrize("mongod", TOPOLOGIES, indirect=True)


@contextlib.contextmanager
def server(topology: str) -> Iterator[Mongod]:
    """A mongod of its own; `replica` is a replica set of one."""
    # Test commands make it fail at an exact command. Dropping a database waits for the journal:
    # with the default, a tenth of a second.
    options = ("--setParameter", "enableTestCommands=1", "--journalCommitInterval", "2")
    with temporary_mongod(*options, replica_set=topology == "replica") as mongod:
        yield mongod
        mongod.kill()  # its data goes with it: nobody waits for a clean end


def uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"
