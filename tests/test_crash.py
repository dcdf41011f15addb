"""kill -9 at every point of a turn: log in again, and nothing is lost, doubled or stuck.

Each test holds a real main.py at one exact point, by a gate of the model's server or a fail point
of mongod, kills it there, and starts it again against a server that refuses what the real one does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.model_server import Json, ModelServer, Reply, call, say
from tests.processes import Chat, Shop, chat, run

ASK = "I want to return ORD-1001, not powerful enough"
QUESTION = "Return order ORD-1001"
RETURN = {"order_id": "ORD-1001", "reason": "Not powerful enough"}
LEASE = 2.0  # seconds, of a chat that is killed: whoever comes next waits for its end


def shopkeeper(request: Json) -> Reply:
    """Answers as a careful model does: hand off, look, return, and tell what the tool said."""
    items = request["input"]
    asked = max(index for index, item in enumerate(items) if item.get("role") == "user")
    if "return" not in items[asked]["content"]:
        return say("You are welcome.")
    tools = {tool["name"] for tool in request["tools"]}
    outputs = [str(item["output"]) for item in items[asked:] if "output" in item]
    if "initiate_return" not in tools:
        return call("transfer_to_orders")
    if not any(output.startswith("Order ORD-1001\n") for output in outputs):
        return call("get_order", {"order_id": "ORD-1001"})
    if not any("eturn" in output.splitlines()[0] for output in outputs):
        return call("initiate_return", RETURN)
    return say(f"About your return: {outputs[-1].splitlines()[0]}")


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(shopkeeper) as server:
        yield server
        assert server.violations == []


@contextlib.contextmanager
def asking(shop: Shop, model: ModelServer, lease: float = LEASE) -> Iterator[Chat]:
    """A chat of Alice's that has sent ASK; it is killed in the end, wherever it then is."""
    with chat(shop, "--email", "alice@example.com", model=model, lease=lease) as running:
        running.type(ASK)
        yield running


@contextlib.contextmanager
def held(shop: Shop, command: str, collection: str) -> Iterator[Callable[[Chat], None]]:
    """The chat's next such command stands still in mongod; yields what kills the chat there."""
    point: dict[str, Any] = {
        "configureFailPoint": "failCommand",
        "mode": {"times": 1},
        "data": {
            "failCommands": [command],
            "namespace": f"ecommerce_support.{collection}",
            "appName": "support-chat",
            "blockConnection": True,
            "blockTimeMS": 2_000,
            # The command is not run: for a dead client, mongod itself would still run it.
            "errorCode": 91,
        },
    }
    entered = shop.admin.command(point)["count"]
    wait = {"waitForFailPoint": "failCommand", "timesEntered": entered + 1, "maxTimeMS": 20_000}

    def kill_there(running: Chat) -> None:
        shop.admin.command(wait)
        running.kill()

    try:
        yield kill_there
    except BaseException:  # it was not reached; else it is off, and nobody waits for its end
        shop.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        raise


def before_the_first_model_call(shop: Shop, model: ModelServer) -> str:
    gate = model.hold()
    with asking(shop, model):
        gate.wait_reached(30)
    return "/retry\ny\n"


def while_a_call_is_written(shop: Shop, model: ModelServer) -> str:
    model.hold().release()  # the handoff
    gate = model.hold(after=5)
    with asking(shop, model):
        gate.wait_reached(30)
    return "/retry\ny\n"


def after_a_handoff(shop: Shop, model: ModelServer) -> str:
    model.hold().release()
    gate = model.hold()
    with asking(shop, model):
        gate.wait_reached(30)
    assert shop.ecommerce_support.conversations.find_one()["active_agent"] == "Orders"  # type: ignore[index]
    return "/retry\ny\n"


def inside_a_read_tool(shop: Shop, model: ModelServer) -> str:
    with held(shop, "find", "orders") as kill_there, asking(shop, model) as process:
        kill_there(process)
    return "/retry\ny\n"


def between_two_session_writes(shop: Shop, model: ModelServer) -> str:
    """The number is taken, its document not written."""
    gate = model.hold()
    with asking(shop, model) as process:
        gate.wait_reached(30)
        with held(shop, "insert", "agent_messages") as kill_there:
            gate.release()
            kill_there(process)
    return "/retry\ny\n"


def at_the_question(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
    return "y\n"


def before_the_answer_is_claimed(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        with held(shop, "update", "conversations") as kill_there:
            process.type("y")
            kill_there(process)
    return "y\n"


def inside_the_return_before_its_write(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        with held(shop, "findAndModify", "orders") as kill_there:
            process.type("y")
            kill_there(process)
    return "/retry\ny\n"  # the yes died with the process, so it is asked for again


def inside_the_return_after_its_write(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        with held(shop, "insert", "agent_messages") as kill_there:
            process.type("y")
            kill_there(process)
    assert shop.ecommerce_support.orders.find_one({"_id": "ORD-1001", "return": {"$ne": None}})
    return "/retry\n"


def while_the_last_answer_streams(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        gate = model.hold(after=10)
        process.type("y")
        gate.wait_reached(30)
    return "/retry\n"


def while_the_last_answer_is_stored(shop: Shop, model: ModelServer) -> str:
    with asking(shop, model) as process:
        process.wait_for(QUESTION)
        gate = model.hold()
        process.type("y")
        gate.wait_reached(30)
        with held(shop, "insert", "agent_messages") as kill_there:
            gate.release()
            kill_there(process)
    return "/retry\n"


POINTS = [
    before_the_first_model_call,
    while_a_call_is_written,
    after_a_handoff,
    inside_a_read_tool,
    between_two_session_writes,
    at_the_question,
    before_the_answer_is_claimed,
    inside_the_return_before_its_write,
    inside_the_return_after_its_write,
    while_the_last_answer_streams,
    while_the_last_answer_is_stored,
]


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
    order = db.orders.find_one({"_id": "ORD-1001"})
    assert order
    assert [past["status"] for past in order["history"]].count("return initiated") == 1
    assert order["return"]["refund_cents"] == 148_498
    history = done.stdout.rpartition("> /history\n")[2]
    assert history.count(f"> {ASK}\n") == 1
    assert "About your return: " in history and "eturn" in history.split("About your return: ")[1]
    assert "You are welcome." in history
    conversation = db.conversations.find_one()
    assert conversation
    assert conversation["active_agent"] == "Orders"
    assert conversation["pending"] is None and conversation["lease"] is None
