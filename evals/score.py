"""What counts as passed: one trial against its task, and how reliably a task is passed (pass^k).

The database is the proof; words are a smoke check, and free text can lie in ways that no pattern
finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import comb

import bson

from database import Database, Document
from evals.tasks import CANNOT, TODAY, Task
from seed_data import SCHEMAS

# What happened, in order: ("customer", a step of the script), ("agent", who goes on from here),
# ("tool", its name), ("answer", text), ("failed", why the script was not played to its end).
Log = Sequence[tuple[str, str]]
Snapshot = Mapping[str, Document]  # by collection and id, such as "orders ORD-1001"

# Typography that models differ in, and that means nothing.
PLAIN = str.maketrans("\u2018\u2019\u2010\u2011\u2012\u2013\u2014\u00a0\u202f", "''-----  ", "*`")
SENTENCE_END = r"(?<=[.!?;:])\s+|\n+"
# With one of these, a sentence claims nothing: "once it is refunded", "it is not in stock".
HEDGE = CANNOT + r"|\b(if|(?<!at )once|when|after|until|unless)\b"


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
        elif order != wanted or not re.search(task.reason, reason or "", re.I):
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
    answers = _answers(log)
    last = len(answers) - 1
    for step, patterns in {last: task.says, **task.said}.items():
        for pattern in patterns:
            if not re.search(pattern, "".join(answers[step : step + 1]), re.I):
                where = "the last answer" if step == last else f"the answer to step {step}"
                yield f"words: nothing like {pattern} in {where}"
    everything = "\n".join(answers)
    sentences = re.split(SENTENCE_END, everything)
    claims = "\n".join(each for each in sentences if not re.search(HEDGE, each, re.I))
    customer_id = _customer(task, before)["_id"]
    private = [
        re.escape(found["tracking"])
        for key, found in before.items()
        if key.startswith("orders ") and found["customer_id"] != customer_id and found["tracking"]
    ]
    forbidden = [(pattern, everything) for pattern in [*task.never_says, *private]]
    for pattern, text in [*forbidden, *((pattern, claims) for pattern in task.never_claims)]:
        if said := re.search(pattern, text, re.I):
            yield f'words: "{said[0]}" was said'


def _answers(log: Log) -> list[str]:
    """What was said in answer to each step of the script, from 1 on."""
    answers = [""]
    for kind, text in log:
        if kind == "customer":
            answers.append("")
        elif kind == "answer":
            answers[-1] += text.translate(PLAIN) + "\n"
    return answers


def _customer(task: Task, documents: Snapshot) -> Document:
    return next(found for found in documents.values() if found.get("email") == task.email)
