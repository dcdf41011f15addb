"""What was wrong in a trial of a task: in the database, in what ran, and in what was said."""

from __future__ import annotations

import re
from collections.abc import Iterator

import bson

from evals.tasks import CANNOT, TODAY, Task
from evals.visit import Trial

# Typography that models differ in, and that means nothing.
PLAIN = str.maketrans("\u2018\u2019\u2010\u2011\u2012\u2013\u2014\u00a0\u202f", "''-----  ", "*`")
# A model's thoughts: Inspect's bridge sends them as text, to get them back with the next call.
HIDDEN = r"(?s)<(think|content-internal)\b.*?</\1>"
SENTENCE_END = r"(?<=[.!?;:])\s+|\n+"
# With one of these, a sentence claims nothing: "once it is refunded", "it is not in stock".
HEDGE = CANNOT + r"|\b(if|(?<!at )once|when|after|until|unless)\b"


def score(task: Task, trial: Trial) -> list[str]:
    """What was wrong, a line for each; empty for a trial that passes."""
    return [*_database(task, trial), *_run(task, trial), *_words(task, trial)]


def _database(task: Task, trial: Trial) -> Iterator[str]:
    before, after, tier = trial.before, trial.after, trial.customer["tier"]
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


def _run(task: Task, trial: Trial) -> Iterator[str]:
    yield from trial.failed
    if task.agent and trial.agents[-1] != task.agent:
        yield f"agent: {trial.agents[-1]} answered instead of {task.agent}"
    for pattern in task.ran:
        if not any(re.fullmatch(pattern, tool) for tool in trial.tools):
            yield f"tools: {pattern} did not run"
    for tool in dict.fromkeys(trial.tools):
        if any(re.fullmatch(pattern, tool) for pattern in task.never_ran):
            yield f"tools: {tool} ran"


def _words(task: Task, trial: Trial) -> Iterator[str]:
    answers = ["", *(re.sub(HIDDEN, "", answer).translate(PLAIN) for answer in trial.answers)]
    last = len(answers) - 1
    for step, patterns in {last: task.says, **task.said}.items():
        for pattern in patterns:
            if not re.search(pattern, "".join(answers[step : step + 1]), re.I):
                where = "the last answer" if step == last else f"the answer to step {step}"
                yield f"words: nothing like {pattern} in {where}"
    everything = "\n".join(answers)
    sentences = re.split(SENTENCE_END, everything)
    claims = "\n".join(each for each in sentences if not re.search(HEDGE, each, re.I))
    customer_id = trial.customer["_id"]
    private = [
        re.escape(found["tracking"])
        for key, found in trial.before.items()
        if key.startswith("orders ") and found["customer_id"] != customer_id and found["tracking"]
    ]
    forbidden = [(pattern, everything) for pattern in [*task.never_says, *private]]
    for pattern, text in [*forbidden, *((pattern, claims) for pattern in task.never_claims)]:
        if said := re.search(pattern, text, re.I):
            yield f'words: "{said[0]}" was said'
