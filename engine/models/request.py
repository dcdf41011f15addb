"""What is sent to a model's server: a history as every server takes it.

docs/servers.md has who refuses what.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from engine.history import (
    NO_ANSWER,
    Item,
    answer_in,
    begins_turn,
    window,
    window_by_tokens,
    without_refused,
)
from engine.models.items import is_object, repairs, short_id
from engine.options import Limits

NO_OUTPUT = "(no output)"  # sent for a tool that answered with nothing
# llama.cpp's server wants the type, which the API leaves to the sender.
SAID = {"type": "message", "role": "assistant"}
STORED = ("reasoning", "function_call", "function_call_output")  # that another server can read


def for_model(items: Sequence[Any], limits: Limits) -> list[Any]:
    """What the model sees of a stored history: its last whole turns.

    Its calls get different ids already here. Some servers count calls anew in each turn, and of
    two calls with one id, the SDK keeps one.
    """
    known = [
        item
        for item in window(without_refused(items), limits.turns)
        if item.get("role") in ("user", "assistant") or item.get("type") in STORED
    ]
    sent = fit(known)
    return list(window_by_tokens(sent, limits.tokens)) if limits.tokens else sent


def fit(items: Sequence[Any], issued: Container[Any] = ()) -> list[Any]:
    """`items` as every server takes them. What fits goes as it is, uncopied.

    `issued`: the ids of items that the server to be asked has made; they go back as they came. All
    others lose the ids: a vendor keeps what an id names only for a while, and takes a call's id
    only with its reasoning. What an earlier version stored ill-formed is mended here.
    """
    sound = []
    for item in items:
        fixed = repairs(item)
        if fixed is not None:
            sound.append({**item, **fixed} if fixed else item)
    return _in_roles(_in_pairs(sound, issued), issued)


def _in_pairs(items: Sequence[Item], issued: Container[Any]) -> list[Item]:
    """Each call with its output, under an id that every server takes. Halves are left out."""
    calls = _calls_of(items)
    answered, ids = set(calls.values()), dict[int, str]()
    sent = []
    for place, item in enumerate(items):
        kind, is_issued = item.get("type"), item.get("id") in issued
        if kind == "function_call" and place in answered:
            call_id, arguments = item["call_id"], item["arguments"]
            ids[place] = call_id if is_issued else short_id(call_id, ids.values())
            # The tool was never run with others: the SDK told the model so, in the call's output.
            arguments = arguments if is_object(arguments) else "{}"
            sent.append(_with(item, is_issued, call_id=ids[place], arguments=arguments))
        elif kind == "function_call_output" and place in calls:
            output = item["output"]
            output = NO_OUTPUT if isinstance(output, str) and not output.strip() else output
            sent.append(_with(item, is_issued, call_id=ids[calls[place]], output=output))
        elif kind not in ("function_call", "function_call_output"):
            sent.append(item)
    return sent


def _with(item: Item, is_issued: bool, **fields: Any) -> Item:
    loses_id = "id" in item and not is_issued
    if fields.items() <= item.items() and not loses_id:
        return item
    return {name: v for name, v in {**item, **fields}.items() if name != "id" or is_issued}


def _in_roles(items: Sequence[Item], issued: Container[Any]) -> list[Item]:
    """Owner and assistant in turn, as templates want it, and no message without words."""
    sent: list[Item] = []
    thought = None  # reasoning that belongs to the next call
    for item in items:
        kind, role, is_issued = item.get("type"), item.get("role"), item.get("id") in issued
        before = sent[-1] if sent else {}
        if kind == "reasoning" and not is_issued:
            # Chat completions carry it as text, and the SDK knows for which models. Other
            # reasoning is sealed: only the server that made it can read it.
            thought = item if item.get("provider_data") else None
            continue
        if kind == "function_call":
            sent += [thought] if thought else []
            thought = None
        elif role == "user":
            if not item.get("content") or str(item["content"]).isspace():
                continue
            thought = None
            # Joined, a request that was withdrawn would read like a part of the next one.
            if begins_turn(before) or before.get("type") == "function_call_output":
                sent.append({**SAID, "content": NO_ANSWER})
        elif role == "assistant":
            if not (text := answer_in(item)):
                continue
            if not is_issued:
                if before.get("role") == "assistant" and before.get("id") not in issued:
                    text = f"{sent.pop()['content']}\n\n{text}"
                item = {**SAID, "content": text}
        sent.append(item)
    return sent


def _calls_of(items: Sequence[Item]) -> dict[int, int]:
    """The place of each output in `items`, and the place of the call that it answers.

    Some servers count calls anew in each turn or response, so an id alone names no call.
    """
    calls: dict[int, int] = {}
    waiting: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        kind = item.get("type")
        if kind == "function_call":
            waiting.setdefault(item["call_id"], []).append(place)
        elif kind == "function_call_output" and waiting.get(item["call_id"]):
            calls[place] = waiting[item["call_id"]].pop(0)
        elif begins_turn(item):
            waiting = {}
    return calls
