"""What the SDK's stored items mean: pure functions on a conversation's history, oldest first.

An item is a dict as the SDK stores it: a message, a call, its output, or reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from agents import TResponseInputItem

from engine.text import clean

HISTORY_TURNS = 20  # what the model sees: the last whole turns ...
HISTORY_ITEMS = 100  # ... out of this many stored items; MongoDB's first batch holds 101
WITHHELD = "*(withheld)*"  # stands for a message that was refused before it was stored
NOT_TAKEN = "*(This message was not taken.)*"  # ends the turn of a message that was refused

Item = dict[str, Any]


class Message(NamedTuple):
    """One line of the transcript; `role` is `user` or `assistant`."""

    role: str
    text: str


def text_of(item: Any) -> str:
    """The words of a message, refusals included; empty for every other item."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    words = [p.get("text") or p.get("refusal") for p in parts if isinstance(p, dict)]
    return clean("".join(word for word in words if isinstance(word, str)))


def transcript(items: Iterable[Any]) -> list[Message]:
    """What was said, without calls, handoffs and reasoning."""
    messages = (Message(str(item.get("role")), text_of(item)) for item in items)
    return [each for each in messages if each.role in ("user", "assistant") and each.text]


def unanswered(items: Sequence[Any]) -> str | None:
    """The customer's last message, if the history does not end with an assistant's words."""
    last = next((item for item in reversed(items) if item.get("type") != "reasoning"), None)
    if last is None or (last.get("role") == "assistant" and text_of(last)):
        return None
    return next((text_of(item) for item in reversed(items) if item.get("role") == "user"), None)


def begins_turn(item: Any) -> bool:
    """Whether `item` is a message of the customer's."""
    return bool(item.get("role") == "user")


def ends_turn(items: Sequence[Any]) -> bool:
    """Whether `items`, one step of the agents, are an answer that nothing follows."""
    said_only = all(item.get("type") in ("message", "reasoning", None) for item in items)
    return said_only and items[-1].get("role") == "assistant" and bool(text_of(items[-1]))


def last_turn(items: Sequence[Any]) -> Sequence[Any]:
    """`items` from the customer's last message on. In another turn, a call may have the same id."""
    starts = [index for index, item in enumerate(items) if begins_turn(item)]
    return items[starts[-1] :] if starts else items


def waiting_call(items: Sequence[Any], call_id: str | None = None) -> Item | None:
    """The call in `items` that has no output, such as one that waits for approval.

    If there are several: the one with `call_id`, or else the last.
    """
    done = {item.get("call_id") for item in items if str(item.get("type")).endswith("_output")}
    calls = [item for item in items if str(item.get("type")).endswith("_call")]
    waiting = [item for item in calls if item.get("call_id", "") not in {"", *done}]
    named = [item for item in waiting if item["call_id"] == call_id]
    return next(reversed(named or waiting), None)


def output_of(call: Item, output: str) -> Item:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def first_line(output: Item) -> str:
    return text_of({"content": output.get("output")}).strip().partition("\n")[0]


def answer(text: str) -> Item:
    return {"role": "assistant", "content": text}


def taken(items: Sequence[Any]) -> Sequence[Any]:
    """`items` without the turns that end in NOT_TAKEN, and the unanswered ones just before them."""
    if not any(text_of(item) == NOT_TAKEN for item in items):
        return items
    turns: list[list[Any]] = []
    for item in items:
        if begins_turn(item) or not turns:
            turns.append([])
        turns[-1].append(item)
        if text_of(item) == NOT_TAKEN:
            turns.pop()
            while turns and unanswered(turns[-1]) is not None:
                turns.pop()
    return [item for turn in turns for item in turn]


def window(items: Sequence[Any]) -> list[TResponseInputItem]:
    """What the model sees of `items`: its last whole turns, without the vendor's ids.

    A turn starts at a message of the customer, so a call and its output stay or go together; a call
    without output is dropped by the SDK. The vendor keeps what an id names only for a while, and
    takes a call's id only with its reasoning: a conversation that goes on a month later must not
    depend on them. To leave out the ids of reasoning alone (reasoning_item_id_policy="omit") is no
    way: newer models refuse it.
    """
    starts = [index for index, item in enumerate(items) if begins_turn(item)]
    kept: list[Any] = []
    call_ids: dict[str, str] = {}  # of the turn, to ids that no other turn has
    for stored in items[starts[-HISTORY_TURNS:][0] :] if starts else []:
        item = repaired(stored)
        if item is None:
            continue
        if begins_turn(item):
            call_ids = {}
        elif item.get("role") == "assistant" and (text := text_of(item)):
            item = {"role": "assistant", "content": text}
        elif item.get("type") in ("function_call", "function_call_output"):
            item.pop("id", None)
            # Some servers count calls anew in each turn, and the SDK takes equal ids for one call.
            item["call_id"] = call_ids.setdefault(item["call_id"], f"past_{len(kept)}")
        else:
            continue
        kept.append(item)
    return kept


def repaired(stored: Any, *, from_model: bool = False) -> Item | None:
    """`stored` as the API's types demand it, or None if nothing can be made of it.

    A server may send a call whose name is null or whose arguments are an object, half a surrogate
    pair, or, with `from_model`, a message in the customer's name. Stored or sent back as it came,
    each would make every later request fail.
    """
    item: Item = {name: clean(v) if isinstance(v, str) else v for name, v in stored.items()}
    kind = item.get("type")
    if kind in ("function_call", "function_call_output") and not isinstance(
        item.get("call_id"), str
    ):
        return None
    if kind == "function_call":
        name, arguments = item.get("name"), item.get("arguments")
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] if isinstance(name, str) else ""
        item["name"] = name or "unknown"
        if not isinstance(arguments, str):
            item["arguments"] = "{}" if arguments is None else json.dumps(arguments)
    elif kind == "function_call_output" and not isinstance(item.get("output"), (str, list)):
        item["output"] = str(item.get("output"))
    elif from_model and "role" in item:
        item["role"] = "assistant"
    return item
