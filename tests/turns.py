"""Turns without a screen: what a scripted model says, what a stream told, what is stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents.testing import assistant_message, function_call

from database import Database
from engine.events import ApprovalNeeded, Event, Text

Open = Callable[..., Any]
RETURN = {"order_id": "ORD-1001", "reason": "Not powerful enough"}


def say(text: str) -> list[Any]:
    return [assistant_message(text)]


def call(name: str, call_id: str = "call_1", **arguments: Any) -> list[Any]:
    return [function_call(name, arguments, call_id=call_id)]


def return_1001(call_id: str = "call_1") -> list[Any]:
    return call("initiate_return", call_id, **RETURN)


async def events(stream: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in stream]


async def asked(stream: AsyncIterator[Event]) -> ApprovalNeeded:
    """The approval that this turn ends with."""
    last = (await events(stream))[-1]
    assert isinstance(last, ApprovalNeeded), last
    return last


def text_of(seen: list[Event]) -> str:
    return "".join(event.delta for event in seen if isinstance(event, Text))


async def stored_items(db: Database) -> list[dict[str, Any]]:
    documents = await db.agent_messages.find().sort("seq", 1).to_list()
    return [json.loads(item) for document in documents for item in document["message_data"]]
