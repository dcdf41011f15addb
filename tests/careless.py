"""A tool that writes without a guard of its own, and a process that dies at a point of its call."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any

from agents import Agent, RunContextWrapper, function_tool
from agents.testing import ModelStep, ScriptedModel
from pymongo import AsyncMongoClient

from engine import Approval, Commit, Limits
from engine.session import Stored
from tests.builders import Visits, asked, call, events, say

# Where a process may die between a yes and the answer to it, in order.
POINTS = (
    "before the commit",
    "before the write",
    "in the write",
    "after the write",
    "before the step is stored",
    "before the model answers",
)
LIMITS = Limits(lease_seconds=1.0)


@dataclass
class Book:
    db: Any
    commit: Commit
    dies: str = ""

    def at(self, point: str) -> None:
        if point == self.dies:
            os._exit(9)


@function_tool(needs_approval=True)
async def book(context: RunContextWrapper[Book], day: str) -> str:
    """Book a day: a bare insert, which a second call would do again."""
    ctx = context.context
    said = f"Booked {day}."

    async def insert() -> str:
        ctx.at("before the write")
        await ctx.db.bookings.insert_one({"day": day})
        ctx.at("in the write")
        return said

    ctx.at("before the commit")
    await ctx.commit(insert)
    ctx.at("after the write")
    return said


async def ask(context: Book, arguments: Any) -> str:
    return f"Book {arguments['day']}?"


def desk(nested: bool) -> Agent[Any]:
    inner = Agent(name="Desk", tools=[book])
    if not nested:
        return inner
    return Agent(name="Front", tools=[inner.as_tool("ask_desk", "Ask the desk.")])


def booking(visits: Visits, dies: str = "") -> None:
    visits.options = {
        "context": lambda commit: Book(visits.db, commit, dies),
        "approvals": {"book": Approval(ask, "Nothing was booked.")},
        "limits": LIMITS,
    }


def first_replies(nested: bool) -> list[Any]:
    outer = [call("ask_desk", "outer", input="Monday")] if nested else []
    return [*outer, call("book", "inner", day="Monday")]


def die(uri: str, database: str, point: str, nested: bool) -> None:
    """For a process of its own: ask, get the yes, and die at `point`."""

    async def main() -> None:
        async with AsyncMongoClient[dict[str, Any]](uri, tz_aware=True) as client:
            visits = Visits(client, database=database)
            booking(visits, point)
            needed = asked(await visits.turn(desk(nested), "Monday", *first_replies(nested)))
            if point == "before the step is stored":

                async def write(*_: Any) -> None:
                    os._exit(9)

                setattr(Stored, "write", write)  # noqa: B010
            last = say("Done.")
            if point == "before the model answers":
                last = ModelStep.respond(lambda _: os._exit(9))  # type: ignore[assignment]
            model = ScriptedModel([*([say("Booked.")] if nested else []), last])
            conversation = await visits.open(desk(nested), model)
            await events(conversation.decide(needed, True))

    asyncio.run(main())
    os._exit(1)  # it should have died before
