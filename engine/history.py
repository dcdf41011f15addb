"""What the SDK's stored items mean: pure functions on a conversation's history, oldest first.

An item is a dict as the SDK stores it: a message, a call, its output, or reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from engine.text import clean

WITHHELD = "*(withheld)*"  # stands for a message that was refused before it was stored
NOT_TAKEN = "*(This message was not taken.)*"  # ends the turn of a message that was refused
CUT_OFF = "*(cut off)*"  # ends an answer that was not finished in time, or by its server
NO_ANSWER = "I did not get to answer that."  # sent between two messages of the owner
THOUGHTS = re.compile(r"\A(?:\s*<think>.*?(?:</think>|\Z))+\s*", re.DOTALL)

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


def without_thoughts(text: str) -> str:
    """`text` without the `<think>...</think>` that some servers put before the words."""
    return THOUGHTS.sub("", text) if "<think>" in text else text


def answer_in(item: Any) -> str:
    """What the assistant says in `item`; empty if it says nothing, or only blanks."""
    text = without_thoughts(text_of(item)) if item.get("role") == "assistant" else ""
    return text if text.strip() else ""


def transcript(items: Iterable[Any]) -> list[Message]:
    """What was said, without calls, handoffs and reasoning."""
    said = (
        Message("user", text_of(item))
        if begins_turn(item)
        else Message("assistant", answer_in(item))
        for item in items
    )
    return [message for message in said if message.text]


def unanswered(items: Sequence[Any]) -> str | None:
    """The owner's last message, if the history does not end with an assistant's words."""
    last = next((item for item in reversed(items) if item.get("type") != "reasoning"), None)
    if last is None or answer_in(last):
        return None
    return next((text_of(item) for item in reversed(items) if item.get("role") == "user"), None)


def begins_turn(item: Any) -> bool:
    """Whether `item` is a message of the owner's."""
    return bool(item.get("role") == "user")


def ends_turn(items: Sequence[Any]) -> bool:
    """Whether `items`, one step of the agents, are an answer that nothing follows."""
    said_only = all(item.get("type") in ("message", "reasoning", None) for item in items)
    return said_only and bool(answer_in(items[-1]))


def last_turn(items: Sequence[Any]) -> Sequence[Any]:
    """`items` from the owner's last message on. In another turn, a call may have the same id."""
    return window(items, 1) or items


def waiting_call(items: Sequence[Any], call_id: str | None = None) -> Item | None:
    """The call in `items` that has no output, such as one that waits for approval.

    If there are several: the one with `call_id`; the last, if `call_id` is none of these calls',
    such as that of a call inside an agent that is a tool.
    """
    done = {item.get("call_id") for item in items if str(item.get("type")).endswith("_output")}
    calls = [item for item in items if str(item.get("type")).endswith("_call")]
    waiting = [item for item in calls if item.get("call_id", "") not in {"", *done}]
    if any(item.get("call_id") == call_id for item in calls):
        waiting = [item for item in waiting if item["call_id"] == call_id]
    return next(reversed(waiting), None)


def output_of(call: Item, output: str) -> Item:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def first_line(output: Any) -> str:
    """The first line of what a tool answered; of its parts, if it answered in parts."""
    parts = output if isinstance(output, list) else [output]
    parts = [part.model_dump() if isinstance(part, BaseModel) else part for part in parts]
    if all(isinstance(part, dict) and "type" in part for part in parts):
        output = "".join(str(part.get("text") or "") for part in parts)
    return clean(str(output)).strip().partition("\n")[0]


def assistant_item(text: str) -> Item:
    return {"role": "assistant", "content": text}


def without_refused(items: Sequence[Any]) -> Sequence[Any]:
    """`items` without the turns that end in NOT_TAKEN, and the unanswered ones just before them."""
    if not any(item.get("content") == NOT_TAKEN for item in items):
        return items
    turns: list[list[Any]] = []
    for item in items:
        if begins_turn(item) or not turns:
            turns.append([])
        turns[-1].append(item)
        if item.get("role") == "assistant" and item.get("content") == NOT_TAKEN:
            turns.pop()
            while turns and unanswered(turns[-1]) is not None:
                turns.pop()
    return [item for turn in turns for item in turn]


def window(items: Sequence[Any], turns: int) -> Sequence[Any]:
    """The last `turns` whole turns of `items`.

    A turn starts at a message of the owner, so a call and its output stay or go together.
    """
    starts = [index for index, item in enumerate(items) if begins_turn(item)][-turns:]
    return items[starts[0] :] if starts else []


def window_by_tokens(items: Sequence[Any], tokens: int) -> Sequence[Any]:
    """As many of the last whole turns as fit into `tokens`. The last turn is always there."""
    turns = sum(map(begins_turn, items))
    while turns > 1 and tokens_in(window(items, turns)) > tokens:
        turns -= 1
    return window(items, turns)


def tokens_in(items: Sequence[Any]) -> int:
    """About how many tokens `items` are: four bytes of their JSON are one. Vendors count anew."""
    return len(json.dumps(items, ensure_ascii=False).encode("utf-8", "surrogatepass")) // 4
