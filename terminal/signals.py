"""Ctrl-C, Ctrl-Z and other keys while no prompt is open."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager


@contextlib.contextmanager
def ctrl_c_calls(stop: Callable[[], object]) -> Iterator[None]:
    """During the block, Ctrl-C calls `stop` and raises nothing."""
    loop = asyncio.get_running_loop()

    def on_ctrl_c(*_: object) -> None:
        loop.call_soon_threadsafe(stop)

    # Not loop.add_signal_handler: prompt_toolkit would remove it at the end of a prompt.
    before = signal.signal(signal.SIGINT, on_ctrl_c)
    awake = asyncio.create_task(_stay_awake())
    try:
        yield
    finally:
        awake.cancel()
        signal.signal(signal.SIGINT, before)


async def _stay_awake() -> None:
    # If a signal comes just before the loop sleeps, Python sees it only when the loop wakes.
    while True:
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def hidden_keys(paused: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """During the block, typed keys do not show; the next prompt gets them.

    Ctrl-Z stops the program inside of `paused`; it goes on after `fg`.
    """
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(sys.stdin)

    def hide() -> None:
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        loop.add_signal_handler(signal.SIGTSTP, stop)

    def show() -> None:
        loop.remove_signal_handler(signal.SIGTSTP)
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)

    def stop() -> None:
        with paused():
            show()
            signal.raise_signal(signal.SIGTSTP)  # returns after `fg`
            hide()

    hide()
    try:
        yield
    finally:
        show()
