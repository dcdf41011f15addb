"""What a model's server sends, made into what the API promises: items, and events of a stream."""

from __future__ import annotations

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
from engine.history import (
    CUT_OFF,
    is_object,
    is_short,
    repaired,
    short_id,
    text_of,
    without_thoughts,
)
from engine.text import clean

OPEN, CLOSE = "<think>", "</think>"


class Answer:
    """One streamed response. What is said between `<think>` and `</think>` is left out."""

    def __init__(self, request: Any, own: set[str]) -> None:
        """`request`: the items that were sent. The ids of the answer's items are added to `own`."""
        self.begun = False  # whether a piece of it has come
        self.cut_off = False
        self._request = request
        self._own = own
        self._completed = False
        self._response: Response | None = None
        self._items: list[Any] = []  # whole ones
        self._text = ""  # of the message under way
        self._piece: Any = None  # the last one of a text
        self._thoughts: dict[int, Thoughts] = {}  # by the place of their message

    def events(self, event: Any) -> list[Any]:
        """What becomes of one event. Raises AnswerFailed if it is an error."""
        kind = str(getattr(event, "type", ""))
        if kind in ("response.failed", "error", "response.error"):
            raise _failed(event)
        if hasattr(event, "delta"):
            if not isinstance(event.delta, str):
                return []
            self.begun = self.begun or bool(event.delta)
            event.delta = clean(event.delta.replace("\r", ""))  # "\r\n" may come in two
            if kind == "response.output_text.delta":
                place = getattr(event, "output_index", 0)
                event.delta = self._thoughts.setdefault(place, Thoughts()).said(event.delta)
                self._text += event.delta
                self._piece = event
        if hasattr(event, "item"):
            items = self._mended([event.item])
            if not items:
                return []
            event.item = items[0]
            if kind == "response.output_item.done":
                self._items, self._text = [*self._items, event.item], ""
        if hasattr(event, "response"):
            event.response.output = self._mended(event.response.output)
            self._response = event.response
            self._completed = self._completed or kind == "response.completed"
            if kind == "response.incomplete":
                return self.rest()
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
        made: list[Any] = []
        if output and output[-1].type == "message" and text_of(output[-1].model_dump()).strip():
            part = output[-1].content[-1]
            if part.type == "output_text":
                part.text = f"{part.text.rstrip()} {CUT_OFF}"
                if self._piece:  # else the message is shown whole
                    made.append(self._piece.model_copy(update={"delta": f" {CUT_OFF}"}))
        for item in output:
            if item.type == "function_call" and not is_object(item.arguments):
                item.arguments = item.arguments or "{"  # no tool may run with half of them
        self.cut_off = True
        whole = self._response.model_copy(update={"status": "completed", "output": output})
        event = ResponseCompletedEvent(type="response.completed", response=whole, sequence_number=0)
        return [*made, event]

    def _mended(self, output: Any) -> list[Any]:
        return mended(output, self._request, self._own)


class Thoughts:
    """Takes thoughts out of a text that comes in pieces: they are at its beginning."""

    def __init__(self) -> None:
        self._held = ""  # may yet turn out to be a thought
        self._thought = False  # whether there was one
        self._ended = False

    def said(self, delta: str) -> str:
        """What to show of the text that `delta` goes on with."""
        if self._ended:
            return delta
        self._held += delta
        held = self._held.lstrip()
        while held.startswith(OPEN) and CLOSE in held:
            held = self._held = held.partition(CLOSE)[2].lstrip()
            self._thought = True
        if OPEN.startswith(held[: len(OPEN)]):
            return ""
        self._ended = True
        return held if self._thought else self._held


def mended(output: Iterable[Any] | None, request: Any, own: set[str]) -> list[Any]:
    """The items of `output` with what is ill-formed mended or left out. Ids of theirs go to `own`.

    A server that names its calls in its own way may not take such a name back, and some count
    them anew in each response, at which the SDK ends the run. The ids of the SDK's own vendor stay.
    """
    models: list[Any] = [item for item in output or [] if isinstance(item, BaseModel)]
    items = [item for item in models if _mend(item)]
    request = request if isinstance(request, list) else []
    taken = {str(item.get("call_id")) for item in request if isinstance(item, dict)}
    for item in items:
        its_own = isinstance(item.id, str) and item.id not in ("", FAKE_RESPONSES_ID)
        if item.type == "function_call":
            if item.call_id in taken or not (its_own or is_short(item.call_id)):
                item.call_id = short_id(item.call_id, taken)
            taken.add(item.call_id)
        if its_own:
            own.add(item.id)
    return items


def _mend(item: Any) -> bool:
    """Mend `item` in place; False if nothing can be made of it."""
    raw = item.model_dump(exclude_unset=True, warnings=False)
    fixed = repaired(raw, from_model=True)
    if fixed is None or not isinstance(fixed.get("type"), str):
        return False
    for name, value in fixed.items():
        if name != "content" and value != raw.get(name):
            setattr(item, name, value)
    if item.type == "message":
        item.content = [part for part in item.content or [] if isinstance(part, BaseModel)]
        for part in item.content:
            for name in ("text", "refusal"):
                words = getattr(part, name, None)
                if words is not None:
                    words = without_thoughts(clean(words)) if isinstance(words, str) else ""
                    setattr(part, name, words)
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
