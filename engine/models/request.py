"""What is sent to a model's server: a history as every server takes it.

docs/servers.md has who refuses what.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.history import NO_ANSWER, Item, answer_in, begins_turn, taken, window, window_by_tokens
from engine.models.items import is_object, repairs, short_id
from engine.options import Limits

NO_OUTPUT = "(no output)"  # sent for a tool that answered with nothing
# llama.cpp's server wants the type, which the API leaves to the sender.
SAID = {"type": "message", "role": "assistant"}
STORED = ("reasoning", "function_call", "function_call_output")  # that another server can read


def shown(items: Sequence[Any], limits: Limits) -> list[Any]:
    """What the model is shown of a stored history: its last whole turns.

    Its calls get different ids already here. Some servers count calls anew in each turn, and of
    two calls with one id, the SDK keeps one.
    """
    known = [
        item
        for item in window(taken(items), limits.turns)
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
    calls = _calls_of(sound)
    request = _Request(calls, set(calls.values()), issued)
    for place, item in enumerate(sound):
        request.add(place, item)
    return request.items


@dataclass
class _Request:
    """Takes one item after the other, oldest first."""

    _calls: dict[int, int]  # the places of calls, by the places of their outputs
    _answered: set[int]  # the same places of calls
    _issued: Container[Any]
    items: list[Any] = field(default_factory=list)
    _ids: dict[int, str] = field(default_factory=dict)  # of the calls, by their places
    _used: set[str] = field(default_factory=set)  # the same ids
    _thought: Item | None = None  # reasoning that belongs to the next call

    def add(self, place: int, item: Item) -> None:
        kind, role = item.get("type"), item.get("role")
        if kind == "function_call":
            self._add_call(place, item)
        elif kind == "function_call_output":
            self._add_output(place, item)
        elif kind == "reasoning":
            self._add_reasoning(item)
        elif role == "user":
            self._add_message(item)
        elif role == "assistant":
            self._add_answer(item)
        else:
            self.items.append(item)

    def _add_call(self, place: int, call: Item) -> None:
        if place not in self._answered:
            return
        issued, call_id = call.get("id") in self._issued, call["call_id"]
        sent_id = call_id if issued else short_id(call_id, self._used)
        self._ids[place] = sent_id
        self._used.add(sent_id)
        if self._thought:
            self.items.append(self._thought)
            self._thought = None
        # With other arguments the tool was never run: the SDK told the model so, in its output.
        arguments = call["arguments"] if is_object(call["arguments"]) else "{}"
        self._append(call, issued, call_id=sent_id, arguments=arguments)

    def _add_output(self, place: int, output: Item) -> None:
        if place not in self._calls:
            return
        told = output["output"]
        if isinstance(told, str) and not told.strip():
            told = NO_OUTPUT
        issued = output.get("id") in self._issued
        self._append(output, issued, call_id=self._ids[self._calls[place]], output=told)

    def _append(self, item: Item, issued: bool, **fields: Any) -> None:
        loses_id = "id" in item and not issued
        if loses_id or not fields.items() <= item.items():
            item = {**item, **fields}
            if loses_id:
                del item["id"]
        self.items.append(item)

    def _add_reasoning(self, reasoning: Item) -> None:
        if reasoning.get("id") in self._issued:
            self.items.append(reasoning)
        else:
            # Chat completions carry it as text, and the SDK knows for which models. Other
            # reasoning is sealed: only the server that made it can read it.
            self._thought = reasoning if reasoning.get("provider_data") else None

    def _add_message(self, message: Item) -> None:
        content = message.get("content")
        if not content or str(content).isspace():
            return
        self._thought = None
        # Templates want the roles to alternate. Joined, a request that was withdrawn would
        # read like a part of the next one.
        before = self.items[-1] if self.items else {}
        if begins_turn(before) or before.get("type") == "function_call_output":
            self.items.append({**SAID, "content": NO_ANSWER})
        self.items.append(message)

    def _add_answer(self, answer: Item) -> None:
        text, before = answer_in(answer), self.items[-1] if self.items else {}
        if not text:
            return
        if answer.get("id") in self._issued:
            self.items.append(answer)
            return
        if before.get("role") == "assistant" and before.get("id") not in self._issued:
            text = f"{self.items.pop()['content']}\n\n{text}"
        self.items.append({**SAID, "content": text})


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
