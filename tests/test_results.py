"""The result of a run is the answer, and what the builder has set is respected."""

from __future__ import annotations

from typing import Any

import pytest
from agents import (
    Agent,
    FunctionToolResult,
    ModelProvider,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    SessionSettings,
    ToolsToFinalOutputResult,
    Usage,
    function_tool,
)
from agents.agent import StopAtTools
from agents.run_config import CallModelData, ModelInputData
from agents.testing import ScriptedModel, assistant_message
from agents.tool_context import ToolContext
from openai.types.responses import ResponseOutputRefusal
from pydantic import BaseModel

from engine import Finished, Limits, Reason, Text, TurnFailed, Words
from engine.models.checked import CheckedModel
from tests.builders import Visits, call, events, said, say, text_of, told

USED = Usage(requests=1, input_tokens=10, output_tokens=2, total_tokens=12)


class Day(BaseModel):
    name: str
    rooms: int


@function_tool
async def rooms(day: str) -> str:
    """Count the rooms."""
    return f"Two rooms on {day}."


def custom(
    context: RunContextWrapper[Any], results: list[FunctionToolResult]
) -> ToolsToFinalOutputResult:
    return ToolsToFinalOutputResult(True, "Monday: 2")


def finished(seen: list[Any]) -> Finished:
    assert isinstance(seen[-1], Finished), seen
    return seen[-1]


@pytest.mark.parametrize(
    "behavior, output, text",
    [
        ("stop_on_first_tool", "Two rooms on Monday.", "Two rooms on Monday."),
        (StopAtTools(stop_at_tool_names=["rooms"]), *["Two rooms on Monday."] * 2),
        (custom, "Monday: 2", "Monday: 2"),
    ],
)
async def test_the_output_that_ends_a_run_is_told_and_stored_as_the_answer(
    visits: Visits, behavior: Any, output: Any, text: str
) -> None:
    agent = Agent(name="Desk", tools=[rooms], tool_use_behavior=behavior)
    seen = await visits.turn(agent, "rooms?", call("rooms", day="Monday"))
    assert text_of(seen) == text
    end = finished(seen)
    assert (end.agent, end.output, end.usage.requests) == ("Desk", output, 1)
    again = await visits.open(agent)
    assert await again.transcript() == [("user", "rooms?"), ("assistant", text)]
    assert again.unanswered is None
    await visits.turn(Agent(name="Desk"), "thanks", say("Bye."))
    sent = [item.get("content") for item in visits.sent if item.get("role")]
    assert sent == ["rooms?", text, "thanks"]


async def test_structured_output_is_a_value_in_an_event_and_no_text(visits: Visits) -> None:
    agent = Agent(name="Desk", output_type=Day)
    seen = await visits.turn(agent, "Monday?", say('{"name":"Monday","rooms":2}'))
    assert told(seen, Text) == []
    assert finished(seen).output == Day(name="Monday", rooms=2)
    assert (await visits.open(agent)).unanswered is None


async def test_a_value_that_a_function_made_of_outputs_is_stored_not_told(visits: Visits) -> None:
    def value(_: Any, results: list[FunctionToolResult]) -> ToolsToFinalOutputResult:
        return ToolsToFinalOutputResult(True, Day(name="Monday", rooms=2))

    agent = Agent(name="Desk", tools=[rooms], output_type=Day, tool_use_behavior=value)
    seen = await visits.turn(agent, "Monday?", call("rooms", day="Monday"))
    assert told(seen, Text) == []
    assert finished(seen).output == Day(name="Monday", rooms=2)
    again = await visits.open(agent)
    assert (await said(again))[-1] == '{"name":"Monday","rooms":2}'
    assert again.unanswered is None


def refusal() -> list[Any]:
    (message,) = say("")
    content = [ResponseOutputRefusal(type="refusal", refusal="I will not.")]
    return [message.model_copy(update={"content": content})]


STEPS = [call("rooms", f"c{n}", day="Monday") for n in range(9)]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([refusal()], Reason.MODEL_REFUSED),
        (STEPS, Reason.TOO_MANY_STEPS),
        ([say("Monday, I think.")], Reason.ANSWER_UNREADABLE),
    ],
)
async def test_where_a_value_is_due_whatever_else_comes_is_told_as_such(
    visits: Visits, replies: list[Any], reason: Reason
) -> None:
    agent = Agent(name="Desk", tools=[rooms], output_type=Day)
    failed = await visits.fails(agent, "Monday?", *replies, limits=Limits(model_calls=2))
    assert failed.reason is reason


async def test_too_many_steps_and_a_refusal_are_told_in_the_builders_words(visits: Visits) -> None:
    agent = Agent(name="Desk", tools=[rooms])
    words = Words(too_many_steps="Zu viele Schritte.", refused="Das geht nicht.")
    seen = await visits.turn(agent, "1", *STEPS, limits=Limits(model_calls=2), words=words)
    assert text_of(seen) == "Zu viele Schritte."
    assert (await said(visits.conversation))[-1] == "Zu viele Schritte."
    seen = await visits.turn(agent, "2", refusal(), words=words)
    assert text_of(seen).endswith("Das geht nicht.")
    assert (await visits.open(agent)).unanswered is None


async def test_the_tokens_of_an_agent_that_is_a_tool_count(visits: Visits) -> None:
    inner = Agent(name="Inner")
    agent = Agent(name="Desk", tools=[inner.as_tool("ask_inner", "Ask.")])
    replies = [call("ask_inner", input="?"), say("Two."), say("Two rooms.")]
    model = ScriptedModel(replies, default_usage=USED)
    seen = await events((await visits.open(agent, model)).turn("rooms?"))
    assert finished(seen).usage.input_tokens == 30
    assert (await visits.record())["usage"]["input_tokens"] == 30
    assert (await visits.record())["usage"]["calls"] == 3


# What the builder has set.


async def test_an_agents_own_model_and_settings_are_used_and_checked(visits: Visits) -> None:
    own = ScriptedModel([[assistant_message("Hel\ud800lo.\x1b[2J")]])
    agent = Agent(name="Desk", model=own, model_settings=ModelSettings(temperature=0.1))
    conversation = await visits.open(agent)
    seen = await events(conversation.turn("hi"))
    assert text_of(seen) == "Hello.[2J"
    assert own.last_call and own.last_call.model_settings.temperature == 0.1
    assert isinstance(agent.model, CheckedModel)
    assert await visits.open(agent)
    assert not isinstance(agent.model._model, CheckedModel)


async def test_limits_say_what_the_model_sees_whatever_the_run_config_says(visits: Visits) -> None:
    model = ScriptedModel([say("Hello."), say("Yes.")])
    config = RunConfig(model=model, session_settings=SessionSettings(limit=1))
    conversation = await visits.open(Agent(name="Desk"), run_config=config)
    for message in ("hi", "still there?"):
        await events(conversation.turn(message))
    assert [item["content"] for item in model.last_call.input] == ["hi", "Hello.", "still there?"]


async def test_the_own_model_of_an_agent_that_is_a_tool_is_checked_too(visits: Visits) -> None:
    inner = Agent(name="Inner", model=ScriptedModel([say("Two\ud800.")]))
    agent = Agent(name="Desk", tools=[inner.as_tool("ask_inner", "Ask.")])
    agent.model = ScriptedModel([call("ask_inner", input="?"), say("Two rooms.")])
    await events((await visits.open(agent)).turn("rooms?"))
    assert [item["output"] for item in await visits.items() if "output" in item] == ["Two."]


async def test_a_model_by_name_is_the_builders_providers_and_is_checked(visits: Visits) -> None:
    model = ScriptedModel([say("one\ud800"), say("two")])
    wanted: list[str | None] = []

    class Provider(ModelProvider):
        def get_model(self, model_name: str | None) -> Any:
            wanted.append(model_name)
            return model

    of_run = ModelSettings(max_tokens=7)
    config = RunConfig("Case-Sensitive", model_provider=Provider(), model_settings=of_run)
    agent = Agent(name="Desk", model_settings=ModelSettings(temperature=0.1, max_tokens=9))
    seen = await events((await visits.open(agent, run_config=config)).turn("hi"))
    assert text_of(seen) == "one"
    settings = model.last_call.model_settings
    assert (settings.temperature, settings.max_tokens) == (0.1, 7)
    by_agent = RunConfig(model_provider=Provider())
    agent = Agent(name="Desk", model="The-Agents")
    await events((await visits.open(agent, run_config=by_agent)).turn("hi"))
    assert wanted == ["Case-Sensitive", "The-Agents"]


async def test_the_run_config_of_the_builder_reaches_the_run(visits: Visits) -> None:
    def only_the_last(data: CallModelData[Any]) -> ModelInputData:
        return ModelInputData(data.model_data.input[-1:], "Be brief.")

    seen: list[RunConfig] = []

    @function_tool
    async def look(context: ToolContext[Any]) -> str:
        """Look."""
        seen.append(context.run_config)
        return "."

    for given, group in (None, "visit-1"), ("my-group", "my-group"):
        model = ScriptedModel([call("look"), say("a")])
        config = RunConfig(
            model=model,
            call_model_input_filter=only_the_last,
            workflow_name="Appointments",
            group_id=given,
            trace_metadata={"a": "b"},
        )
        agent = Agent(name="Desk", instructions="Be long.", tools=[look])
        await events((await visits.open(agent, run_config=config)).turn("hello"))
        assert (seen[-1].workflow_name, seen[-1].group_id) == ("Appointments", group)
        assert seen[-1].trace_metadata == {"a": "b"}
        assert model.last_call.system_instructions == "Be brief."
        assert model.first_call.input == [{"role": "user", "content": "hello"}]
        assert config.group_id == given  # the builder's own object stays as it is


class Seen(RunHooks[Any]):
    def __init__(self) -> None:
        self.names: list[str] = []


STARTS = ("on_agent_start", "on_llm_start", "on_tool_start")
ENDS = ("on_agent_end", "on_llm_end", "on_tool_end")
for name in (*STARTS, *ENDS, "on_handoff"):

    async def note(self: Seen, *_: Any, name: str = name, **__: Any) -> None:
        self.names.append(name)

    setattr(Seen, name, note)


async def test_the_builders_hooks_are_told_all(visits: Visits) -> None:
    desk = Agent(name="Desk", tools=[rooms])
    triage = Agent(name="Triage", handoffs=[desk])
    hooks = Seen()
    replies = [call("transfer_to_desk", "a"), call("rooms", "b", day="Monday"), say("Two.")]
    await visits.turn(triage, "rooms?", *replies, hooks=hooks)
    model = ["on_llm_start", "on_llm_end"]
    assert hooks.names == [
        *("on_agent_start", *model, "on_handoff"),
        *("on_agent_start", *model, "on_tool_start", "on_tool_end"),
        *(*model, "on_agent_end"),
    ]


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}


def words(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


@pytest.mark.parametrize("parts", [[words("What is this?"), PICTURE], [PICTURE]])
async def test_content_parts_are_sent_stored_and_sent_again(
    visits: Visits, parts: list[Any]
) -> None:
    agent = Agent(name="Desk")
    await visits.turn(agent, parts, say("A room."))
    assert visits.conversation.unanswered is None
    assert visits.sent == [{"role": "user", "content": parts}]
    await visits.turn(agent, "Sure?", say("Yes."))
    assert visits.sent[0] == {"role": "user", "content": parts}


async def test_a_picture_alone_waits_for_its_answer_and_is_retried(visits: Visits) -> None:
    agent = Agent(name="Desk")
    await visits.fails(agent, [PICTURE], RuntimeError("broken"))
    conversation = await visits.open(agent, say("A room."))
    assert conversation.unanswered is not None
    assert text_of(await events(conversation.retry())) == "A room."


@pytest.mark.parametrize(
    "message, reason",
    [
        ("x" * 11, Reason.MESSAGE_TOO_LONG),
        ([words("x" * 6), words("x" * 5), PICTURE], Reason.MESSAGE_TOO_LONG),
        ("  \n ", Reason.MESSAGE_EMPTY),
        (" \x00\ud800 ", Reason.MESSAGE_EMPTY),
        ([], Reason.MESSAGE_EMPTY),
        ([words("  ")], Reason.MESSAGE_EMPTY),
    ],
)
async def test_a_message_that_is_too_long_or_empty_is_refused_at_once(
    visits: Visits, message: Any, reason: Reason
) -> None:
    conversation = await visits.open(Agent(name="Desk"), limits=Limits(message=10))
    with pytest.raises(TurnFailed) as raised:
        conversation.turn(message)
    assert raised.value.reason is reason


async def test_the_limits_of_turns_and_items_are_the_builders(visits: Visits) -> None:
    agent = Agent(name="Desk")
    for number in range(4):
        await visits.turn(agent, f"question {number}", say(f"answer {number}"))
    for limits, first in (Limits(turns=2), "question 3"), (Limits(items=4), "question 2"):
        conversation = await visits.open(agent, say("Last."), limits=limits)
        shown = await conversation.next_input()
        assert shown[0]["content"] == ("question 2" if limits.turns == 2 else first)
        await events(conversation.turn("last"))
        assert visits.sent[0]["content"] == first, limits
        await visits.db.agent_messages.delete_many({"seq": {"$gte": 8}})
        await visits.db.agent_sessions.update_one({}, {"$set": {"_seq": 8}})
