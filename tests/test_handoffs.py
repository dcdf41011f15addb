"""Who answers next is who took over, in every form of the SDK's handoffs, also after a restart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from agents import Agent, HandoffInputData, RunConfig, RunContextWrapper, function_tool, handoff
from agents.extensions.handoff_filters import remove_all_tools
from agents.testing import ScriptedModel
from pydantic import BaseModel

from tests.builders import Visits, call, events, path, say, text_of


class Why(BaseModel):
    reason: str


async def taken_over(context: RunContextWrapper[Any], why: Why) -> None:
    """An `on_handoff` that wants an input."""


def nothing_new(data: HandoffInputData) -> HandoffInputData:
    return data.clone(new_items=())


FORMS: dict[str, tuple[Callable[[Agent[Any]], Any], str, dict[str, Any]]] = {
    "bare": (lambda desk: desk, "transfer_to_desk", {}),
    "handoff": (handoff, "transfer_to_desk", {}),
    "on_handoff and input_type": (
        partial(handoff, on_handoff=taken_over, input_type=Why),
        *("transfer_to_desk", {"reason": "asked"}),
    ),
    "input_filter": (partial(handoff, input_filter=nothing_new), "transfer_to_desk", {}),
    "remove_all_tools": (partial(handoff, input_filter=remove_all_tools), "transfer_to_desk", {}),
    "nest_handoff_history": (partial(handoff, nest_handoff_history=True), "transfer_to_desk", {}),
    "tool_name_override": (partial(handoff, tool_name_override="to_desk"), "to_desk", {}),
}


async def who_answers(visits: Visits, triage: Agent[Any]) -> str | None:
    """The instructions of the agent that answers the next message."""
    seen = await visits.turn(triage, "next", say("Well."))
    assert (path(seen), text_of(seen)) == ([], "Well.")
    instructions: str | None = visits.model.last_call.system_instructions
    return instructions


@pytest.mark.parametrize("form", FORMS)
async def test_who_took_over_answers_the_next_turn(visits: Visits, form: str) -> None:
    make, tool, arguments = FORMS[form]
    desk = Agent(name="Desk", instructions="You are the desk.")
    triage = Agent(name="Triage", instructions="You are triage.", handoffs=[make(desk)])
    seen = await visits.turn(triage, "a room, please", call(tool, **arguments), say("Which day?"))
    assert (path(seen), text_of(seen)) == (["Desk"], "Which day?")

    assert await who_answers(visits, triage) == "You are the desk."
    assert await visits.users() == ["a room, please", "next"]


async def test_nested_history_set_for_the_whole_run_changes_nothing_of_it(visits: Visits) -> None:
    desk = Agent(name="Desk", instructions="You are the desk.")
    triage = Agent(name="Triage", handoffs=[desk])
    for message, *replies in (["one", call("transfer_to_desk"), say("1")], ["two", say("2")]):
        model = ScriptedModel(replies)
        config = RunConfig(model=model, nest_handoff_history=True)
        await events((await visits.open(triage, run_config=config)).turn(message))
    assert model.last_call.system_instructions == "You are the desk."


@pytest.mark.parametrize("name", ['The "best" desk', "O'Hara's", "Bestellungen (außen)", "$desk"])
async def test_any_name_of_an_agent_is_remembered(visits: Visits, name: str) -> None:
    desk = Agent(name=name, instructions="You are the desk.")
    triage = Agent(name="Triage", handoffs=[handoff(desk, tool_name_override="to_desk")])
    seen = await visits.turn(triage, "one", call("to_desk"), say("1"))
    assert path(seen) == [name]
    assert await who_answers(visits, triage) == "You are the desk."


async def test_of_two_handoffs_in_one_response_the_one_that_happened_counts(visits: Visits) -> None:
    desk, shop = Agent(name="Desk", instructions="Desk."), Agent(name="Shop", instructions="Shop.")
    triage = Agent(name="Triage", handoffs=[desk, handoff(shop)])
    both = call("transfer_to_desk", "a") + call("transfer_to_shop", "b")
    seen = await visits.turn(triage, "one", both, say("1"))
    assert path(seen) == ["Desk"]
    assert await who_answers(visits, triage) == "Desk."
    assert await visits.calls_without_output() == []


@function_tool
async def transfer_to_bank(amount: int) -> str:
    """Transfer money."""
    return '{"assistant": "Desk"}'


async def test_a_tool_that_is_named_like_a_handoff_is_a_tool(visits: Visits) -> None:
    desk = Agent(name="Desk", instructions="Desk.")
    triage = Agent(name="Triage", instructions="Triage.", tools=[transfer_to_bank])
    triage.handoffs = [desk]
    seen = await visits.turn(triage, "one", call("transfer_to_bank", amount=5), say("1"))
    assert path(seen) == ["transfer_to_bank"]
    assert await who_answers(visits, triage) == "Triage."


async def test_agents_are_found_through_several_handoffs_and_back(visits: Visits) -> None:
    bill, desk = Agent(name="Bill", instructions="Bill."), Agent(name="Desk", instructions="Desk.")
    triage = Agent(name="Triage", instructions="Triage.", handoffs=[handoff(desk)])
    desk.handoffs, bill.handoffs = [handoff(bill)], [handoff(triage)]
    both = call("transfer_to_desk"), call("transfer_to_bill", "b")
    await visits.turn(triage, "1", *both, say("."))
    seen = await visits.turn(triage, "2", call("transfer_to_triage", "c"), say("back"))
    assert visits.model.first_call.system_instructions == "Bill."
    assert path(seen) == ["Triage"]
    assert await who_answers(visits, triage) == "Triage."


async def test_a_handoff_whose_next_answer_failed_counts_all_the_same(visits: Visits) -> None:
    desk = Agent(name="Desk", instructions="Desk.")
    triage = Agent(name="Triage", handoffs=[handoff(desk, tool_name_override="to_desk")])
    await visits.fails(triage, "one", call("to_desk"), RuntimeError("the model broke"))
    await visits.retry(triage, say("1"))
    assert visits.model.last_call.system_instructions == "Desk."


async def test_the_first_agent_answers_for_one_that_exists_no_more(visits: Visits) -> None:
    triage = Agent(name="Triage", handoffs=[Agent(name="Desk")])
    await visits.turn(triage, "one", call("transfer_to_desk"), say("1"))
    assert await who_answers(visits, Agent(name="Triage", instructions="Triage.")) == "Triage."
