"""What a process does only once, done before it is forked: imports, and a turn with each model.

On their first use pydantic builds the classes of the vendor's API, and `re` the rules' patterns.
That is the larger half of what a short chat costs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, Model, OpenAIResponsesModel, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

import agents_def  # noqa: F401
import main  # noqa: F401
import terminal.inspect  # noqa: F401
import tests.player
import tests.products  # noqa: F401
from engine.models.chat_client import ChatClient
from engine.models.checked import CheckedModel
from local.offline_model import OfflineModel
from tests.model_server import ModelServer, call, say


@function_tool
async def look() -> str:
    """Look."""
    return "Seen."


async def _answer(model: Model) -> None:
    config = RunConfig(model=CheckedModel(model), tracing_disabled=True)
    run = Runner.run_streamed(Agent[Any](name="Any", tools=[look]), "hello", run_config=config)
    async for _ in run.stream_events():
        pass


async def _answer_with_each(vendor: ModelServer) -> None:
    scripted = ScriptedModel(
        [[function_call("look", {}, call_id="call_1")], [assistant_message("Hello.")]]
    )
    async with ChatClient(api_key=vendor.api_key, base_url=vendor.base_url) as client:
        for model in (scripted, OfflineModel(delay=0), OpenAIResponsesModel("any", client)):
            await _answer(model)


with ModelServer([call("look"), say("Hello.")]) as vendor:
    asyncio.run(_answer_with_each(vendor))
