"""A rule-based model for `main.py --offline` and the evals: no API key, no network.

It stands behind the same agents, tools, handoffs, approvals and streaming as a real model, and sees
only what one sees: the instructions, the input items, and the tools and handoffs on offer
(offline_turn.py). What it says to them is in offline_rules.py.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from local.offline_rules import answer
from local.offline_turn import Wanted, read

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
    turn = read(call)
    unique = uuid.uuid4().hex
    try:
        output = assistant_message(answer(turn), item_id=f"msg_{unique}")
    except Wanted as wanted:
        name, arguments = wanted.args
        output = function_call(name, arguments, call_id=f"call_{unique}", item_id=f"fc_{unique}")
    return ModelStep(output=[output], response_id=f"resp_{unique}")
