"""A rule-based model for `main.py --offline` and the evals: it sees what a real model sees."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agents import Model, ModelResponse
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from engine.history import NO_ANSWER
from local.offline_rules import answer
from local.offline_turn import Turn, Wanted


class OfflineModel(Model):
    """Answers by the rules. `delay` is in seconds per word, so that the streaming can be seen."""

    def __init__(self, delay: float = 0.015) -> None:
        self.delay = delay

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await ScriptedModel([ModelStep.respond(_respond)]).get_response(*args, **kwargs)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        model = ScriptedModel([ModelStep.respond(_respond)])
        async for event in model.stream_response(*args, **kwargs):
            if event.type != "response.output_text.delta":
                yield event
                continue
            for word in re.findall(r"\S+\s*|\s+", event.delta):
                await asyncio.sleep(self.delay)
                yield event.model_copy(update={"delta": word})


def _respond(call: ModelCall) -> ModelStep:
    """One step. It has no count of tokens: rules spend none, and a guess would look measured."""
    unique = uuid.uuid4().hex
    output = list[Any]()
    try:
        text = answer(_read(call))
    except Wanted as wanted:
        *tool, text = wanted.args
        output = [function_call(*tool, call_id=f"call_{unique}", item_id=f"fc_{unique}")]
    if text:
        output.insert(0, assistant_message(text, item_id=f"msg_{unique}"))
    return ModelStep(output=output, response_id=f"resp_{unique}")


def _read(call: ModelCall) -> Turn:
    """Sort the input items. What is unknown or incomplete is left out."""
    sent = call.input if isinstance(call.input, list) else [{"role": "user", "content": call.input}]
    asked, talk, spoken = list[str](), [""], [""]
    calls: dict[str, tuple[str, str]] = {}
    done, before = dict[tuple[str, str], str](), dict[tuple[str, str], str]()
    for item in [item for item in sent if isinstance(item, Mapping)]:
        call_id, text = str(item.get("call_id")), _text(item.get("content")).replace("\u2019", "'")
        if item.get("role") == "user":
            asked.append(text)
            spoken, before, done = [*talk], done, {}
        if item.get("role") in ("user", "assistant") and text != NO_ANSWER:
            talk.append(text)
        elif item.get("type") == "function_call":
            calls[call_id] = str(item.get("name")), str(item.get("arguments"))
        elif call_id in calls:
            done[calls[call_id]] = _text(item.get("output"))
    *earlier, message = asked or [""]
    offered = [tool.name for tool in call.tools] + [h.tool_name for h in call.handoffs]
    return Turn(message, earlier, spoken, done, offered, call.system_instructions or "", before)


def _text(value: object) -> str:
    """The text of an item: a string, or parts of which some have a text."""
    parts = value if isinstance(value, list) else [{"text": value}]
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
