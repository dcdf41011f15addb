"""The work of a turn as a task of its own, what it tells as a stream, and how it is stopped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from engine.errors import failure
from engine.events import Event, Reason, Stopped, Text, TurnFailed


class Stream:
    """Its reader only reads what was told: the work goes on at its own pace."""

    def __init__(self) -> None:
        self.running = False
        self.stopping = False
        self.said = False  # whether words of an answer were told
        self.accepted = False  # whether the message to answer is stored
        self._told: deque[Event] = deque()
        self._news = asyncio.Event()  # something was told, or the work has ended
        self._stop: Callable[[], object] = lambda: None
        self.cancel: Callable[[], object] = lambda: None  # the work, once it has begun

    def tell(self, event: Event) -> None:
        self.said = self.said or isinstance(event, Text)
        self._told.append(event)
        self._news.set()

    def stop(self) -> None:
        self.stopping = True
        self._stop()

    def stop_with(self, stop: Callable[[], object]) -> None:
        """From here on, a stop calls `stop`. Under the lease, `cancel` could cut a write."""
        self._stop = stop
        if self.stopping:
            stop()

    async def events(
        self, begin: Callable[[], object], work: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncGenerator[Event, None]:
        """Call `begin`, do `work` as a task, and yield what it tells.

        If the reader goes away, the work is stopped, and waited for. Raises TurnFailed.
        """
        begin()
        task = asyncio.create_task(work())
        task.add_done_callback(self._end)
        self.cancel = task.cancel
        try:
            while self.running:
                await self._news.wait()
                self._news.clear()
                while self._told:
                    yield self._told.popleft()
            if task.cancelled() and self.stopping:
                yield Stopped()
            elif task.cancelled():  # by a tool, or whoever else
                raise TurnFailed(Reason.PROGRAM_ERROR)
            elif isinstance(error := task.exception(), Exception):
                raise failure(error, shown=self.said, accepted=self.accepted) from error
        finally:
            if not task.done():
                self.stop()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # marked as seen: the reader has gone

    def _end(self, _: asyncio.Task[None]) -> None:
        self.running = False
        self._news.set()
