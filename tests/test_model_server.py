"""The stand-in for the model API speaks the real client's protocol, and its checks can fail."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from agents import Agent, Model, ModelSettings, RunConfig, Runner, function_tool
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel

from tests.model_server import Json, ModelServer, Reply, call, say, think

QUIET = RunConfig(tracing_disabled=True)
WORDS = "Your order is on its way, Alice."


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def client_of(server: ModelServer, **options: Any) -> openai.AsyncOpenAI:
    options = {"api_key": server.api_key, "max_retries": 0, "timeout": 5, **options}
    return openai.AsyncOpenAI(base_url=server.base_url, **options)


def agents_on(model: Model) -> Agent[Any]:
    """A triage agent that can hand over to one with a tool."""

    @function_tool
    def order_status(order_id: str) -> str:
        """Where an order is."""
        return f"{order_id} was shipped"

    settings = ModelSettings(parallel_tool_calls=False)
    orders = Agent[Any](name="Orders", model=model, tools=[order_status], model_settings=settings)
    return Agent[Any](name="Triage", model=model, handoffs=[orders], model_settings=settings)


def triage(server: ModelServer, **options: Any) -> Agent[Any]:
    return agents_on(OpenAIResponsesModel("gpt-test", client_of(server, **options)))


async def streamed(agent: Agent[Any]) -> tuple[str, list[str]]:
    """The final output, and the deltas of text on the way to it."""
    run = Runner.run_streamed(agent, "Where is ORD-1002?", run_config=QUIET)
    deltas = [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    return str(run.final_output), deltas


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model_class", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
async def test_a_run_of_the_sdk_goes_through_handoff_tool_and_answer(
    server: ModelServer, model_class: Any, stream: bool
) -> None:
    server.script(
        think() + say("One moment.") + call("transfer_to_orders"),
        think() + call("order_status", {"order_id": "ORD-1002"}),
        think() + say(WORDS),
    )
    agent = agents_on(model_class("gpt-test", client_of(server)))
    if stream:
        output, deltas = await streamed(agent)
        assert "".join(deltas) == "One moment." + WORDS
        assert len(deltas) == 2 + len(WORDS.split())
    else:
        output = (await Runner.run(agent, "Where is ORD-1002?", run_config=QUIET)).final_output
    assert output == WORDS
    assert server.violations == []
    first, _, last = server.requests
    assert [tool.get("name") or tool["function"]["name"] for tool in first["tools"]] == [
        "transfer_to_orders"
    ]
    assert "ORD-1002 was shipped" in json.dumps(last)


async def test_a_responder_decides_by_the_request_and_two_instances_do_not_share_ids() -> None:
    def respond(body: Json) -> Reply:
        return say(body["input"].upper()) + call("tool")

    with ModelServer(respond) as one, ModelServer(respond) as other:
        first, second = [
            await client_of(server).responses.create(model="gpt-test", input="hello")
            for server in (one, other)
        ]
    assert first.output_text == second.output_text == "HELLO"
    made: list[Any] = [*first.output, *second.output]
    assert [item.id.split("_")[0] for item in made] == ["msg", "fc", "msg", "fc"]
    assert len({item.id for item in made}) == 4
    assert made[1].call_id.startswith("call_")
    assert made[1].call_id != made[3].call_id


async def test_a_gate_holds_a_reply_before_its_start_or_between_two_words(
    server: ModelServer,
) -> None:
    start, middle = server.hold(), server.hold(after=3)
    server.script(say("One."), say(WORDS))
    run = asyncio.create_task(streamed(triage(server)))
    await asyncio.to_thread(start.wait_reached)
    assert not run.done()
    start.release()
    assert (await run)[0] == "One."
    got: list[str] = []
    async with client_of(server).responses.stream(model="gpt-test", input="Hi") as events:
        async for event in events:
            if event.type == "response.output_text.delta":
                got.append(event.delta)
                if len(got) == 3:
                    await asyncio.to_thread(middle.wait_reached)
                    middle.release()
    assert "".join(got) == WORDS
    with pytest.raises(TimeoutError):
        server.hold().wait_reached(0.01)
    with pytest.raises(TimeoutError):
        server.wait_for_request(3, 0.01)


async def test_mistakes_of_the_test_itself_are_violations_too(server: ModelServer) -> None:
    with pytest.raises(openai.BadRequestError, match="scripted no reply"):
        await streamed(triage(server))
    with pytest.raises(openai.AuthenticationError):
        await streamed(triage(server, api_key="sk-wrong"))
    with pytest.raises(openai.NotFoundError):
        await client_of(server).models.list()
    assert [text.split()[0] for text in server.violations] == ["The", "Incorrect", "Invalid"]

    def broken(body: Json) -> Reply:
        raise KeyError("order")

    with ModelServer(broken) as other, pytest.raises(openai.APIConnectionError):
        await streamed(triage(other))
    assert other.violations == ["The test's responder raised KeyError('order')."]


# --- What it refuses ----------------------------------------------------------------------------

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "tool", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def tool(name: str = "tool", strict: bool = True, **schema: Any) -> Json:
    parameters = {"type": "object", "properties": {}, "additionalProperties": False, **schema}
    return {"type": "function", "name": name, "parameters": parameters, "strict": strict}


NESTED = tool(
    properties={"a": {"type": "array", "items": {"type": "object", "properties": {}}}},
    required=["a"],
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": [USER, CALL]}, "No tool output found for function call call_1."),
        (
            {"input": [USER, OUTPUT, CALL]},
            "No tool call found for function call output with call_id call_1.",
        ),
        ({"input": [CALL, OUTPUT, OUTPUT]}, "Duplicate function_call_output for call_id 'call_1'."),
        ({"input": [CALL, CALL, OUTPUT]}, "Duplicate function_call for call_id 'call_1'."),
        ({"input": [{**CALL, "id": "fc_1"}, OUTPUT] * 2}, "Duplicate item found with id fc_1."),
        (
            {"input": [REASONING]},
            "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        ),
        ({"input": [REASONING, USER]}, "without its required following item."),
        ({"input": [{**REASONING, "status": "completed"}, ANSWER]}, "'input[0].status'"),
        ({"tools": [tool(additionalProperties=True)]}, "'additionalProperties' is required to be"),
        ({"tools": [NESTED]}, "In context=('properties', 'a', 'items'), 'additionalProperties'"),
        ({"tools": [tool(properties={"a": {}})]}, "Missing 'a'."),
        (
            {"tools": [tool(properties={"a": {"anyOf": [{"minLength": 1}]}}, required=["a"])]},
            "In context=('properties', 'a', 'anyOf', '0'), 'minLength' is not permitted.",
        ),
        ({"tools": [{**tool(), "type": "tool"}]}, "Invalid value: 'tool'."),
        (
            {"tools": [tool(properties={"a": {"default": 1}}, required=["a"])]},
            "In context=('properties', 'a'), 'default' is not permitted.",
        ),
        ({"tools": [tool(type="string")]}, "got 'type: \"string\"'."),
        ({"tools": [tool(), tool()]}, "Tool names must be unique: 'tool'."),
        ({"tools": [tool("look up")]}, "Invalid 'tools[0].name': string does not match pattern."),
        ({"tools": [tool("x" * 65)]}, "maximum length 64, but got a string with length 65"),
        ({"model": None}, "Missing required parameter: 'model'."),
        ({"input": None}, 'One of "input" or "previous_response_id" or'),
        ({"input": 1}, "Invalid type for 'input': expected one of"),
        ({"input": ["Hi"]}, "Invalid type for 'input[0]': expected an object"),
        ({"input": [{**USER, "content": ["Hi"]}]}, "Invalid type for 'input[0].content[0]'"),
        ({"input": []}, 'One of "input" or "previous_response_id" or'),
        ({"input": [{**USER, "content": "\ud83d"}]}, "We could not parse the JSON body"),
        ({"input": [{"type": "tool_result"}]}, "Invalid value: 'tool_result'."),
        (
            {"input": [{**USER, "role": "tool"}]},
            "Invalid value: 'tool'. Supported values are: 'assistant', 'system', 'developer', and",
        ),
        (
            {"input": [{**USER, "content": None}]},
            "Invalid type for 'input[0].content': expected one of an array of objects or string,"
            " but got null instead.",
        ),
        (
            {"input": [{**ANSWER, "content": [{"type": "input_text", "text": "Hi"}]}]},
            "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
        ),
        ({"input": [{**USER, "content": [{"type": "input_text"}]}]}, "expected a string, but got"),
        ({"input": [{**CALL, "arguments": {}}, OUTPUT]}, "'input[0].arguments': expected a string"),
        ({"input": [CALL, {**OUTPUT, "output": None}]}, "'input[1].output'"),
        ({"input": [{**CALL, "name": "look up"}]}, "'input[0].name': string does not match"),
        ({"input": [{**CALL, "call_id": 1}]}, "Invalid type for 'input[0].call_id'"),
        ({"input": [{**REASONING, "summary": None}, ANSWER]}, "for 'input[0].summary'"),
        ({"input": [{**CALL, "call_id": ""}]}, "'input[0].call_id': empty string."),
        (
            {"input": [USER, {**ANSWER, "id": "item_1"}]},
            "Invalid 'input[1].id': 'item_1'. Expected an ID that begins with 'msg'.",
        ),
        ({"input": [{**CALL, "id": "call_1"}, OUTPUT]}, "Expected an ID that begins with 'fc'."),
        ({"input": [{**ANSWER, "id": "msg_" + "0" * 61}]}, "Invalid 'input[0].id': string too"),
        ({"input": [{**USER, "tool_calls": []}]}, "Unknown parameter: 'input[0].tool_calls'."),
        ({"max_tokens": 5}, "Unknown parameter: 'max_tokens'."),
    ],
)
def test_a_bad_request_is_refused_as_the_real_api_does(
    server: ModelServer, change: Json, message: str
) -> None:
    server.script(say("Hello."))
    body = {"model": "gpt-test", "input": "Hi", **change}
    body = {name: value for name, value in body.items() if value is not None}
    refusal(server, "/responses", json.dumps(body).encode(), message)


CHAT_CALL = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function"}]}
CHAT_OUTPUT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ""}, "you must provide a model parameter"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "'tools[0].function.name'"),
        ({"messages": []}, "[] is too short - 'messages'"),
        ({"messages": [{"role": "model"}]}, "Invalid value: 'model'."),
        ({"messages": [{**USER, "content": None}]}, "Invalid type for 'messages[0].content'"),
        ({"messages": [USER, CHAT_CALL]}, "did not have response messages: call_1"),
        ({"messages": [CHAT_CALL, USER, CHAT_OUTPUT]}, "did not have response messages: call_1"),
        ({"messages": [USER, CHAT_OUTPUT]}, "response to a preceeding message with 'tool_calls'."),
        ({"messages": [CHAT_CALL, CHAT_OUTPUT, CHAT_OUTPUT]}, "response to a preceeding message"),
    ],
)
def test_a_bad_chat_completion_is_refused(server: ModelServer, change: Json, message: str) -> None:
    server.script(say("Hello."))
    body = {"model": "gpt-test", "messages": [USER], **change}
    refusal(server, "/chat/completions", json.dumps(body).encode(), message)


def test_a_body_that_is_no_utf_8_or_no_json_is_refused(server: ModelServer) -> None:
    for body in (b'{"model": "\xff"}', b"{"):
        refusal(server, "/responses", body, "We could not parse the JSON body of your request.")
        server.violations.clear()


def refusal(server: ModelServer, path: str, body: bytes, message: str) -> None:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    request = urllib.request.Request(server.base_url + path, body, headers, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    with refused.value as answer:
        error = json.load(answer)["error"]
    assert answer.code == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]
    assert server.violations == [error["message"]]


async def test_what_was_reasoned_for_is_refused_without_its_reasoning(server: ModelServer) -> None:
    server.script(think() + say("Hello."), say("Again."))
    client = client_of(server)
    first = await client.responses.create(model="gpt-test", input="Hi")
    given: list[Any] = [item.model_dump(exclude_unset=True) for item in first.output]
    user: Any = USER
    with pytest.raises(openai.BadRequestError, match="without its required 'reasoning' item: 'rs_"):
        await client.responses.create(model="gpt-test", input=[user, given[1], user])
    again = await client.responses.create(model="gpt-test", input=[user, *given, user])
    assert again.output_text == "Again."
