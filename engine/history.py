"""What the SDK's stored items mean: pure functions on a conversation's history, oldest first.

An item is a dict as the SDK stores it: a message, a call, its output, or reasoning.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

from agents import TResponseInputItem

from engine.text import clean

HISTORY_TURNS = 20  # what the model sees: the last whole turns ...
HISTORY_ITEMS = 100  # ... out of this many stored items; MongoDB's first batch holds 101
WITHHELD = "*(withheld)*"  # stands for a message that was refused before it was stored
NOT_TAKEN = "*(This message was not taken.)*"  # ends the turn of a message that was refused
CUT_OFF = "*(cut off)*"  # ends an answer that the model's server did not finish
NO_ANSWER = "I did not get to answer that."  # sent between two messages of the customer
NO_OUTPUT = "(no output)"  # sent for a tool that answered with nothing
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
    return THOUGHTS.sub("", text)


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
    """The customer's last message, if the history does not end with an assistant's words."""
    last = next((item for item in reversed(items) if item.get("type") != "reasoning"), None)
    if last is None or answer_in(last):
        return None
    return next((text_of(item) for item in reversed(items) if item.get("role") == "user"), None)


def begins_turn(item: Any) -> bool:
    """Whether `item` is a message of the customer's."""
    return bool(item.get("role") == "user")


def ends_turn(items: Sequence[Any]) -> bool:
    """Whether `items`, one step of the agents, are an answer that nothing follows."""
    said_only = all(item.get("type") in ("message", "reasoning", None) for item in items)
    return said_only and bool(answer_in(items[-1]))


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
        if item.get("role") == "assistant" and text_of(item) == NOT_TAKEN:
            turns.pop()
            while turns and unanswered(turns[-1]) is not None:
                turns.pop()
    return [item for turn in turns for item in turn]


def window(
    items: Sequence[Any], *, turns: int = HISTORY_TURNS, tokens: int | None = None
) -> list[TResponseInputItem]:
    """What the model sees of `items`: the last `turns` whole turns, and of them as many as fit
    into `tokens` (see `tokens_in`). The last turn is always there.

    A turn starts at a message of the customer, so a call and its output stay or go together.
    """
    kinds = ("reasoning", "function_call", "function_call_output")  # or a message
    known = [i for i in items if i.get("type") in kinds or i.get("role") in ("user", "assistant")]
    starts = [index for index, item in enumerate(known) if begins_turn(item)][-turns:]
    if not starts:
        return []
    shown = fit(known[starts[0] :])
    for start in starts[1:] if tokens else ():
        if tokens_in(shown) <= (tokens or 0):
            break
        shown = fit(known[start:])
    return shown


def tokens_in(items: Sequence[Any]) -> int:
    """About how many tokens `items` are: four bytes of their JSON are one. Vendors count anew."""
    return len(json.dumps(items, ensure_ascii=False).encode("utf-8", "surrogatepass")) // 4


def fit(items: Sequence[Any], own: Container[Any] = ()) -> list[Any]:
    """`items` as every model's server takes them; docs/servers.md has who refuses what.

    `own`: the ids of items that the server to be asked has made; they go back as they came. All
    others lose the ids: a vendor keeps what an id names only for a while, and takes a call's id
    only with its reasoning. What an earlier version stored ill-formed is mended here.
    """
    healed = [item for item in map(repaired, items) if item is not None]
    calls = _calls_of(healed)
    sent: list[Any] = []
    names: dict[int, str] = {}  # of a call, by its place
    thought = None  # reasoning that belongs to the next call
    for place, item in enumerate(healed):
        kind, is_own = item.get("type"), item.get("id") in own
        if kind == "function_call" and place in calls.values():
            call_id = item["call_id"]
            names[place] = call_id if is_own else short_id(call_id, names.values())
            item = {**item, "call_id": names[place], "arguments": _object(item["arguments"])}
            sent += [thought] if thought else []
            thought = None
        elif kind == "function_call_output" and place in calls:
            empty = isinstance(item["output"], str) and not item["output"].strip()
            output = NO_OUTPUT if empty else item["output"]
            item = {**item, "call_id": names[calls[place]], "output": output}
        elif kind in ("function_call", "function_call_output"):
            continue  # one without the other
        elif kind == "reasoning" and not is_own:
            # Chat completions carry it as text, and the SDK knows for which models. Other
            # reasoning is sealed: only the server that made it can read it.
            thought = item if item.get("provider_data") else None
            continue
        elif begins_turn(item):
            if not item.get("content") or str(item["content"]).isspace():
                continue
            thought = None
            before = sent[-1] if sent else {}
            # Templates want the roles to alternate. Joined, a request that was withdrawn would
            # read like a part of the next one.
            if begins_turn(before) or before.get("type") == "function_call_output":
                sent.append(_said(NO_ANSWER))
        elif item.get("role") == "assistant" and not is_own:
            text, before = answer_in(item), sent[-1] if sent else {}
            if text and before.get("role") == "assistant" and before.get("id") not in own:
                text = f"{sent.pop()['content']}\n\n{text}"
            item = _said(text)
        if item.get("role") == "assistant" and not answer_in(item):
            continue
        if kind in ("function_call", "function_call_output") and not is_own:
            item.pop("id", None)
        sent.append(item)
    return sent


def _said(text: str) -> Item:
    # llama.cpp's server wants the type, which the API leaves to the sender.
    return {"type": "message", "role": "assistant", "content": text}


def _calls_of(items: Sequence[Item]) -> dict[int, int]:
    """The place of each output in `items`, and the place of the call that it answers.

    Some servers count calls anew in each turn or response, so an id alone names no call.
    """
    calls: dict[int, int] = {}
    waiting: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        if begins_turn(item):
            waiting = {}
        elif item.get("type") == "function_call":
            waiting.setdefault(item["call_id"], []).append(place)
        elif item.get("type") == "function_call_output" and waiting.get(item["call_id"]):
            calls[place] = waiting[item["call_id"]].pop(0)
    return calls


def short_id(call_id: str, taken: Iterable[str]) -> str:
    """`call_id` if it has nine letters or digits and is not taken; else one that is made of it."""
    names = (hashlib.sha256(f"{call_id} {n}".encode()).hexdigest()[:9] for n in itertools.count())
    candidates = itertools.chain([call_id] if is_short(call_id) else [], names)
    taken = set(taken)
    return next(name for name in candidates if name not in taken)


def is_short(call_id: str) -> bool:
    return bool(re.fullmatch("[a-zA-Z0-9]{9}", call_id))


def is_object(arguments: str) -> bool:
    """Whether the arguments of a call are a JSON object, as the API promises."""
    try:
        return isinstance(json.loads(arguments, parse_constant=_no_json), dict)
    except (ValueError, RecursionError):
        return False


def _no_json(name: str) -> None:
    raise ValueError(name)  # Python reads NaN, a server does not


def _object(arguments: str) -> str:
    # The tool was never run with them: the SDK told the model so, in the call's output.
    return arguments if is_object(arguments) else "{}"


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
