"""The support tasks as an Inspect AI task, for any model that Inspect knows: see docs/evals.md."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from agents import OpenAIResponsesModel, set_tracing_disabled
from agents.testing import ModelStep, ScriptedModel
from anyio import CancelScope
from bson import ObjectId, json_util
from inspect_ai import Epochs, Task, task
from inspect_ai.agent import agent_bridge
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model, messages_from_openai_responses
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from openai import AsyncOpenAI

sys.path.append(os.path.dirname(os.path.dirname(__file__)))  # Inspect adds this folder only

from database import connect, mongodb_uri
from evals.score import score
from evals.tasks import TASKS
from evals.visit import Trial, play
from local.mongod import ensure_mongod
from local.offline_model import OfflineModel

BY_NAME = {each.name: each for each in TASKS}
NO_MODEL = "none/none"  # what Inspect calls it if no --model is given
EXACT = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, tz_aware=True)


@task
def support(k: int = 4) -> Task:
    """All support tasks, `k` trials each: pass^1 to pass^k."""
    if str(get_model()) == NO_MODEL:
        print("No --model is given: the rule-based offline model answers.", file=sys.stderr)
    set_tracing_disabled(True)
    os.environ["MONGODB_URI"] = ensure_mongod(mongodb_uri())
    samples = [Sample(id=each.name, input="\n".join(each.script)) for each in TASKS]
    reducers = [f"pass_k_{i}" for i in range(1, k + 1)]
    return Task(samples, solver=visit(), scorer=passed(), epochs=Epochs(k, reducers))


@solver
def visit() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        offline = str(state.model) == NO_MODEL
        model = OfflineModel(0) if offline else Bridged("inspect", AsyncOpenAI(api_key="none"))
        trial, database = Trial(), f"eval_{ObjectId()}"
        async with await connect(mongodb_uri()) as client, agent_bridge():
            played = play(BY_NAME[str(state.sample_id)], client[database], model, trial)
            playing = asyncio.create_task(played)
            try:
                await asyncio.shield(playing)
            finally:
                with CancelScope(shield=True):  # after Ctrl-C, too: the last write comes first
                    playing.cancel()
                    await asyncio.wait({playing})
                    await client.drop_database(database)
                state.messages = await messages_from_openai_responses(trial.items)
        state.store.set("trial", json_util.dumps(vars(trial), json_options=EXACT))
        return state

    return solve


class Bridged(OpenAIResponsesModel):
    """Streams what the bridge answers in one piece to calls for "inspect"; it connects nowhere."""

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        response = await self.get_response(*args, **kwargs)
        step = ModelStep(output=response.output, usage=response.usage)
        async for event in ScriptedModel([step]).stream_response(*args, **kwargs):
            yield event


@scorer(metrics=[mean(), stderr()])
def passed() -> Scorer:
    async def check(state: TaskState, target: Target) -> Score:
        trial = Trial(**json_util.loads(state.store.get("trial"), json_options=EXACT))
        failures = score(BY_NAME[str(state.sample_id)], trial)
        explanation = "\n\n".join(failures) or "Nothing was wrong."
        grade = "I" if failures else "C"  # incorrect, correct
        return Score(value=grade, answer=state.messages[-1].text, explanation=explanation)

    return check
