"""Whose fault a failure is: the builder's, the model's, a check's, the database's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailData,
    ToolOutputGuardrailData,
    function_tool,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from agents.exceptions import ModelBehaviorError, UserError
from agents.mcp import MCPServerStdio
from agents.testing import ScriptedModel

from engine import Approval, Reason, TurnFailed
from engine.errors import failure
from engine.history import NOT_TAKEN
from tests.builders import Visits, asked, call, events, failure_of, say, text_of


@function_tool(needs_approval=True)
async def book(day: str) -> str:
    """Book a day."""
    return f"Booked {day}."


@function_tool(failure_error_function=None)
async def broken() -> str:
    """Look something up."""
    raise ZeroDivisionError("rooms / 0")


async def bad_ask(context: Any, arguments: Mapping[str, Any]) -> str:
    return str(arguments["no such argument"])


def bad_instructions(context: Any, agent: Any) -> str:
    raise AttributeError("no such customer")


def desk(**options: Any) -> Agent[Any]:
    return Agent(name="Desk", tools=[book, broken], **options)


BUGS: dict[str, tuple[Callable[[], Agent[Any]], list[Any], type[Exception]]] = {
    "ask": (desk, call("book", day="Monday"), KeyError),
    "instructions": (lambda: desk(instructions=bad_instructions), say("."), AttributeError),
    "a tool that raises": (desk, call("broken"), ZeroDivisionError),
}


@pytest.mark.parametrize("where", BUGS)
async def test_a_builders_bug_is_told_and_the_message_waits(visits: Visits, where: str) -> None:
    make, reply, bug = BUGS[where]
    options: Any = {"approvals": {"book": Approval(bad_ask, "no")}}
    failed = await visits.fails(make(), "hello", reply, **options)
    assert failed.reason is Reason.PROGRAM_ERROR
    assert bug.__name__ in str(failed)
    assert visits.conversation.unanswered == "hello"
    assert text_of(await visits.retry(desk(), say("Here I am."))) == "Here I am."
    assert await visits.users() == ["hello"]


async def test_a_context_that_cannot_be_made_is_told_as_the_builders_bug(visits: Visits) -> None:
    def context(commit: Any) -> Any:
        raise LookupError("no such customer")

    with pytest.raises(TurnFailed, match="LookupError") as raised:
        await visits.open(desk(), ScriptedModel(), context=context)
    assert raised.value.reason is Reason.PROGRAM_ERROR


@pytest.mark.parametrize(
    "error", [RuntimeError("the model broke"), ModelBehaviorError("no such thing"), KeyError("id")]
)
@pytest.mark.parametrize("own", [False, True], ids=["", "the agent's own"])
async def test_what_a_model_raises_is_told_as_the_models(
    visits: Visits, error: Exception, own: bool
) -> None:
    agent = desk(model=ScriptedModel([error])) if own else desk()
    failed = await visits.fails(agent, "hello", *[error] * (not own))
    assert failed.reason is Reason.ANSWER_UNREADABLE
    assert visits.conversation.unanswered == "hello"


TOOLS = """
import os
try:
    from mcp.server import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server
server = Server("tools")
server.tool(name="leave")(lambda: os._exit(1))
server.run("stdio")
"""


async def test_a_server_of_tools_that_is_down_is_no_bug_and_the_message_waits(
    visits: Visits,
) -> None:
    async with MCPServerStdio({"command": sys.executable, "args": ["-c", TOOLS]}) as server:
        agent = Agent(name="Desk", mcp_servers=[server])
        failed = await visits.fails(agent, "hello", call("leave"))
    assert visits.conversation.unanswered == "hello"
    assert failed.reason is Reason.TOOLS_UNREACHABLE
    assert text_of(await visits.retry(desk(), say("Here I am."))) == "Here I am."


def test_what_the_sdk_makes_of_a_lost_connection_to_tools_is_no_bug_either() -> None:
    error = UserError("Failed to list tools from MCP server 'files': Connection lost.")
    error.__cause__ = ConnectionError()
    assert failure(error).reason is Reason.TOOLS_UNREACHABLE
    assert failure(UserError("Server not initialized.")).reason is Reason.PROGRAM_ERROR


@function_tool
async def report() -> str:
    """Write a report."""
    return "x" * 17_000_000


async def test_a_step_that_is_too_large_is_told_and_the_message_is_kept(visits: Visits) -> None:
    agent = Agent(name="Desk", tools=[report])
    failed = await visits.fails(agent, "a report", call("report"), say("There."))
    assert failed.reason is Reason.TOO_LARGE
    assert visits.conversation.unanswered == "a report"
    assert text_of(await visits.retry(agent, say("Too long."))) == "Too long."


async def test_a_question_after_an_output_of_megabytes_is_asked_and_decided(visits: Visits) -> None:
    @function_tool
    async def long_report() -> str:
        """Write a report."""
        return "x" * 4_000_000

    agent = Agent(name="Desk", tools=[long_report, book])
    replies = call("long_report", "a"), call("book", "b", day="Monday")
    needed = asked(await visits.turn(agent, "a report, and Monday", *replies))
    assert text_of(await visits.decide(agent, needed, True, say("Done."))) == "Done."


# Guardrails


@input_guardrail
async def no_secrets(context: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
    said = [item.get("content") for item in input if item.get("role") == "user"]
    return GuardrailFunctionOutput(None, tripwire_triggered="secret" in str(said))


@output_guardrail
async def no_promises(context: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, tripwire_triggered="promise" in str(output))


@tool_input_guardrail
async def no_monday(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.raise_exception()


@tool_output_guardrail
async def no_answer(data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.raise_exception()


async def test_a_message_that_a_guardrail_blocks_is_in_no_later_request(visits: Visits) -> None:
    agent = desk(input_guardrails=[no_secrets])
    await visits.turn(agent, "hello", say("Hello."))
    conversation = await visits.open(agent, say("Never shown."))
    failed = await failure_of(conversation.turn("a secret"))
    assert failed.reason is Reason.MESSAGE_BLOCKED
    assert conversation.unanswered is None
    assert (await visits.record())["inbox"] == []
    assert (await conversation.transcript())[-1].text == NOT_TAKEN
    failed = await failure_of(conversation.retry())
    assert failed.reason is Reason.NOTHING_TO_RETRY

    assert text_of(await visits.turn(agent, "and now?", say("Fine."))) == "Fine."
    assert [item["content"] for item in visits.sent] == ["hello", "Hello.", "and now?"]
    assert "secret" not in str(await visits.items())


@pytest.mark.parametrize("kind", ["output", "tool input", "tool output"])
async def test_an_answer_that_a_guardrail_blocks_leaves_the_message_for_a_retry(
    visits: Visits, kind: str
) -> None:
    @function_tool(
        tool_input_guardrails=[no_monday] if kind == "tool input" else None,
        tool_output_guardrails=[no_answer] if kind == "tool output" else None,
    )
    async def look() -> str:
        """Look."""
        return "A room."

    agent = Agent(name="Desk", tools=[look], output_guardrails=[no_promises])
    reply = say("I promise it.") if kind == "output" else call("look")
    assert (await visits.fails(agent, "a room?", reply)).reason is Reason.ANSWER_BLOCKED
    assert visits.conversation.unanswered == "a room?"
    assert text_of(await visits.retry(agent, say("Perhaps."))) == "Perhaps."
    assert "promise" not in str(await visits.items())
    assert await visits.calls_without_output() == []


async def test_a_message_that_check_refuses_is_neither_stored_nor_sent(visits: Visits) -> None:
    def check(message: Any) -> str | None:
        return "No card numbers, please." if "4111" in str(message) else None

    conversation = await visits.open(desk(), say("Hello."), check=check)
    for message in "4111 1111", [{"type": "input_text", "text": "4111"}]:
        with pytest.raises(TurnFailed, match="No card numbers, please") as raised:
            conversation.turn(message)
        assert raised.value.reason is Reason.MESSAGE_BLOCKED
    assert await visits.db.conversations.find_one({}) is None
    await events(conversation.turn("hello"))
    assert "4111" not in str(visits.sent)


async def test_a_check_that_fails_is_the_builders_bug_and_nothing_is_kept(visits: Visits) -> None:
    def check(message: Any) -> str | None:
        return {"hello": None}[message]

    conversation = await visits.open(desk(), say("Hello."), check=check)
    with pytest.raises(TurnFailed, match="KeyError") as raised:
        conversation.turn("a room?")
    assert raised.value.reason is Reason.PROGRAM_ERROR
    assert await visits.db.conversations.find_one({}) is None
    assert text_of(await events(conversation.turn("hello"))) == "Hello."
