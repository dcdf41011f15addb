"""kill -9 of the chat at points of a turn: log in again, and nothing is lost, doubled or stuck.

tests/test_kit.py kills before each command; here it is what the terminal says and asks afterwards.

Each test holds a real main.py at one exact point, by a gate of the model's server or a fail point
of mongod, kills it there, and starts it again against a server that refuses what the real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.kills import ASK, QUESTION, asking, held, held_at_its_end, shopkeeper
from tests.model_server import ModelServer
from tests.processes import Chat, Shop, order_of, run, times_returned
from tests.servers import on_both


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(shopkeeper) as server:
        yield server
        assert server.violations == []


def before_the_take(shop: Shop, model: ModelServer) -> str:
    """A new conversation has its record; the command that accepts the message is not run."""
    with (
        held(shop, "findAndModify", "conversations", skip=1) as kill_there,
        asking(shop, model) as process,
    ):
        kill_there(process)
    assert model.requests == []
    return f"{ASK}\ny\n"


def at_the_end_of_the_first_step(shop: Shop, model: ModelServer) -> str:
    gate = model.hold()
    with asking(shop, model) as process:
        gate.wait_reached(30)
        with held_at_its_end(shop) as kill_there:
            gate.release()
            kill_there(process)
    return "/retry\ny\n"


def before_the_call_and_its_question(shop: Shop, model: ModelServer) -> str:
    return between_call_and_question(shop, model, held(shop, "insert", "agent_messages"))


def behind_the_call_before_its_question(shop: Shop, model: ModelServer) -> str:
    return between_call_and_question(shop, model, held_at_its_end(shop))


def between_call_and_question(
    shop: Shop, model: ModelServer, held_there: AbstractContextManager[Callable[[Chat], None]]
) -> str:
    model.hold().release()
    model.hold().release()
    gate = model.hold()
    with asking(shop, model) as process:
        gate.wait_reached(30)
        with held_there as kill_there:
            gate.release()
            kill_there(process)
    assert not (shop.ecommerce_support.conversations.find_one() or {}).get("pending")
    return "/retry\ny\n"


def at_the_question(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
    return "y\n"


def at_the_end_of_the_return(shop: Shop, model: ModelServer) -> str:
    """On a standalone, the return is made and nobody knows; else it is not, nor is the yes."""
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        with held_at_its_end(shop) as kill_there:
            process.type("y")
            kill_there(process)
    return "/retry\ny\n"


def while_the_last_answer_streams(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        gate = model.hold(after=10)
        process.type("y")
        gate.wait_reached(30)
    return "/retry\n"


POINTS = [
    before_the_take,
    at_the_end_of_the_first_step,
    before_the_call_and_its_question,
    behind_the_call_before_its_question,
    at_the_end_of_the_return,
    at_the_question,
    while_the_last_answer_streams,
]


@on_both
@pytest.mark.parametrize("kill", POINTS, ids=lambda point: point.__name__)
def test_after_kill_9(
    shop: Shop, model: ModelServer, kill: Callable[[Shop, ModelServer], str]
) -> None:
    lines = kill(shop, model)
    db = shop.ecommerce_support
    done = run(
        shop, "--email", "alice@example.com", lines=f"{lines}thanks\n/history\n", model=model
    )
    assert done.returncode == 0, done.stderr
    order = order_of(shop)
    assert times_returned(order) == 1
    assert order["return"]["refund_cents"] == 148_498
    history = done.stdout.rpartition("> /history\n")[2]
    assert history.count(f"> {ASK}\n") == 1
    assert "About your return: " in history and "eturn" in history.split("About your return: ")[1]
    assert "You are welcome." in history
    conversation = db.conversations.find_one()
    assert conversation
    assert conversation["active_agent"] == "Orders"
    assert conversation["pending"] is None and conversation["lease"] is None
