"""An appointment desk on the same engine and terminal: what a second product has to bring.

    python -m examples.desk

It brings two agents, two tools, the question before one of them, and its own names in MongoDB. It
needs `engine/` and `terminal/` beside it, and the settings of env.example: a key, MONGODB_URI.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents import Agent, Model, RunConfig, RunContextWrapper, function_tool, set_default_openai_api
from agents.extensions.memory import MongoDBSession
from dotenv import load_dotenv
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from engine import Approval, Commit, Conversation, Refusal, TurnFailed, without_write_concern
from terminal.chat import Chat, words_for
from terminal.inspect import Query
from terminal.screen import Screen

Database = AsyncDatabase[dict[str, Any]]
TIMES = ("Monday 9:00", "Monday 14:00", "Tuesday 10:00", "Friday 16:30")


@dataclass(frozen=True)
class Visit:
    """What the tools get from the run, and never from the model."""

    db: Database
    member: str  # such as M-1007
    commit: Commit


@function_tool
async def list_bookings(run: RunContextWrapper[Visit]) -> str:
    """List the member's appointments."""
    found = await run.context.db.bookings.find({"member": run.context.member}).to_list()
    return "\n".join(f"{each['time']}: {each['about']}" for each in found) or "None yet."


@function_tool(needs_approval=True)
async def book(run: RunContextWrapper[Visit], time: str, about: str) -> str:
    """Book an appointment. The member is asked before it happens.

    Args:
        time: Such as "Monday 9:00".
        about: What the visit is about, in the member's words.
    """
    visit = run.context

    async def write() -> str:
        # A bare insert: run twice, it would book twice. The engine runs it once for one yes.
        await visit.db.bookings.insert_one({"member": visit.member, "time": time, "about": about})
        return f"Booked: {time}."

    return await visit.commit(write)


async def ask_to_book(visit: Visit, arguments: Mapping[str, Any]) -> str:
    if arguments.get("time") not in TIMES:
        raise Refusal(f"There is no such time. The times are: {', '.join(TIMES)}.")
    return f"Book {arguments['time']}: {arguments.get('about')!r}.\nIs that right? [y/N] "


PHRASES = {"list_bookings": "Looking up your bookings", "book": "Preparing the booking"}
APPROVALS = {"book": Approval(ask_to_book, declined="Nothing was booked.")}


def build_agents() -> Agent[Visit]:
    reception = Agent[Visit](
        name="Reception",
        instructions="You are the reception of a practice. Hand times and bookings to Calendar.",
    )
    calendar = Agent[Visit](
        name="Calendar",
        handoff_description="Knows the member's appointments and books new ones.",
        instructions=f"The times are {', '.join(TIMES)}. Once the member has chosen one and said "
        "what it is about, call book; the program asks for the yes. All else: go to Reception.",
        tools=[list_bookings, book],
        handoffs=[reception],
    )
    reception.handoffs = [calendar]
    return reception


async def open_conversation(
    db: Database, member: str, model: Model | str | None, **options: Any
) -> Conversation:
    session = MongoDBSession(
        f"desk_{member}",
        client=db.client,
        database=db.name,
        sessions_collection="desk_sessions",
        messages_collection="desk_messages",
    )
    return await Conversation.open(
        session,
        owner=member,
        agent=build_agents(),
        context=lambda commit: Visit(db, member, commit),
        approvals=APPROVALS,
        run_config=RunConfig(model=model, workflow_name="Desk", tracing_disabled=True),
        records="desk_conversations",
        **options,
    )


async def main() -> None:
    if not os.environ.get("OPENAI_API_KEY"):
        raise SystemExit("OPENAI_API_KEY is not set. Put it in .env.")
    screen, uri = Screen(), without_write_concern(os.environ.get("MONGODB_URI") or "localhost")
    async with AsyncMongoClient[dict[str, Any]](uri, timeoutMS=15_000) as client:
        db = client["appointment_desk"]
        member = (await screen.ask("Your member number, such as M-1007: ")).strip().upper()
        if not re.fullmatch(r"M-[0-9]{1,9}", member):
            raise SystemExit("That is no member number.")
        conversation = await open_conversation(db, member, os.environ.get("OPENAI_MODEL") or None)
        mine = Query(db.bookings, "what the tools change", {"member": member})
        await Chat(screen, conversation, member, PHRASES, inspected=[mine]).run()


if __name__ == "__main__":
    load_dotenv(".env")
    if os.environ.get("OPENAI_API") == "chat_completions":
        set_default_openai_api("chat_completions")
    try:
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            asyncio.run(main())
    except TurnFailed as error:
        raise SystemExit(words_for(error)) from None
    except PyMongoError as error:
        raise SystemExit(f"MongoDB: {error}") from None
