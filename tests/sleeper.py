"""A thread with an event loop that can be stopped, or put to sleep, as a process can."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
KINDS = ("link", "stopped", "asleep")  # link: it runs on, and only its link is stalled
SECONDS = 6.0  # for the thread to end: far more than it takes


class Sleeper:
    _asleep = threading.local()

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def stop(self, kind: str) -> None:
        if kind != "link":
            self._awake.clear()
            self._loop.call_soon_threadsafe(self._sleep, kind == "asleep")

    def wake(self) -> None:
        self._awake.set()

    def _sleep(self, asleep: bool) -> None:
        began = time.perf_counter()
        self._awake.wait(60)
        if asleep:
            before = getattr(self._asleep, "seconds", 0.0)
            self._asleep.seconds = before + time.perf_counter() - began

    async def end(self) -> None:
        self.wake()
        await self.run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, SECONDS)
        self._loop.close()

    async def _end_tasks(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=1) if others else None

    @classmethod
    @contextlib.contextmanager
    def own_clocks(cls) -> Iterator[None]:
        """In a thread that is asleep, the monotonic clock stands still, as a laptop's does."""
        real = time.monotonic
        time.monotonic = lambda: real() - getattr(cls._asleep, "seconds", 0.0)
        try:
            yield
        finally:
            time.monotonic = real
