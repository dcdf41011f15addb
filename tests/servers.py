"""The two kinds of MongoDB that the promises are checked on, each a real mongod of its own."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.mongod import Mongod, temporary_mongod

TOPOLOGIES = ("replica", "standalone")
on_both = pytest.mark.parametrize("mongod", TOPOLOGIES, indirect=True)


# Test commands make it fail at an exact command. Its empty journal has 300 MB by default. Nobody
# reads what it would note of itself each second.
OPTIONS = (
    *("--setParameter", "enableTestCommands=1"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--wiredTigerEngineConfigString", "log=(prealloc=false)"),
)
MEMORY = Path("/dev/shm")  # where nothing waits for a disk


@contextlib.contextmanager
def server(topology: str) -> Iterator[Mongod]:
    """A mongod of its own; `replica` is a replica set of one."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**31
    folder = MEMORY if roomy else None
    with temporary_mongod(*OPTIONS, replica_set=topology == "replica", folder=folder) as mongod:
        yield mongod
        mongod.kill()  # its data goes with it: nobody waits for a clean end


def uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"
