"""A rule-based model for `main.py --offline` and the evals, where there is no API key.

It stands behind the same agents, tools, handoffs, approvals and streaming as a real model, and sees
only what one sees: the instructions, the input items, and the tools and handoffs on offer. What it
says to them is in offline_rules.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from local.offline_rules import Turn, Wanted, answer

WORD_SECONDS = 0.015  # so that the streaming can be seen


class OfflineModel(Model):
    """Answers by the rules; `delay` is in seconds per streamed word."""

    def __init__(self, delay: float = WORD_SECONDS) -> None:
        self.delay = delay

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await _one_step().get_response(*args, **kwargs)

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        number = 0
        async for event in _one_step().stream_response(*args, **kwargs):
            if event.type == "response.output_text.delta":
                for word in re.findall(r"\S+\s*|\s+", event.delta):
                    await asyncio.sleep(self.delay)
                    yield event.model_copy(update={"delta": word, "sequence_number": number})
                    number += 1
            else:
                yield event.model_copy(update={"sequence_number": number})
                number += 1


def _one_step() -> ScriptedModel:
    # Usage stays at one request and no tokens: rules spend none, and a guess would look measured.
    return ScriptedModel([ModelStep.respond(_respond)])


def _respond(call: ModelCall) -> ModelStep:
    turn = _read(call)
    unique = uuid.uuid4().hex
    try:
        output = assistant_message(answer(turn), item_id=f"msg_{unique}")
    except Wanted as wanted:
        name, arguments = wanted.args
        output = function_call(name, arguments, call_id=f"call_{unique}", item_id=f"fc_{unique}")
    return ModelStep(output=[output], response_id=f"resp_{unique}")


def _read(call: ModelCall) -> Turn:
    """Sort the input items; what is unknown or incomplete is left out."""
    one_message = [{"role": "user", "content": call.input}]
    given = call.input if isinstance(call.input, list) else one_message
    items = [item for item in given if isinstance(item, Mapping)]
    asked = [n for n, item in enumerate(items) if item.get("role") == "user"]
    last = asked[-1] if asked else len(items)
    messages = [item for item in items[:last] if item.get("role") in ("user", "assistant")]
    previous = messages[-1] if messages else {}
    calls: dict[str, tuple[str, str]] = {}
    done: dict[tuple[str, str], str] = {}
    for item in items[last + 1 :]:
        call_id = str(item.get("call_id"))
        if item.get("type") == "function_call":
            calls[call_id] = (str(item.get("name")), _canonical(item.get("arguments")))
        elif item.get("type") == "function_call_output" and call_id in calls:
            done[calls[call_id]] = _text(item.get("output"))
    return Turn(
        message=_text(items[last].get("content")).replace("\u2019", "'") if asked else "",
        earlier=[_text(items[n].get("content")) for n in asked[:-1]],
        said=_text(previous.get("content")) if previous.get("role") == "assistant" else "",
        seen=[_text(item.get("content") or item.get("output")) for item in items[:last]],
        done=done,
        offered=frozenset([t.name for t in call.tools] + [h.tool_name for h in call.handoffs]),
        instructions=call.system_instructions or "",
    )


def _text(value: object) -> str:
    """The text of an item: a string, or parts of which some have a text."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))


def _canonical(arguments: object) -> str:
    try:
        return json.dumps(json.loads(str(arguments)), sort_keys=True)
    except (ValueError, RecursionError):
        return ""
