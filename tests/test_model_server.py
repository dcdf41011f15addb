"""The stand-in for the model API speaks the real client's protocol, and its checks can fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.model_server import (
    Json,
    ModelServer,
    Refused,
    Reply,
    call,
    check_chat,
    check_responses,
    parse,
    say,
    think,
)

WORDS = "Your order is on its way, Alice."


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def client_of(server: ModelServer, **options: Any) -> openai.AsyncOpenAI:
    options = {"api_key": server.api_key, "max_retries": 0, "timeout": 5, **options}
    return openai.AsyncOpenAI(base_url=server.base_url, **options)


async def ask(server: ModelServer, input: Any = "Hi", **options: Any) -> Any:
    return await client_of(server, **options).responses.create(model="gpt-test", input=input)


async def test_a_responder_decides_by_the_request_and_two_instances_do_not_share_ids() -> None:
    def respond(body: Json) -> Reply:
        return say(body["input"].upper()) + call("tool")

    with ModelServer(respond) as one, ModelServer(respond) as other:
        first, second = await ask(one, "hello"), await ask(other, "hello")
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
    asking = asyncio.create_task(ask(server))
    await asyncio.to_thread(start.wait_reached)
    assert not asking.done()
    start.release()
    assert (await asking).output_text == "One."
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


async def test_what_is_refused_is_an_error_to_the_client_and_a_violation_to_the_test(
    server: ModelServer,
) -> None:
    with pytest.raises(openai.BadRequestError, match="scripted no reply"):
        await ask(server)
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await ask(server, [USER, CALL])
    with pytest.raises(openai.BadRequestError, match="messages"):
        await client_of(server).chat.completions.create(model="gpt-test", messages=[])
    with pytest.raises(openai.AuthenticationError):
        await ask(server, api_key="sk-wrong")
    with pytest.raises(openai.NotFoundError):
        await client_of(server).models.list()
    first_words = [text.split()[0] for text in server.violations]
    assert first_words == ["The", "No", "[]", "Incorrect", "Invalid"]
    server.violations.clear()

    def broken(body: Json) -> Reply:
        raise KeyError("order")

    with pytest.raises(openai.APIConnectionError), ModelServer(broken) as other:
        await ask(other)
    assert other.violations == ["The test's responder raised KeyError('order')."]


# --- What it refuses ----------------------------------------------------------------------------

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "tool", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
INPUT_TEXT = [{"type": "input_text", "text": "Hi"}]


def tool(name: str = "tool", strict: bool = True, **schema: Any) -> Json:
    parameters = {"type": "object", "properties": {}, "additionalProperties": False, **schema}
    return {"type": "function", "name": name, "parameters": parameters, "strict": strict}


def tool_with(**schema: Any) -> Json:
    return tool(properties={"a": schema}, required=["a"])


BAD_REQUESTS: list[tuple[Json, str]] = [
    ({"input": [USER, CALL]}, "No tool output found for function call call_1."),
    ({"input": [USER, OUTPUT, CALL]}, "No tool call found for the output of call_1."),
    ({"input": [CALL, OUTPUT, OUTPUT]}, "Duplicate function_call_output for call_id 'call_1'."),
    ({"input": [CALL, CALL, OUTPUT]}, "Duplicate function_call for call_id 'call_1'."),
    ({"input": [{**CALL, "id": "fc_1"}, OUTPUT] * 2}, "Duplicate item found with id fc_1."),
    ({"input": [REASONING]}, "without its required following item."),
    ({"input": [{**ANSWER, "id": "msg_of_rs_9"}]}, "without its required 'reasoning' item."),
    ({"input": [{**REASONING, "status": "completed"}, ANSWER]}, "'input[0].status'"),
    ({"tools": [tool(additionalProperties=True)]}, ": 'additionalProperties' must be false."),
    ({"tools": [tool_with(items={"type": "object"})]}, "/a/*: 'additionalProperties'"),
    ({"tools": [tool(properties={"a": {}})]}, "'a' is not required."),
    ({"tools": [tool_with(anyOf=[{"minLength": 1}])]}, "/a/*: 'minLength' is not permitted."),
    ({"tools": [tool_with(default=1)]}, "/a: 'default' is not permitted."),
    ({"tools": [{**tool(), "type": "tool"}]}, "Invalid value for 'tools[0].type': 'tool'."),
    ({"tools": [tool(type="string")]}, "its type is 'string'"),
    ({"tools": [tool(), tool()]}, "Tool names must be unique: 'tool'."),
    ({"tools": [tool("look up")]}, "Invalid 'tools[0].name': 'look up'"),
    ({"tools": [tool("x" * 65)]}, "has not 1-64 characters"),
    ({"model": None}, "Missing required parameter: 'model'."),
    ({"input": None}, "must be provided."),
    ({"input": []}, "must be provided."),
    ({"input": 1}, "Invalid type for 'input'"),
    ({"input": ["Hi"]}, "Invalid type for 'input[0]'"),
    ({"input": [{**USER, "content": ["Hi"]}]}, "Invalid type for 'input[0].content[0]'"),
    ({"input": [{"type": "tool_result"}]}, "Invalid value for 'input[0]': 'tool_result'."),
    ({"input": [{**USER, "role": "tool"}]}, "Invalid value for 'input[0].role': 'tool'."),
    ({"input": [{**USER, "content": None}]}, "Invalid type for 'input[0].content': None."),
    ({"input": [{**ANSWER, "content": INPUT_TEXT}]}, "'input[0].content[0]': 'input_text'."),
    ({"input": [{**USER, "content": [{"type": "input_text"}]}]}, "'input[0].content[0].text'"),
    ({"input": [{**CALL, "name": "look up"}]}, "Invalid 'input[0].name'"),
    ({"input": [{**CALL, "call_id": 1}]}, "Invalid type for 'input[0].call_id'"),
    ({"input": [{**CALL, "call_id": ""}]}, "Invalid 'input[0].call_id': ''"),
    ({"input": [USER, {**ANSWER, "id": "item_1"}]}, "Invalid 'input[1].id': 'item_1'"),
    ({"input": [{**CALL, "id": "call_1"}, OUTPUT]}, "Invalid 'input[0].id': 'call_1'"),
    ({"input": [{**USER, "tool_calls": []}]}, "Unknown parameter: 'input[0].tool_calls'."),
    ({"max_tokens": 5}, "Unknown parameter: 'max_tokens'."),
]


@pytest.mark.parametrize(("change", "message"), BAD_REQUESTS)
def test_a_bad_request_is_refused(change: Json, message: str) -> None:
    body = {"model": "gpt-test", "input": "Hi", **change}
    body = {name: value for name, value in body.items() if value is not None}
    with pytest.raises(Refused) as refused:
        check_responses(body, {"msg_of_rs_9": "rs_9"})
    assert message in refused.value.message


CHAT_CALL = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function"}]}
CHAT_OUTPUT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
BAD_CHATS: list[tuple[Json, str]] = [
    ({"model": ""}, "you must provide a model parameter"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "'tools[0].name'"),
    ({"messages": []}, "[] is too short - 'messages'"),
    ({"messages": [{"role": "model"}]}, "Invalid value for 'messages[0].role': 'model'."),
    ({"messages": [{**USER, "content": None}]}, "Invalid type for 'messages[0].content'"),
    ({"messages": [USER, CHAT_CALL]}, "without response messages: call_1"),
    ({"messages": [CHAT_CALL, USER, CHAT_OUTPUT]}, "without response messages: call_1"),
    ({"messages": [USER, CHAT_OUTPUT]}, "messages[1] must be a response"),
    ({"messages": [CHAT_CALL, CHAT_OUTPUT, CHAT_OUTPUT]}, "messages[2] must be a response"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CHATS)
def test_a_bad_chat_completion_is_refused(change: Json, message: str) -> None:
    with pytest.raises(Refused) as refused:
        check_chat({"model": "gpt-test", "messages": [USER], **change}, {})
    assert message in refused.value.message


@pytest.mark.parametrize("body", [b'{"model": "\xff"}', b"{", json.dumps("\ud83d").encode()])
def test_a_body_that_is_no_utf_8_or_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="could not parse"):
        parse(body)


async def test_what_was_reasoned_for_is_refused_without_its_reasoning(server: ModelServer) -> None:
    server.script(think() + say("Hello."), say("Again."))
    first = await ask(server)
    given: list[Any] = [item.model_dump(exclude_unset=True) for item in first.output]
    with pytest.raises(openai.BadRequestError, match="without its required 'reasoning' item"):
        await ask(server, [USER, given[1], USER])
    assert (await ask(server, [USER, *given, USER])).output_text == "Again."
    assert len(server.violations) == 1
    server.violations.clear()
