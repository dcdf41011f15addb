"""examples/minimal.py as its readers run it: a process, a real mongod, a server that checks."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from functools import partial
from typing import Any

import pexpect
import pytest
from agents.extensions.memory import MongoDBSession
from pymongo import AsyncMongoClient

from tests.builders import RETURN
from tests.model_server import ModelServer, call, say
from tests.processes import ROOT, Chat, Shop, access, chat, order_of, run
from tests.screens import Fork, environment

PROGRAM = "examples/minimal.py"
ALICE = "alice@example.com\n"
ASK = "I want to return ORD-1001, not powerful enough\n"
start = partial(chat, program=PROGRAM)
play = partial(run, program=PROGRAM)


def said(request: dict[str, Any]) -> list[str]:
    """The customer's messages in a request."""
    return [item["content"] for item in request["input"] if item.get("role") == "user"]


def outputs(request: dict[str, Any]) -> list[str]:
    return [item["output"] for item in request["input"] if "output" in item]


def read_to_question(running: Chat) -> None:
    """Wait until the program asks; its question has no line end."""
    text = ""
    while not text.endswith("[y/N] "):
        character = running.stdout.read(1)
        assert character, text + running.stderr.read()
        text += character


def quit_at_the_question(shop: Shop, model: ModelServer) -> None:
    model.script(call("transfer_to_orders"), call("initiate_return", RETURN))
    assert play(shop, lines=ALICE + ASK, model=model).stdout.endswith("[y/N] ")


def test_it_is_one_short_file_of_its_own() -> None:
    text = (ROOT / PROGRAM).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    imported = set(re.findall(r"^\s*(?:from|import) ([\w]+|\.)", text, re.M))
    assert imported - sys.stdlib_module_names == {"agents", "pymongo"}
    named = re.findall(r"\(([\w/]+(?:\.py|/))\)", ast.get_docstring(ast.parse(text)) or "")
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_it_hands_off_calls_a_tool_and_a_restart_goes_on(shop: Shop, model: ModelServer) -> None:
    model.script(call("transfer_to_orders"), call("list_orders"), say("Two orders."))
    first = play(shop, lines=f"{ALICE}my orders?\n", model=model)
    assert (first.returncode, first.stderr) == (0, "")
    assert "Two orders.\n" in first.stdout
    found = outputs(model.requests[-1])[-1]
    assert "ORD-1001" in found and "ORD-1002" in found
    assert "CUST-2" not in found and "CUST-3" not in found
    assert model.requests[-1]["model"] == "Test-Model"

    model.script(say("You are welcome."))
    second = play(shop, lines=f"{ALICE}thanks\n", model=model)
    assert "You are welcome.\n" in second.stdout
    assert said(model.requests[-1]) == ["my orders?", "thanks"]
    assert "Two orders." in str(model.requests[-1]["input"])
    model.script(say("Hello."))
    play(shop, lines="bob@example.com\nhi\n", model=model)
    assert said(model.requests[-1]) == ["hi"]


@pytest.mark.parametrize("end", ["quit", "killed"])
def test_the_question_is_asked_again_after_a_restart_and_a_yes_returns_once(
    shop: Shop, model: ModelServer, end: str
) -> None:
    if end == "quit":
        quit_at_the_question(shop, model)
    else:
        model.script(call("transfer_to_orders"), call("initiate_return", RETURN))
        with start(shop, model=model) as running:
            running.type(ALICE + ASK.strip())
            read_to_question(running)
            running.kill()
    assert order_of(shop)["return"] is None
    assert shop.ecommerce_support.minimal_approvals.count_documents({}) == 1

    # What was stored with the question is not who the customer is now.
    change = {"$set": {"tier": "Platinum"}}
    shop.ecommerce_support.customers.update_one({"_id": "CUST-1"}, change)
    model.script(say("It is on its way."), say("Bye."))
    again = play(shop, lines=f"{ALICE}y\nthanks\n", model=model)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count("[y/N]") == 1
    assert again.stdout.index("ORD-1001") < again.stdout.index("It is on its way.")
    assert outputs(model.requests[2])[-1] == "Return initiated. Refund: $1,552.48."
    made = order_of(shop)["return"]
    assert (made["refund_cents"], made["tier"]) == (155_248, "Platinum")
    assert made["reason"] == "Not powerful enough"
    assert said(model.requests[-1]) == [ASK.strip(), "thanks"]
    assert shop.ecommerce_support.minimal_approvals.count_documents({}) == 0


def test_without_a_yes_nothing_is_returned_or_asked_again(shop: Shop, model: ModelServer) -> None:
    answers = ["n", "", "yess"]
    for _ in answers:
        model.script(call("transfer_to_orders"), call("initiate_return", RETURN), say("All right."))
    lines = "".join(f"{ASK}{answer}\n" for answer in answers)
    first = play(shop, lines=ALICE + lines, model=model)
    assert first.stdout.count("[y/N]") == first.stdout.count("All right.\n") == len(answers)

    model.script(say("Bye."))
    second = play(shop, lines=f"{ALICE}thanks\n", model=model)
    assert "[y/N]" not in second.stdout and "Bye.\n" in second.stdout
    assert order_of(shop)["return"] is None


def test_a_second_yes_to_the_same_question_does_nothing(shop: Shop, model: ModelServer) -> None:
    quit_at_the_question(shop, model)
    with start(shop, model=model) as one, start(shop, model=model) as other:
        for running in (one, other):
            running.type(ALICE.strip())
            read_to_question(running)
        model.script(say("It is on its way."))
        assert "It is on its way." in one.finish("y\n").stdout
        # The shop takes the return back: a yes that counted twice would make it again.
        change = {"$set": {"status": "delivered", "return": None}}
        shop.ecommerce_support.orders.update_one({"_id": "ORD-1001"}, change)
        late = other.finish("y\n")
    assert late.returncode == 1 and "answered on another terminal" in late.stderr
    assert order_of(shop)["return"] is None
    assert len(model.requests) == 3


def test_two_calls_for_one_order_at_once_return_it_once(shop: Shop, model: ModelServer) -> None:
    both = call("initiate_return", RETURN) + call("initiate_return", RETURN)
    model.script(call("transfer_to_orders"), both, say("Done."))
    # Both have looked at the order before one of them writes.
    data = {"failCommands": ["findAndModify"], "namespace": "ecommerce_support.orders"}
    wait = {"blockConnection": True, "blockTimeMS": 1_000}
    shop.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=data | wait)
    done = play(shop, lines=f"{ALICE}{ASK}y\ny\n", model=model)
    assert done.stdout.count("[y/N]") == 2 and "Done.\n" in done.stdout
    told = outputs(model.requests[-1])[-2:]
    assert sum(text.startswith("Return initiated.") for text in told) == 1, told


@pytest.mark.parametrize(
    ("email", "order_ids"),
    [
        # another customer's, not delivered yet, of nobody
        ("alice@example.com", ["ORD-1005", "ORD-1002", "ORD-9999"]),
        # delivered too long ago
        ("bob@example.com", ["ORD-1004"]),
    ],
)
def test_what_may_not_be_returned_is_not_returned_despite_a_yes(
    shop: Shop, model: ModelServer, email: str, order_ids: list[str]
) -> None:
    before = list(shop.ecommerce_support.orders.find())
    for order_id in order_ids:
        arguments = {"order_id": order_id, "reason": "I want to"}
        model.script(call("transfer_to_orders"), call("initiate_return", arguments), say("Sorry."))
    play(shop, lines=f"{email}\n" + f"{ASK}y\n" * len(order_ids), model=model)
    told = [text for text in outputs(model.requests[-1]) if "assistant" not in text]
    assert told == ["This order cannot be returned."] * len(order_ids)
    assert list(shop.ecommerce_support.orders.find()) == before


@pytest.mark.parametrize("point", ["before_the_answer", "after_the_return"])
def test_a_message_that_a_crash_left_unanswered_is_answered_by_the_next_start(
    shop: Shop, model: ModelServer, point: str
) -> None:
    if point == "after_the_return":
        model.script(call("transfer_to_orders"), call("initiate_return", RETURN))
        for _ in range(2):
            model.hold().release()
    gate = model.hold()
    model.script(say("Never read."))
    with start(shop, model=model) as running:
        running.type(ALICE + ASK.strip())
        if point == "after_the_return":
            read_to_question(running)
            running.type("y")
        gate.wait_reached(30)
    gate.release()
    model.script(say("Here is your answer."), say("Bye."))
    again = play(shop, lines=f"{ALICE}thanks\n", model=model)
    assert (again.returncode, again.stderr) == (0, "")
    assert "[y/N]" not in again.stdout
    assert again.stdout.index("Here is your answer.") < again.stdout.index("Bye.")
    assert said(model.requests[-2]) == [ASK.strip()]
    assert said(model.requests[-1]) == [ASK.strip(), "thanks"]


def test_a_yes_that_died_with_its_process_is_asked_again(shop: Shop, model: ModelServer) -> None:
    """Killed between the claim and the tool: the model asks anew, and only then it is done."""
    quit_at_the_question(shop, model)
    shop.ecommerce_support.minimal_approvals.delete_many({})
    model.script(call("transfer_to_orders"), call("initiate_return", RETURN), say("Done."))
    again = play(shop, lines=f"{ALICE}y\n", model=model)
    assert again.stdout.count("[y/N]") == 1 and "Done.\n" in again.stdout
    assert order_of(shop)["return"]["refund_cents"] == 148_498


def test_a_yes_typed_before_the_question_is_no_answer(shop: Shop, model: ModelServer) -> None:
    model.script(call("transfer_to_orders"), call("initiate_return", RETURN))
    gate = model.hold()
    terminal = Fork(PROGRAM, (), environment(**access(shop, model)), (24, 80))
    with contextlib.closing(terminal):
        terminal.expect("Your email: ")
        terminal.send(ALICE)
        terminal.expect("> ")
        terminal.send(ASK)
        gate.wait_reached(30)
        terminal.send("y\n")
        gate.release()
        terminal.expect(r"\[y/N\] ")
        terminal.send("\x04")  # the end of input
        terminal.expect(pexpect.EOF)
    assert order_of(shop)["return"] is None
    assert shop.ecommerce_support.minimal_approvals.count_documents({}) == 1


async def test_a_long_history_is_sent_only_in_part(
    shop: Shop, client: AsyncMongoClient[Any], model: ModelServer
) -> None:
    session = MongoDBSession("minimal_CUST-1", client=client, database="ecommerce_support")
    for number in range(150):
        asked: Any = {"role": "user", "content": f"question {number}"}
        await session.add_items([asked, {"role": "assistant", "content": f"answer {number}"}])
    model.script(say("Hello again."))
    assert "Hello again." in play(shop, lines=f"{ALICE}hello\n", model=model).stdout
    assert len(model.requests[-1]["input"]) <= 100
    assert said(model.requests[-1])[-2:] == ["question 149", "hello"]


def test_a_stranger_is_told_so(shop: Shop, model: ModelServer) -> None:
    done = play(shop, lines="eve@example.com\n", model=model)
    assert (done.returncode, done.stderr) == (1, "No customer has this email.\n")
    assert model.requests == []
