"""Random histories of two or three terminals that are killed, frozen and cut off, then checked.

    python -m tests.histories [--seconds 60] [--seed 7] [--topology replica]

Prints each seed. If a promise breaks, it also prints all that was done, and exits with 1. The same
seed makes the same choices, but when a process does what it was told depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter

from agents import set_tracing_disabled

from database import connect
from tests.history import History, play
from tests.processes import new_process
from tests.servers import TOPOLOGIES, server, uri


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mongod ends as well
    set_tracing_disabled(True)
    failed = 0
    for topology in args.topology:
        with server(topology) as mongod:
            histories = asyncio.run(several(mongod.port, args.seed, args.seconds, args.at_once))
        print(f"{topology}: {summary(histories)}")
        failed += sum(bool(history.broken) for _, history in histories)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--topology", nargs="+", choices=TOPOLOGIES, default=TOPOLOGIES)
    parser.add_argument("--seconds", type=float, default=60.0, help="on each topology")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the first one")
    parser.add_argument("--at-once", type=int, default=2, metavar="N")
    return parser.parse_args()


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


if __name__ == "__main__":
    sys.exit(main())
