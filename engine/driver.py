"""What the driver does not tell by itself: what is possible, what is done, what is not known."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

P = ParamSpec("P")
T = TypeVar("T")


class Unconfirmed(PyMongoError):
    """MongoDB did not say whether a write was done: it may be there all the same."""


async def has_transactions(client: AsyncMongoClient[Any]) -> bool:
    """Whether the server has transactions: a replica set or a sharded cluster."""
    hello = await client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def without_write_concern(uri: str) -> str:
    """`uri` without its write concern: a replica set's own default, w: "majority", holds.

    In a transaction the driver sends the client's write concern along with the session's commands,
    and the server refuses that.
    """
    address, mark, options = uri.partition("?")
    of_writes = re.compile(r"(?i)(w|journal|wtimeoutms)=")
    return address + mark + "&".join(o for o in options.split("&") if not of_writes.match(o))


def uncancelled(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """`work` that runs to its end, however often whoever waits for it is cancelled meanwhile."""

    @wraps(work)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        task, cancelled = asyncio.create_task(work(*args, **kwargs)), False
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            task.exception()  # marked as seen: nobody waits for it any more
            raise asyncio.CancelledError
        return task.result()

    return run


@contextlib.contextmanager
def unconfirmed_if(unknown: Callable[[PyMongoError], bool]) -> Iterator[None]:
    """Raises Unconfirmed for an error after which nobody knows whether the write was done."""
    try:
        yield
    except PyMongoError as error:
        if unknown(error):
            raise Unconfirmed from error
        raise


def is_unknown_commit(error: PyMongoError) -> bool:
    return error.has_error_label("UnknownTransactionCommitResult")


def is_unknown_write(error: PyMongoError) -> bool:
    return error.timeout or not isinstance(error, OperationFailure)
