"""How long a model's server may take for a piece of its answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from engine.models.response import Answer

_NO_MORE = object()


async def in_time(
    stream: AsyncIterator[Any], answer: Answer, first: float, stall: float
) -> AsyncGenerator[Any, None]:
    """The events of `stream`, of which `answer` is made. Raises TimeoutError if the next one takes
    longer than `first` seconds, or than `stall` once the answer has begun.

    One timer looks, from time to time, how long the wait has lasted: one for each event would cost
    much of a turn.
    """
    loop = asyncio.get_running_loop()
    waits: asyncio.Task[Any] | None = None  # only while it waits: else there is nothing to cancel
    deadline, late = 0.0, False
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer, late
        if waits and deadline <= loop.time():
            late = waits.cancel()
            return
        again = loop.time() + min(first, stall)  # no wait that begins from now on ends before
        timer = loop.call_at(min(again, deadline) if waits else again, look)

    timer = loop.call_later(min(first, stall), look)
    try:
        while True:
            deadline = loop.time() + (stall if answer.begun else first)
            waits = asyncio.current_task(loop)
            event = await anext(stream, _NO_MORE)
            waits = None
            if event is _NO_MORE:
                return
            yield event
    except asyncio.CancelledError:
        if not late or _is_cancelled_otherwise(waits):
            raise
        raise TimeoutError from None
    finally:
        timer.cancel()
        if aclose := getattr(stream, "aclose", None):
            await aclose()


def _is_cancelled_otherwise(task: asyncio.Task[Any] | None) -> bool:
    """Whether somebody else has cancelled `task` as well; Python 3.10 cannot tell."""
    return sys.version_info >= (3, 11) and task is not None and task.uncancel() > 0
