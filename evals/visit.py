"""One trial: a customer who follows the script of a task, in the conversation of the chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from agents import AgentsException, Model, TResponseInputItem

from agents_def import build_agents
from database import Database, Document
from engine.events import ApprovalNeeded, Event, HandedOff, Text, ToolStarted, TurnFailed
from evals.tasks import NO, RESTART, TODAY, YES, Task
from main import open_conversation
from seed_data import SCHEMAS, seed


@dataclass
class Trial:
    """What happened; `answers` has an entry for each step of the script that was played."""

    agents: list[str] = field(default_factory=lambda: [build_agents().name])
    tools: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # why the script was not played to its end
    customer: Any = None  # whose visit it is
    before: dict[str, Document] = field(default_factory=dict)  # by names such as "orders ORD-1001"
    after: dict[str, Document] = field(default_factory=dict)
    items: list[TResponseInputItem] = field(default_factory=list)  # with questions and decisions


async def play(task: Task, db: Database, model: Model, trial: Trial) -> None:
    """Seed `db`, which is for this trial alone, and follow the script of `task`."""
    await seed(db, TODAY)
    for place, fields in task.given.items():
        collection, document_id = place.split()
        # With upsert, the schema refuses a task that names what the shop does not have.
        await db[collection].update_one({"_id": document_id}, {"$set": fields}, upsert=True)
    trial.before = await snapshot(db)
    trial.customer = next(c for c in trial.before.values() if c.get("email") == task.email)
    try:
        await _follow_script(task, db, model, trial)
    except TurnFailed as error:
        # With no cause, or one of the SDK's, the model failed; else a server, network or database.
        if not isinstance(error.__cause__, (AgentsException, TurnFailed, type(None))):
            raise
        trial.failed.append(f"turn: {error}")
    trial.after = await snapshot(db)


async def snapshot(db: Database) -> dict[str, Document]:
    """Every document of the shop's own collections."""
    return {f"{name} {found['_id']}": found for name in SCHEMAS async for found in db[name].find()}


async def _follow_script(task: Task, db: Database, model: Model, trial: Trial) -> None:
    conversation, approval, seen = None, None, 0
    for step in task.script:
        if step in (YES, NO) and approval is None:
            trial.failed.append("approval: none was asked for")
            return
        if step not in (YES, NO, RESTART) and approval:
            break
        if conversation is None or step == RESTART:  # log in, as in a new process
            conversation = await open_conversation(
                db.client, trial.customer, model, database=db.name, now=lambda: TODAY
            )
        if step in (YES, NO, RESTART):
            trial.items.append({"role": "user", "content": step})
        if step == RESTART:
            events = conversation.resume()
        elif approval:
            events = conversation.decide(approval, step == YES)
        else:
            events = conversation.turn(step)
        try:
            approval = await _watch(events, trial)
        finally:
            history = await conversation.next_input()
            while approval and history[-1].get("type") == "function_call":
                history.pop()  # the call that waits: it is shown after the decision
            trial.items += history[seen:]
            seen = len(history)
        if approval:
            trial.items.append({"role": "assistant", "content": approval.question})
    if approval:
        trial.failed.append(f"approval: not expected: {approval.question}")


async def _watch(events: AsyncGenerator[Event, None], trial: Trial) -> ApprovalNeeded | None:
    approval = None
    trial.answers.append("")
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Text):
                trial.answers[-1] += event.delta
            elif isinstance(event, HandedOff):
                trial.agents.append(event.agent)
            elif isinstance(event, ToolStarted):
                trial.tools.append(event.tool)
            elif isinstance(event, ApprovalNeeded):
                approval = event
    return approval
