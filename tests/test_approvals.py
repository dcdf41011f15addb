"""What is told about an approval is so, whatever tool it is and whatever the builder did to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from agents import (
    Agent,
    CustomTool,
    HostedMCPTool,
    RunContextWrapper,
    ShellTool,
    Tool,
    ToolGuardrailFunctionOutput,
    function_tool,
    tool_input_guardrail,
)
from agents.testing import ModelStep
from openai.types.responses import ResponseCustomToolCall, ResponseFunctionShellToolCall
from openai.types.responses.response_output_item import McpApprovalRequest, McpCall

from engine import Approval, Refusal
from engine.events import ApprovalLost, HandedOff
from tests.builders import Visits, asked, call, hosted, say, settled, text_of, told

NOT_DONE = "Nothing was booked."
Made = RunContextWrapper["Book"]


class Book:
    """The context: what was booked, and what stands in the way."""

    def __init__(self) -> None:
        self.days: list[str] = []
        self.full: set[str] = set()


@function_tool(needs_approval=True)
async def book(context: Made, day: str) -> str:
    """Book a day."""
    if day in context.context.full:
        return f"{day} is full.\nAsk for another day."
    context.context.days.append(day)
    return f"Booked {day}.\nBring your card."


async def ask(context: Book, arguments: Mapping[str, Any]) -> str:
    return f"Book {arguments['day']}?"


APPROVALS = {"book": Approval(ask, NOT_DONE)}


def desk(*tools: Tool) -> Agent[Any]:
    return Agent(name="Desk", tools=list(tools) or [book])


def booking(visits: Visits, **approvals: Any) -> Book:
    """Let `visits` share one book, as processes share a database."""
    made = Book()
    visits.options = {"context": lambda commit: made, "approvals": APPROVALS | approvals}
    return made


def front(inner: Agent[Any] | None = None) -> Agent[Any]:
    """The desk as a tool of another agent."""
    return Agent(name="Front", tools=[(inner or desk()).as_tool("ask_desk", "Ask the desk.")])


@pytest.mark.parametrize("nested", [False, True], ids=["", "nested"])
@pytest.mark.parametrize(
    ("yes", "full", "words"),
    [
        (True, False, (True, "Booked Monday.")),
        (True, True, (True, "Monday is full.")),
        (False, False, (False, NOT_DONE)),
    ],
    ids=["yes", "refused", "no"],
)
async def test_a_decision_is_told_in_the_calls_own_words(
    visits: Visits, yes: bool, full: bool, words: tuple[bool, str], nested: bool
) -> None:
    """And by nothing else: staff has booked the day, too, and the inner agent says that it did."""
    made = booking(visits)
    agent = front() if nested else desk()
    replies = [call("ask_desk", "outer", input="Monday")] * nested
    needed = asked(await visits.turn(agent, "Monday", *replies, call("book", "i", day="Monday")))
    assert needed.question == "Book Monday?"
    made.days.append("Monday")
    made.full |= {"Monday"} if full else set()
    inner = [say("I have booked it!")] * nested
    seen = await visits.decide(agent, needed, yes, *inner, say("So it is."))
    assert settled(seen) == [words]
    if not (yes or nested):
        assert visits.sent[-1]["output"] == "The answer was no, so it was not done."
    assert (text_of(seen), len(made.days)) == ("So it is.", 1 + (yes and not full))
    assert told(seen, HandedOff) == []
    assert await visits.calls_without_output() == []
    assert (await visits.record())["active_agent"] in ("", agent.name)


@pytest.mark.parametrize("first, second", [(True, False), (False, True), (False, False)])
async def test_equal_calls_are_told_one_by_one(visits: Visits, first: bool, second: bool) -> None:
    made = booking(visits)
    twice = call("book", "a", day="Monday") + call("book", "b", day="Monday")
    needed = asked(await visits.turn(desk(), "twice", twice))
    words = {True: (True, "Booked Monday."), False: (False, NOT_DONE)}
    seen = await visits.decide(desk(), needed, first)
    assert settled(seen) == [words[first]]
    seen = await visits.decide(desk(), asked(seen), second, say("So be it."))
    assert settled(seen) == [words[second]]
    assert made.days == ["Monday"] * (first + second)
    assert await visits.calls_without_output() == []


@function_tool(needs_approval=True)
async def cancel(context: Made, day: str) -> str:
    """Cancel a day. No Approval is registered for it."""
    context.context.days.remove(day)
    return f"Cancelled {day}."


async def test_a_tool_without_an_approval_gets_a_plain_question(visits: Visits) -> None:
    made = booking(visits)
    made.days = ["Monday", "Tuesday"]
    both = desk(book, cancel)
    needed = asked(await visits.turn(both, "cancel", call("cancel", day="Monday")))
    assert needed.question == 'cancel({"day":"Monday"})'
    seen = await visits.decide(both, needed, True, say("Done."))
    assert settled(seen) == [(True, "Cancelled Monday.")]
    needed = asked(await visits.turn(both, "cancel", call("cancel", "b", day="Tuesday")))
    seen = await visits.decide(both, needed, False, say("It stays."))
    assert settled(seen) == [(False, "It was not done.")]
    assert made.days == ["Tuesday"]


def deployed(**options: Any) -> Agent[Any]:
    async def later(context: Made, day: str) -> str:
        """Book a day."""
        raise AssertionError("nobody has said yes to this one")

    return desk(function_tool(later, needs_approval=True, **options))


DEPLOYS: dict[str, Callable[[], Agent[Any]]] = {
    "renamed": lambda: deployed(name_override="book_day"),
    "disabled": lambda: deployed(name_override="book", is_enabled=False),
    "removed": lambda: Agent(name="Desk"),
}


@pytest.mark.parametrize("deploy", DEPLOYS)
@pytest.mark.parametrize("yes", [None, True, False], ids=["asked again", "a yes", "a no"])
async def test_after_the_tool_is_gone_nobody_is_asked_in_vain(
    visits: Visits, deploy: str, yes: bool | None
) -> None:
    made = booking(visits)
    needed = asked(await visits.turn(desk(), "Monday", call("book", day="Monday")))
    agent, sorry = DEPLOYS[deploy](), say("I cannot book any more.")
    if yes is None:
        seen = await visits.resume(agent, sorry)
        assert visits.conversation.opened.pending
        assert "not available any more" in visits.model.first_call.input[-1]["output"]
    else:
        seen = await visits.decide(agent, needed, yes, sorry)
        assert settled(seen) == [(False, NOT_DONE)]
    assert (text_of(seen), made.days) == ("I cannot book any more.", [])
    assert await visits.calls_without_output() == []
    assert (await visits.record())["pending"] is None


async def test_an_agent_that_is_gone_is_a_lost_question_until_a_message(visits: Visits) -> None:
    booking(visits)
    needed = asked(await visits.turn(desk(), "Monday", call("book", day="Monday")))
    other = Agent(name="Front")
    assert await visits.resume(other) == [ApprovalLost()]
    assert await visits.decide(other, needed, True) == [ApprovalLost()]
    seen = await visits.turn(other, "hello?", say("Hello."))
    assert (settled(seen), text_of(seen)) == ([(False, NOT_DONE)], "Hello.")


async def test_a_tool_server_that_is_down_keeps_the_question(visits: Visits) -> None:
    class Down:
        is_down = False

    made = booking(visits)
    agent = desk()
    get = agent.get_all_tools

    async def get_all_tools(context: Any) -> Any:
        if Down.is_down:
            raise ConnectionError("the tool server does not answer")
        return await get(context)

    vars(agent)["get_all_tools"] = get_all_tools
    needed = asked(await visits.turn(agent, "Monday", call("book", day="Monday")))
    Down.is_down = True
    assert await visits.resume(agent) == [ApprovalLost()]
    assert await visits.decide(agent, needed, True) == [ApprovalLost()]
    Down.is_down = False
    assert asked(await visits.resume(agent)) == needed
    seen = await visits.decide(agent, needed, True, say("Done."))
    assert (settled(seen), made.days) == ([(True, "Booked Monday.")], ["Monday"])


# A tool that needs a yes inside an agent that is a tool.


async def test_the_output_of_an_inner_call_is_told_if_its_agent_ends_there(visits: Visits) -> None:
    booking(visits)
    inner = Agent(name="Desk", tools=[book], tool_use_behavior="stop_on_first_tool")
    replies = call("ask_desk", "outer", input="Monday"), call("book", "inner", day="Monday")
    needed = asked(await visits.turn(front(inner), "Monday", *replies))
    seen = await visits.decide(front(inner), needed, True, say("Done."))
    assert settled(seen) == [(True, "Booked Monday.")]


@pytest.mark.parametrize("second", [True, False])
async def test_two_nested_approvals_are_told_though_the_sdk_makes_both_calls_at_the_end(
    visits: Visits, second: bool
) -> None:
    made = booking(visits)
    inner = call("book", "x", day="Monday") + call("book", "y", day="Tuesday")
    needed = asked(await visits.turn(front(), "both", call("ask_desk", input="both"), inner))
    needed = asked(await visits.decide(front(), needed, True))
    assert needed.question == "Book Tuesday?"
    seen = await visits.decide(front(), needed, second, say("So."), say("It is so."))
    other = (True, "Booked Tuesday.") if second else (False, NOT_DONE)
    assert sorted(settled(seen)) == sorted([(True, "Booked Monday."), other])
    assert made.days == ["Monday", "Tuesday"][: 1 + second]


# Hosted tools: the model's server asks, and calls.

REQUEST = McpApprovalRequest(
    id="mcpr_1", type="mcp_approval_request", arguments="{}", name="wipe", server_label="files"
)


def wiped(output: str | None = "Wiped.\nAll of it.", error: Any = None) -> ModelStep:
    made = McpCall.model_construct(  # the type of an error is another in each version of openai
        id="mcp_1",
        type="mcp_call",
        arguments="{}",
        name="wipe",
        server_label="files",
        output=output,
        error=error,
        approval_request_id="mcpr_1",
    )
    return hosted(made, *say("It is wiped."))


def files() -> Agent[Any]:
    config: Any = {
        "type": "mcp",
        "server_label": "files",
        "server_url": "https://files.example.com",
        "require_approval": "always",
    }
    return Agent(name="Files", tools=[HostedMCPTool(tool_config=config)])


@pytest.mark.parametrize("yes", [True, False])
async def test_a_hosted_tools_approval_is_told_as_settled(visits: Visits, yes: bool) -> None:
    needed = asked(await visits.turn(files(), "wipe", hosted(REQUEST)))
    assert needed.question == "wipe({})"
    seen = await visits.decide(files(), needed, yes, wiped() if yes else say("It stays."))
    assert settled(seen) == [(True, "Wiped.") if yes else (False, "It was not done.")]
    assert text_of(seen) == ("It is wiped." if yes else "It stays.")
    kinds = [item.get("type", "message") for item in visits.model.first_call.input]
    assert kinds == ["message", "mcp_approval_request", "mcp_approval_response"]
    assert visits.model.first_call.input[-1]["approve"] is yes
    assert text_of(await visits.turn(files(), "thanks", say("Bye."))) == "Bye."


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_a_hosted_call_that_failed_is_told_with_its_error(visits: Visits) -> None:
    needed = asked(await visits.turn(files(), "wipe", hosted(REQUEST)))
    seen = await visits.decide(files(), needed, True, wiped(None, "The disk is full."))
    assert settled(seen) == [(False, "The disk is full.")]


# After a yes, the call may still not be made.


@tool_input_guardrail
def closed(_: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.reject_content("We are closed.")


async def fails(run: RunContextWrapper[Any]) -> str:
    """Fails."""
    raise RuntimeError("broken")


async def refuses(run: RunContextWrapper[Any]) -> str:
    """Refuses while it writes."""

    async def write() -> str:
        raise Refusal("There is no room.")

    try:
        return str(await run.context(write))
    except Refusal as refusal:
        return str(refusal)


async def writes_and_fails(run: RunContextWrapper[Any]) -> str:
    """Fails after its write."""

    async def write() -> None: ...

    await run.context(write)
    raise RuntimeError("broken")


ERROR = "An error occurred while running the tool. Please try again."


@pytest.mark.parametrize(
    ("made", "guards", "nested", "words"),
    [
        (fails, [], False, (False, ERROR)),
        (fails, [], True, (False, ERROR)),
        (refuses, [], False, (False, "There is no room.")),
        (refuses, [], True, (False, "There is no room.")),
        (writes_and_fails, [], False, (True, ERROR)),
        (writes_and_fails, [], True, (True, ERROR)),
        (writes_and_fails, [closed], False, (False, "We are closed.")),
    ],
)
async def test_what_was_not_made_after_a_yes_is_not_told_as_done(
    visits: Visits, made: Any, guards: list[Any], nested: bool, words: tuple[bool, str]
) -> None:
    visits.options = {"context": lambda commit: commit}
    agent = desk(function_tool(made, needs_approval=True, tool_input_guardrails=guards))
    agent = front(agent) if nested else agent
    outer = [call("ask_desk", "outer", input="?")] * nested
    needed = asked(await visits.turn(agent, "do it", *outer, call(made.__name__)))
    inner = [say("Done!")] * nested
    assert settled(await visits.decide(agent, needed, True, *inner, say("Done!"))) == [words]


# What else needs a yes, and what else may stand in the way.


async def test_an_agent_that_is_a_tool_is_done_though_it_asked_in_between(visits: Visits) -> None:
    booking(visits)
    tool = desk().as_tool("ask_desk", "Ask the desk.", needs_approval=True)
    agent = Agent[Any](name="Front", tools=[tool])
    needed = asked(await visits.turn(agent, "Monday", call("ask_desk", "outer", input="Monday")))
    needed = asked(await visits.decide(agent, needed, True, call("book", "inner", day="Monday")))
    seen = await visits.decide(agent, needed, True, say("Inner."), say("Outer."))
    assert settled(seen) == [(True, "Booked Monday."), (True, "Inner.")]


COMMANDS = {"commands": ["rm it"], "max_output_length": 9, "timeout_ms": 9}


@pytest.mark.parametrize("kind", ["shell", "custom"])
@pytest.mark.parametrize("registered", [False, True], ids=["plain", "registered"])
async def test_who_is_asked_sees_what_a_shell_or_a_custom_tool_is_to_do(
    visits: Visits, kind: str, registered: bool
) -> None:
    async def run(*_: Any) -> str:
        return "It ran."

    async def ask(_: Any, arguments: Mapping[str, Any]) -> str:
        return f"Run {arguments}?"

    made: Any
    tool: Tool
    if kind == "shell":
        made = ResponseFunctionShellToolCall.model_construct(
            id="sh_1", call_id="c1", type="shell_call", status="completed", action=COMMANDS
        )
        tool = ShellTool(executor=run, needs_approval=True)
    else:
        made = ResponseCustomToolCall(
            call_id="c1", input="rm it", name="custom", type="custom_tool_call"
        )
        tool = CustomTool("custom", "Run it.", run, needs_approval=True)
    options = {"approvals": {kind: Approval(ask, NOT_DONE)}} if registered else {}
    needed = asked(await visits.turn(desk(tool), "go", hosted(made), **options))
    assert "rm it" in needed.question and needed.question.startswith("Run" if registered else kind)
    seen = await visits.decide(desk(tool), needed, True, say("Done."), **options)
    assert settled(seen) == [(True, "It ran.")]
