"""The cases of a stall: each command of each thing that a customer can do, on both sides.

A terminal stalls before mongod sees the command, and after mongod did it but before the terminal
hears of it; another one takes over. tests/stall.py plays a case; tests/promises.py checks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from database import connect
from tests.proxy import Side
from tests.servers import uri
from tests.sleeper import KINDS, Sleeper
from tests.stall import OTHERS, Case, Verdict, dry_run, run

SIDES: tuple[Side, ...] = ("before", "after")
AT_ONCE = 6  # most of their time they wait for a lease to end
Group = list[Case]


async def all_cases(port: int, operation: str, lease: float) -> list[Group]:
    """One group for each case: the same case, stalled in each way."""
    async with await connect(uri(port)) as direct:
        commands = await dry_run(direct, operation, lease)
    return [
        [Case(operation, number, side, other, kind) for kind in KINDS]
        for side in SIDES
        for number in range(len(commands))
        for other in OTHERS
        if fits(operation, other)
    ]


def sample(groups: Sequence[Group], each: int, rotation: int) -> list[Group]:
    """For each side, `each` cases, spread from the first command to the last."""
    half = len(groups) // 2  # the sides have the same number of cases
    chosen = []
    for every in (groups[:half], groups[half:]):
        for number in range(each):
            group = every[(half - 1) * number // (each - 1)]
            chosen.append([group[(rotation + number) % len(group)]])
        rotation += 1
    return chosen


def fits(operation: str, other: str) -> bool:
    """Whether there can be something to decide, or to retry, while `operation` is under way."""
    if other in ("yes", "no"):
        return operation in ("ask", "yes", "no")
    return other != "retry" or operation not in ("reset", "retention")


async def run_all(
    port: int, groups: Iterable[Group], lease: float, at_once: int = AT_ONCE
) -> list[Verdict]:
    free = asyncio.Semaphore(at_once)
    with Sleeper.own_clocks():
        async with await connect(uri(port)) as direct:

            async def one(group: Group) -> list[Verdict]:
                verdicts: list[Verdict] = []
                for case in group:
                    async with free:
                        verdicts.append(await run(direct, case, lease))
                    if verdicts[-1].skipped:
                        break
                return verdicts

            done = await asyncio.gather(*(one(group) for group in groups))
            return [verdict for verdicts in done for verdict in verdicts]
