"""What counts as passed: one trial against its task, and how reliably a task is passed (pass^k)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import comb

import bson

from evals.tasks import TODAY, Task
from seed_data import SCHEMAS
from support.database import Database, Document

# What happened, in order: ("customer", a step of the script), ("agent", who goes on from here),
# ("tool", its name), ("answer", text), ("failed", why the script was not played to its end).
Log = Sequence[tuple[str, str]]
Snapshot = Mapping[str, Document]  # by collection and id, such as "orders ORD-1001"

# Typography that models differ in, and that means nothing.
PLAIN = str.maketrans("\u2018\u2019\u2010\u2011\u2012\u2013\u2014\u00a0\u202f", "''-----  ", "*`")


async def snapshot(db: Database) -> Snapshot:
    """Every document of the shop's own collections."""
    return {f"{name} {found['_id']}": found for name in SCHEMAS async for found in db[name].find()}


def score(task: Task, log: Log, before: Snapshot, after: Snapshot) -> list[str]:
    """What was wrong, a line for each; empty for a trial that passes."""
    return [*_database(task, before, after), *_run(task, log), *_words(task, log, before)]


def pass_hat_k(trials: int, passed: int, k: int) -> float:
    """pass^k, the chance that k trials all pass: Yao et al. 2024, τ-bench, arXiv:2406.12045."""
    return comb(passed, k) / comb(trials, k)


def _database(task: Task, before: Snapshot, after: Snapshot) -> Iterator[str]:
    tier = _customer(task, before)["tier"]
    returned = {f"orders {order_id}": cents for order_id, cents in task.returned.items()}
    for key, cents in returned.items():
        order = after.get(key) or {}
        made = order.get("return") or {}
        reason = made.get("reason")
        wanted = {
            **before[key],
            "status": "return initiated",
            "return": {"reason": reason, "refund_cents": cents, "tier": tier, "at": TODAY},
            "history": [*before[key]["history"], {"status": "return initiated", "at": TODAY}],
        }
        if not made:
            yield f"database: {key} was not returned"
        elif order != wanted or not str(reason or "").strip():
            yield f"database: {key} was returned, but not as it should be: {made}"
    for key in sorted((before.keys() | after.keys()) - returned.keys()):
        if key not in before or key not in after:
            yield f"database: {key} is {'gone' if key in before else 'new'}"
        elif bson.encode(before[key]) != bson.encode(after[key]):
            yield f"database: {key} was changed"


def _run(task: Task, log: Log) -> Iterator[str]:
    yield from (why for kind, why in log if kind == "failed")
    agents = [name for kind, name in log if kind == "agent"]
    if task.agent and agents[-1:] != [task.agent]:
        yield f"agent: {agents[-1]} answered instead of {task.agent}"
    tools = [name for kind, name in log if kind == "tool"]
    for pattern in task.ran:
        if not any(re.fullmatch(pattern, tool) for tool in tools):
            yield f"tools: {pattern} did not run"
    for tool in dict.fromkeys(tools):
        if any(re.fullmatch(pattern, tool) for pattern in task.never_ran):
            yield f"tools: {tool} ran"


def _words(task: Task, log: Log, before: Snapshot) -> Iterator[str]:
    last = max((n for n, (kind, _) in enumerate(log) if kind == "customer"), default=0)
    answer = _answers(log[last:])
    for pattern in task.says:
        if not re.search(pattern, answer, re.I):
            yield f"words: nothing like {pattern} in the last answer"
    everything = _answers(log)
    customer_id = _customer(task, before)["_id"]
    private = [
        re.escape(found["tracking"])
        for key, found in before.items()
        if key.startswith("orders ") and found["customer_id"] != customer_id and found["tracking"]
    ]
    for pattern in [*task.never_says, *private]:
        if said := re.search(pattern, everything, re.I):
            yield f'words: "{said[0]}" was said'


def _answers(log: Log) -> str:
    return "\n".join(text for kind, text in log if kind == "answer").translate(PLAIN)


def _customer(task: Task, documents: Snapshot) -> Document:
    return next(found for found in documents.values() if found.get("email") == task.email)
