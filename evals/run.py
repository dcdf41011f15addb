"""Put a model to the support tasks of tasks.py, k times each, and report how reliably it passes.

    python -m evals.run [--offline] [-k 4] [--jobs 2] [--task NAME] [--fresh]

Each trial has a database and a conversation of its own, and drives the same `Conversation` as the
chat does. Finished trials are kept, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import os
import re
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import openai
from agents import Model, ModelResponse, ModelSettings
from agents.extensions.memory import MongoDBSession
from agents.items import TResponseStreamEvent
from agents.models import get_default_model
from dotenv import load_dotenv
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from agents_def import build_agents
from database import (
    Database,
    DatabaseUnavailable,
    Document,
    connect,
    explain,
    mongodb_uri,
    redact,
)
from engine.conversation import Conversation, session_id_for
from engine.events import ApprovalNeeded, Event, HandedOff, Text, ToolStarted, TurnFailed
from evals.score import Snapshot, pass_hat_k, score, snapshot
from evals.tasks import CANNOT, NO, RESTART, TASKS, TODAY, YES, Task
from local.mongod import ensure_mongod
from local.offline_model import OfflineModel
from local.program import ROOT, say
from seed_data import seed
from settings import choose_model, missing_setting
from tools import SupportContext, approval_question

# What a score depends on besides the model, the SDK and the task: where one has changed, old
# trials are void. What only draws and reads the terminal is left out.
SOURCES = "agents_def.py tools.py seed_data.py policy.py engine/*.py evals/[rs]*.py"
TERMINAL = {"answer.py", "inspect.py", "keys.py", "terminal.py"}
OFFLINE = "offline"


class Interrupted(Exception):
    """The trials cannot go on, for a reason that is not the model's; the text says which."""


class Subject(NamedTuple):
    """What is scored: a model, with its name and settings."""

    name: str
    model: Model
    settings: ModelSettings


@dataclass(frozen=True)
class Trial:
    """One trial, as a line of the results; it passed where it has no failures."""

    key: str  # of the model, the SDK, the task's text and the sources
    task: str
    number: int  # 1 to k
    failures: list[str]
    calls: int  # of the model
    tokens: int
    seconds: float
    log: list[tuple[str, str]]


class Metered(Model):
    """A model whose calls and tokens are counted."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.calls = self.tokens = 0

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        raise NotImplementedError("a conversation streams")

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        self.calls += 1
        async for event in self._model.stream_response(*args, **kwargs):
            if event.type in ("response.completed", "response.incomplete"):
                usage = event.response.usage
                self.tokens += usage.total_tokens if usage else 0
            yield event

    def get_retry_advice(self, request: Any) -> Any:
        return self._model.get_retry_advice(request)


class Visit:
    """A customer who follows the script of a task; `log` is what happened."""

    def __init__(self, task: Task, db: Database, model: Model, settings: ModelSettings) -> None:
        self.log = [("agent", build_agents().name)]
        self._task, self._db, self._model, self._settings = task, db, model, settings

    async def play(self) -> None:
        """Go on to the end of the script, or to the first step that is not possible."""
        conversation = await self._come_in()
        approval: ApprovalNeeded | None = None
        try:
            for step in self._task.script:
                if step in (YES, NO) and approval is None:
                    return self._fail("approval: none was asked for")
                if step not in (YES, NO, RESTART) and approval:
                    break
                self.log.append(("customer", step))
                if step == RESTART:
                    conversation = await self._come_in()
                    approval = await self._watch(conversation.resume())
                elif approval:
                    approval = await self._watch(conversation.decide(approval, step == YES))
                else:
                    approval = await self._watch(conversation.turn(step))
            if approval:
                self._fail(f"approval: not expected: {approval.question}")
        except TurnFailed as error:
            if is_outage(error.__cause__):
                raise Interrupted(redact(f"Stopped: {error.__cause__}")) from error
            self._fail(f"turn: {error}")

    async def _come_in(self) -> Conversation:
        """Log in: a new session and new agents, on the same client, as in a new process."""
        db, email = self._db, self._task.email
        customer = await db.customers.find_one({"email": email}) or {}
        who = customer["_id"], customer["name"], customer["tier"]
        return await Conversation.open(
            MongoDBSession(session_id_for(email), client=db.client, database=db.name),
            db=db,
            email=email,
            agent=build_agents(),
            context=SupportContext(db, *who, now=lambda: TODAY),
            question=approval_question,
            model=self._model,
            model_settings=self._settings,
        )

    async def _watch(self, events: AsyncGenerator[Event, None]) -> ApprovalNeeded | None:
        answer, approval = "", None
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Text):
                        answer += event.delta
                    elif isinstance(event, HandedOff):
                        self.log.append(("agent", event.agent))
                    elif isinstance(event, ToolStarted):
                        self.log.append(("tool", event.tool))
                    elif isinstance(event, ApprovalNeeded):
                        approval = event
        finally:
            self.log += [("answer", answer)] if answer else []
        return approval

    def _fail(self, why: str) -> None:
        self.log.append(("failed", why))


def is_outage(cause: BaseException | None) -> bool:
    """Whether a turn failed for want of a key, a network or a database; 500 may be the model's."""
    if isinstance(cause, openai.APIStatusError):
        return cause.status_code in (401, 403, 404, 429) or cause.status_code > 500
    if isinstance(cause, openai.APITimeoutError):
        return False
    return isinstance(cause, (openai.APIConnectionError, PyMongoError))


async def run_trial(
    db: Database, task: Task, subject: Subject, key: str = "", number: int = 1
) -> Trial:
    """One trial on `db`, which nobody else may use."""
    await seed(db, TODAY)
    for place, fields in task.given.items():
        collection, document_id = place.split()
        await db[collection].update_one({"_id": document_id}, {"$set": fields})
    before = await snapshot(db)
    check(task, before)
    model = Metered(subject.model)
    visit = Visit(task, db, model, subject.settings)
    started = time.monotonic()
    await visit.play()
    seconds = round(time.monotonic() - started, 3)
    failures = score(task, visit.log, before, await snapshot(db))
    return Trial(key, task.name, number, failures, model.calls, model.tokens, seconds, visit.log)


def check(task: Task, shop: Snapshot) -> None:
    """Raise Interrupted where the task names what the shop does not have, or a bad pattern."""
    named = {*task.given, *(f"orders {order_id}" for order_id in task.returned)}
    wrong = [f"there is no {place}" for place in sorted(named - shop.keys())]
    if task.email not in {found.get("email") for found in shop.values()}:
        wrong.append(f"there is no customer {task.email}")
    for pattern in task.patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            wrong.append(f"{pattern} is no pattern ({error})")
    if wrong:
        raise Interrupted(f"The task {task.name} is wrong: {', '.join(wrong)}.")


async def run_trials(
    client: AsyncMongoClient[Document],
    subject: Subject,
    tasks: Sequence[Task],
    k: int,
    jobs: int,
    file: Path,
    databases: set[str],
) -> list[Trial]:
    """Run what `file` does not hold yet, `jobs` at once, add it there; return the trials wanted.

    `databases` are those in use at any moment.
    """
    keys = {task.name: key_of(subject.name, task) for task in tasks}
    wanted = [(task, number) for number in range(1, k + 1) for task in tasks]
    trials = {(trial.key, trial.number): trial for trial in read(file)}
    todo = [(task, number) for task, number in wanted if (keys[task.name], number) not in trials]
    if len(todo) < len(wanted):
        say(f"{len(wanted) - len(todo)} of {len(wanted)} trials are in {file} already.")
    older = {(trial.task, trial.number) for trial in trials.values()}
    if void := sum((task.name, number) in older for task, number in todo):
        say(f"Void trials in {file}: {void}. The sources, the task or the SDK have changed.")
    waiting = iter(todo)

    async def work() -> None:
        for task, number in waiting:
            scratch = f"eval_{task.name}_{number}_{uuid.uuid4().hex[:12]}"
            databases.add(scratch)
            trial = await run_trial(client[scratch], task, subject, keys[task.name], number)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(trial)) + "\n")
            trials[trial.key, number] = trial
            say(f"{'FAIL' if trial.failures else 'pass'}  {task.name} {number}/{k}")
            await client.drop_database(scratch)
            databases.remove(scratch)

    file.parent.mkdir(parents=True, exist_ok=True)
    workers = [asyncio.create_task(work()) for _ in range(jobs)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [trials[keys[task.name], number] for task, number in wanted]


def key_of(model_name: str, task: Task) -> str:
    named = [model_name, version("openai-agents"), str(TODAY), CANNOT, repr(task)]
    digest = hashlib.sha256("\n".join(named).encode())
    patterns = [*SOURCES.split(), *(["local/offline*.py"] if model_name == OFFLINE else [])]
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        if path.name not in TERMINAL:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read(file: Path) -> list[Trial]:
    """The trials in `file`; a line that a crash cut short is left out, and so run again."""
    trials = []
    for line in file.read_text("utf-8").splitlines() if file.exists() else []:
        with suppress(ValueError, TypeError):
            trials.append(Trial(**json.loads(line)))
    return trials


def forget(file: Path, tasks: Sequence[Task]) -> None:
    """Take the trials of `tasks` out of `file`."""
    names = {task.name for task in tasks}
    kept = [trial for trial in read(file) if trial.task not in names]
    if file.exists():
        copy = file.with_suffix(".tmp")
        copy.write_text("".join(json.dumps(asdict(trial)) + "\n" for trial in kept), "utf-8")
        copy.replace(file)


def summarize(trials: Sequence[Trial], k: int) -> list[dict[str, Any]]:
    """A row for each task, and one for all of them: its figures are the means of the others."""
    rows: list[dict[str, Any]] = []
    for task in dict.fromkeys(trial.task for trial in trials):
        own = [trial for trial in trials if trial.task == task]
        passed = sum(not trial.failures for trial in own)
        row = {f"pass^{i}": pass_hat_k(len(own), passed, i) for i in range(1, k + 1)}
        for figure in ("calls", "tokens", "seconds"):
            row[figure] = sum(getattr(trial, figure) for trial in own) / len(own)
        rows.append({"task": task, **row})
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in list(rows[0])[1:]}
    return [*rows, {"task": f"all {len(rows)} tasks", **mean}]


def report(trials: Sequence[Trial], rows: Sequence[dict[str, Any]]) -> str:
    """The table, and under it each failure with the number of trials that had it."""
    names = list(rows[0])[1:]
    digits = {"calls": 1, "tokens": 0, "seconds": 1}
    width = max(len(row["task"]) for row in rows)
    lines = ["task".ljust(width) + "".join(f"{name:>9}" for name in names)]
    lines += [
        row["task"].ljust(width) + "".join(f"{row[n]:9,.{digits.get(n, 2)}f}" for n in names)
        for row in rows
    ]
    lines.insert(-1, "-" * len(lines[0]))
    failures = Counter((trial.task, why) for trial in trials for why in trial.failures)
    lines += ["", "Failures, with the number of trials:"] if failures else []
    lines += [f"{n} x {task}: {' '.join(why.split())}" for (task, why), n in failures.items()]
    return "\n".join(lines)


def name_of_model(offline: bool) -> str:
    if offline:
        return OFFLINE
    name = os.environ.get("OPENAI_MODEL") or get_default_model()
    host = urlsplit(os.environ.get("OPENAI_BASE_URL") or "").hostname
    api = "chat completions" if os.environ.get("OPENAI_API") == "chat_completions" else ""
    return ", ".join(filter(None, [name, host, api]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evals.run",
        description="Score a model.",
        epilog="pass^k is the chance that k trials of a task all pass. An unknown --task lists the "
        "tasks.",
    )
    add = parser.add_argument
    add("--offline", action="store_true", help="score the rule-based model: no key, no network")
    add("-k", type=positive, default=4, help="trials of each task (default: 4)")
    add("--jobs", type=positive, default=1, help="trials at once (default: 1)")
    names = [task.name for task in TASKS]
    add("--task", action="append", choices=names, metavar="NAME", help="only this one; repeatable")
    add("--fresh", action="store_true", help="forget this model's earlier trials of these tasks")
    add("--out", type=Path, default=ROOT / ".evals", help="where results go (default: .evals)")
    return parser.parse_args()


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


async def evaluate(args: argparse.Namespace, uri: str, file: Path, databases: set[str]) -> None:
    """Run the trials, print the report, and write it as JSON beside `file`."""
    # As asyncio.run does it from 3.11 on: a KeyboardInterrupt in one task cuts the others off.
    if (task := asyncio.current_task()) and sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    name = name_of_model(args.offline)
    model, settings = choose_model(args.offline)
    if isinstance(model, OfflineModel):
        model.delay = 0  # nobody watches it type
    # With chat completions, most servers count the tokens of a stream only when asked to.
    settings = settings.resolve(ModelSettings(include_usage=True))
    tasks = [task for task in TASKS if not args.task or task.name in args.task]
    async with await connect(uri) as client:
        say(f"Trials run in databases eval_* on {redact(uri)}.")
        if args.fresh:
            forget(file, tasks)
        subject = Subject(name, model, settings)
        trials = await run_trials(client, subject, tasks, args.k, args.jobs, file, databases)
    rows = summarize(trials, args.k)
    failures = {f"{t.task} {t.number}": t.failures for t in trials if t.failures}
    summary = {"model": name, "k": args.k, "rows": rows, "failures": failures}
    # That of all tasks stays as it is where only some ran.
    written = file.with_suffix(".part.json" if args.task else ".json")
    written.write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    print(f"Model: {name}. Trials of each task: {args.k}.\n\n{report(trials, rows)}")
    say(f"\nAll that was said is in {file}")


def main() -> int:
    args = arguments()
    load_dotenv()
    logging.basicConfig(level=logging.CRITICAL)
    if not (args.offline or os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
        args.offline = True
        say("No OPENAI_API_KEY is set: running --offline.")
    if problem := missing_setting(args.offline):
        say(problem)
        return 1
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", name_of_model(args.offline))
    file, uri, databases = args.out / f"{name}.jsonl", mongodb_uri(), set[str]()
    again = "the same command without --fresh" if args.fresh else "the same command"
    try:
        uri = ensure_mongod(uri)
        asyncio.run(evaluate(args, uri, file, databases))
    except Interrupted as error:
        say(f"{error}\nFinished trials are kept: {again} goes on.")
    except (DatabaseUnavailable, OSError) as error:
        say(str(error))
    except PyMongoError as error:
        say(explain(error, uri))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say(f"Stopped. Finished trials are kept: {again} goes on.")
        return 130
    else:
        return 0
    finally:
        drop(uri, databases)
    return 1


def drop(uri: str, databases: set[str]) -> None:
    """Remove what trials that were cut short left; when no task of theirs can write any more."""
    if databases:
        with suppress(PyMongoError), MongoClient[Document](uri, timeoutMS=5000) as client:
            for name in databases:
                client.drop_database(name)


if __name__ == "__main__":
    sys.exit(main())
