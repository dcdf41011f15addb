"""Random histories of two or three terminals that are killed, frozen and cut off, then checked.

Prints each seed. If a promise breaks, it also prints all that was done. The same seed makes the
same choices, but when a process does what it was told depends on the machine.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from database import connect
from tests.history import History, play
from tests.processes import new_process
from tests.servers import uri


async def several(
    port: int, seed: int, seconds: float, at_once: int = 2
) -> list[tuple[int, History]]:
    """Play histories from `seed` on until the time is over; print each as it ends."""
    seeds = iter(range(seed, seed + 10**6))
    await asyncio.to_thread(new_process(print).join)  # starts what all are forked from
    end = time.monotonic() + seconds
    done: list[tuple[int, History]] = []

    async def one_after_another() -> None:
        while time.monotonic() < end:
            number = next(seeds)
            history = await play(client, port, number)
            done.append((number, history))
            print(f"seed {number}: {len(history.deeds)} deeds, {verdict(history)}", flush=True)
            if problems := dict.fromkeys([*history.broken, *history.late]):
                print("\n".join([*history.told, *problems, ""]), flush=True)

    async with await connect(uri(port)) as client:
        await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return done


def verdict(history: History) -> str:
    kinds = {problem.split(":")[0] for problem in [*history.broken, *history.late]}
    return ", ".join(sorted(kinds)) or "ok"


def summary(histories: list[tuple[int, History]]) -> str:
    results = Counter(deed.result for _, history in histories for deed in history.deeds)
    broken = sum(bool(history.broken) for _, history in histories)
    late = sum(bool(history.late) for _, history in histories)
    deeds = ", ".join(f"{count} {result}" for result, count in results.most_common())
    return f"{len(histories)} histories, {broken} broke a promise, {late} late; {deeds}"
