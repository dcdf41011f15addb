"""What a model's server sends, made into what the API promises: items, and events of a stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from agents.models.fake_id import FAKE_RESPONSES_ID
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
)
from pydantic import BaseModel

from engine.errors import AnswerFailed
from engine.history import CUT_OFF, text_of, without_thoughts
from engine.models.items import is_object, is_short, repairs, short_id
from engine.text import clean

OPEN, CLOSE = "<think>", "</think>"
TEXT = "response.output_text.delta"
FAILED = ("response.failed", "error", "response.error")


class Answer:
    """One response. What is said between `<think>` and `</think>` is left out."""

    def __init__(self, request: Any, issued: dict[str, None]) -> None:
        """`request`: the items that were sent. The ids of the answer's items go to `issued`."""
        self.begun = False  # whether a piece of it has come
        self.cut_off = False
        self._request = request
        self._issued = issued
        self._completed = False
        self._response: Response | None = None
        self._items: list[Any] = []  # whole ones
        self._text = ""  # of the message under way
        self._piece: Any = None  # the last one of a text
        self._thoughts: dict[int, Thoughts] = {}  # by the place of their message

    def events(self, event: Any) -> list[Any]:
        """What becomes of one event. Raises AnswerFailed if it is an error."""
        kind = str(getattr(event, "type", ""))
        if kind.endswith(".delta"):
            return self._of_piece(event, kind)
        if kind in FAILED:
            raise _failed(event)
        if kind.startswith("response.output_item."):
            items = self.items([event.item])
            if not items:
                return []
            event.item = items[0]
            if kind == "response.output_item.done":
                self._items, self._text = [*self._items, event.item], ""
        elif hasattr(event, "response"):
            event.response.output = self.items(event.response.output)
            self._response = event.response
            self._completed = self._completed or kind == "response.completed"
            if kind == "response.incomplete":
                return self.rest()
        return [event]

    def _of_piece(self, event: Any, kind: str) -> list[Any]:
        given = delta = getattr(event, "delta", None)
        if not isinstance(delta, str):
            return []
        self.begun = self.begun or bool(delta)
        if not delta.isprintable():
            delta = clean(delta.replace("\r", ""))  # "\r\n" may come in two
        if kind == TEXT:
            place = getattr(event, "output_index", 0)
            thoughts = self._thoughts.get(place) or self._thoughts.setdefault(place, Thoughts())
            if not thoughts.ended:
                delta = thoughts.said(delta)
            self._text += delta
            self._piece = event
        if delta != given:
            event.delta = delta
        return [event]

    def rest(self) -> list[Any]:
        """What ends a response that its server did not end; nothing if it came to its end."""
        if self._completed or self._response is None:
            return []
        output: list[Any] = [*(self._response.output or self._items)]
        if not self._response.output and self._text.strip():
            output.append(_message(self._text))
        reason = getattr(self._response.incomplete_details, "reason", None)
        if reason == "content_filter" and all(item.type == "reasoning" for item in output):
            raise AnswerFailed(reason, "The answer was withheld.")
        made = self._mark(output)
        for item in output:
            if item.type == "function_call" and not is_object(item.arguments):
                item.arguments = item.arguments or "{"  # no tool may run with half of them
        self.cut_off = True
        whole = self._response.model_copy(update={"status": "completed", "output": output})
        event = ResponseCompletedEvent(type="response.completed", response=whole, sequence_number=0)
        return [*made, event]

    def _mark(self, output: list[Any]) -> list[Any]:
        """If `output` ends with words, mark them as cut off; returns the events that show it."""
        last = output[-1] if output else None
        if last is None or last.type != "message" or not text_of(last.model_dump()).strip():
            return []
        part = last.content[-1]
        if part.type != "output_text":
            return []
        part.text = f"{part.text.rstrip()} {CUT_OFF}"
        # Without a piece, the message is shown whole.
        return [self._piece.model_copy(update={"delta": f" {CUT_OFF}"})] if self._piece else []

    def items(self, output: Iterable[Any] | None) -> list[Any]:
        """The items of `output` with what is ill-formed mended or left out.

        A server that names its calls in its own way may not take such a name back, and some count
        them anew in each response, at which the SDK ends the run. The ids of the SDK's own vendor
        stay.
        """
        items: list[Any] = []
        models: list[Any] = [item for item in output or [] if isinstance(item, BaseModel)]
        used: set[Any] | None = None  # ids of calls
        for item in models:
            if not _mend(item):
                continue
            items.append(item)
            item_id = str(getattr(item, "id", None) or "")
            has_id = item_id not in ("", FAKE_RESPONSES_ID)
            if has_id:
                self._issued[item_id] = None
            if item.type == "function_call":
                if used is None:
                    request = self._request if isinstance(self._request, list) else []
                    used = {each.get("call_id") for each in request if isinstance(each, dict)}
                if item.call_id in used or not (has_id or is_short(item.call_id)):
                    item.call_id = short_id(item.call_id, used)
                used.add(item.call_id)
        return items


class Thoughts:
    """Takes thoughts out of a text that comes in pieces: they are at its beginning."""

    ended = False  # what comes from here on is no thought
    _held = ""  # may yet turn out to be a thought
    _thought = False  # whether there was one

    def said(self, delta: str) -> str:
        """What to show of the text that `delta` goes on with."""
        if self.ended:
            return delta
        self._held += delta
        held = self._held.lstrip()
        while held.startswith(OPEN) and CLOSE in held:
            held = self._held = held.partition(CLOSE)[2].lstrip()
            self._thought = True
        if OPEN.startswith(held[: len(OPEN)]):
            return ""
        self.ended = True
        return held if self._thought else self._held


def _mend(item: Any) -> bool:
    """Mend `item` in place; False if nothing can be made of it."""
    fields = {**vars(item), **(item.model_extra or {})}
    fixed = repairs(fields)
    if fixed is None or not isinstance(fields.get("type"), str):
        return False
    if fields["type"] == "message" or fields.get("role"):
        fixed["role"] = "assistant"  # no message in the owner's name
    for name, value in fixed.items():
        if name != "content" and value != fields.get(name):
            setattr(item, name, value)
    if item.type == "message":
        parts = [part for part in item.content or [] if isinstance(part, BaseModel)]
        for part, name in itertools.product(parts, ("text", "refusal")):
            words = getattr(part, name, None)
            if words is not None:
                words = without_thoughts(clean(words)) if isinstance(words, str) else ""
                setattr(part, name, words)
        item.content = parts
    return True


def _failed(event: Any) -> AnswerFailed:
    error = getattr(getattr(event, "response", None), "error", None) or event
    error = getattr(error, "error", None) or error  # some servers put it one level deeper
    code, message = [
        (error.get(name) if isinstance(error, dict) else getattr(error, name, None)) or ""
        for name in ("code", "message")
    ]
    return AnswerFailed(str(code), str(message))


def _message(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id=FAKE_RESPONSES_ID, type="message", role="assistant", status="completed", content=[part]
    )
