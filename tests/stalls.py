"""Stall a terminal at each of its commands, let another take over, and see that no promise breaks.

    python -m tests.stalls [--topology replica] [--operation yes] [--kind asleep] [--verbose]

Each command of each thing that a customer can do is stalled twice: before mongod sees it, and after
mongod did it but before the terminal hears of it. Prints a table, and exits with 1 if a promise was
broken. tests/stall.py does it; tests/promises.py checks it.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice

from agents import set_tracing_disabled

from database import connect
from tests.proxy import Side
from tests.servers import TOPOLOGIES, server, uri
from tests.sleeper import KINDS, Sleeper
from tests.stall import OPERATIONS, OTHERS, Case, Verdict, dry_run, run

SIDES: tuple[Side, ...] = ("before", "after")
LEASE_SECONDS = 1.0  # long enough for a busy machine to renew it
AT_ONCE = 6  # cases in one process; most of their time they wait for a lease to end
BATCH = 12
Group = list[Case]


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mongod ends as well
    set_tracing_disabled(True)
    failed = 0
    for topology in args.topology:
        began = time.monotonic()
        with server(topology) as mongod:
            groups = asyncio.run(all_cases(mongod.port, args.operation, args.kind, args.lease))
            verdicts = in_processes(mongod.port, groups, args.lease, args.processes)
        print(f"\n{topology}, lease {args.lease:g} s, {time.monotonic() - began:.0f} s\n")
        print_table(verdicts, args.verbose)
        failed += sum(bool(verdict.broken) for verdict in verdicts)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, every in (("topology", TOPOLOGIES), ("operation", OPERATIONS), ("kind", KINDS)):
        parser.add_argument(f"--{name}", nargs="+", choices=every, default=every)
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS, metavar="SECONDS")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--verbose", action="store_true", help="every broken promise in full")
    return parser.parse_args()


async def all_cases(
    port: int, operations: Iterable[str], kinds: Iterable[str], lease: float = LEASE_SECONDS
) -> list[Group]:
    """One group for each case: the same case, stalled in each of `kinds`."""
    async with await connect(uri(port)) as direct:
        commands = {each: await dry_run(direct, each, lease) for each in operations}
    return [
        [Case(operation, number, side, other, kind) for kind in kinds]
        for operation in commands
        for number in range(len(commands[operation]))
        for side in SIDES
        for other in OTHERS
        if fits(operation, other)
    ]


def sample(groups: Iterable[Group], each: int) -> list[Group]:
    """For each operation and side, `each` cases, spread from its first command to its last."""
    by_kind: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        by_kind[group[0].operation, group[0].side].append(group)
    chosen = []
    for rotation, every in enumerate(by_kind.values()):
        for number in range(each):
            group = every[(len(every) - 1) * number // (each - 1)]
            chosen.append([group[(rotation + number) % len(group)]])
    return chosen


def fits(operation: str, other: str) -> bool:
    """Whether there can be something to decide, or to retry, while `operation` is under way."""
    if other in ("yes", "no"):
        return operation in ("ask", "yes", "no")
    return other != "retry" or operation not in ("reset", "retention")


def in_processes(port: int, groups: Sequence[Group], lease: float, processes: int) -> list[Verdict]:
    source = iter(groups)
    batches = iter(lambda: list(islice(source, BATCH)), [])
    context = multiprocessing.get_context("spawn")  # no loop or thread of ours goes with it
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        work = [pool.submit(batch_of, port, batch, lease) for batch in batches]
        verdicts = []
        for number, done in enumerate(as_completed(work), 1):
            verdicts += done.result()
            broken = sum(bool(verdict.broken) for verdict in verdicts)
            print(f"{number} of {len(work)}, {broken} broken", file=sys.stderr, flush=True)
    return verdicts


def batch_of(port: int, groups: Sequence[Group], lease: float) -> list[Verdict]:
    """What one process does."""
    set_tracing_disabled(True)
    return asyncio.run(run_all(port, groups, lease))


async def run_all(
    port: int, groups: Sequence[Group], lease: float = LEASE_SECONDS, at_once: int = AT_ONCE
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


def print_table(verdicts: Sequence[Verdict], verbose: bool) -> None:
    """One row for each thing that a terminal did: its commands, and the promises that broke."""
    ran = [verdict for verdict in verdicts if verdict.broken or not verdict.skipped]
    for operation in OPERATIONS:
        of_it = [verdict for verdict in ran if verdict.case.operation == operation]
        broken = Counter(where(verdict, problem) for verdict in of_it for problem in verdict.broken)
        told = "; ".join(f"{each} x {count}" for each, count in broken.most_common())
        print(f"{operation:9} {len(of_it):4} cases  {told or 'ok'}")
    failed = sum(bool(verdict.broken) for verdict in ran)
    print(f"{len(ran)} cases, {failed} broke a promise; {len(verdicts) - len(ran)} skipped")
    for verdict in ran if verbose else []:
        for problem in dict.fromkeys(verdict.broken):
            print(f"{verdict.case}, {verdict.command}: {problem}")


def where(verdict: Verdict, problem: str) -> str:
    name = problem.partition(":")[0]
    return f"{name} ({verdict.case.side} {verdict.command}, B: {verdict.case.other})"


if __name__ == "__main__":
    sys.exit(main())
