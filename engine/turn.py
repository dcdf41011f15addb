"""One turn as a stream: a task that does the work, the events that it tells, how it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from agents import Usage

from engine.events import Event, Stopped
from engine.run import Run


class Turn:
    """It lives for one turn. Its reader only reads a queue: the work goes on at its own pace."""

    def __init__(self) -> None:
        self.run: Run | None = None  # the last call of the SDK's Runner
        self.stopping = False
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._cancellable = True  # until the lease is held: then a cancel could cut a write

    def tell(self, event: Event) -> None:
        self._events.put_nowait(event)

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def usage(self) -> Usage:
        """Of the model calls that came to their end, inner agents included."""
        return self.run.usage if self.run else Usage()

    async def stream(
        self, work: Callable[[Turn], Coroutine[Any, Any, None]]
    ) -> AsyncGenerator[Event, None]:
        """Run `work` as a task of its own, and yield what it tells; then raise what it raised.

        If the reader goes away, the work is stopped, and waited for.
        """
        task = self._task = asyncio.create_task(work(self))
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
            if task.cancelled():
                yield Stopped()
            else:
                task.result()
        finally:
            if not task.done():
                self.stop()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # marked as seen: the reader has gone

    def stop(self) -> None:
        """Stop the answer under way. A running tool finishes, and a finished answer is stored."""
        self.stopping = True
        if self._cancellable and self._task:
            self._task.cancel()
        if self.run:
            self.run.cancel()

    def begin_writing(self) -> None:
        """The lease is held: from here on, a stop cancels nothing that could be a write."""
        self._cancellable = False
