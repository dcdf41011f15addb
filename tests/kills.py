"""A chat that is killed, or held, at one exact point: by a gate of the model or by mongod."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.builders import RETURN
from tests.model_server import Json, ModelServer, Reply, call, say
from tests.processes import Chat, Shop, chat

ASK = "I want to return ORD-1001, not powerful enough"
QUESTION = "Return order ORD-1001"
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


@contextlib.contextmanager
def asking(shop: Shop, model: ModelServer, lease: float = LEASE) -> Iterator[Chat]:
    """A chat of Alice's that has sent ASK; it is killed in the end, wherever it then is."""
    with chat(shop, "--email", "alice@example.com", model=model, lease=lease) as running:
        running.type(ASK)
        yield running


@contextlib.contextmanager
def held(
    shop: Shop, command: str, collection: str = "", skip: int = 0
) -> Iterator[Callable[[Chat], None]]:
    """The chat's next such command, but for the first `skip`, stands still in mongod.

    Yields what kills the chat there.
    """
    point: dict[str, Any] = {
        "configureFailPoint": "failCommand",
        "mode": {"skip": skip} if skip else {"times": 1},
        "data": {
            "failCommands": [command],
            **({"namespace": f"ecommerce_support.{collection}"} if collection else {}),
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
        if skip:
            shop.admin.command({"configureFailPoint": "failCommand", "mode": "off"})

    try:
        yield kill_there
    except BaseException:  # it was not reached; else it is off, and nobody waits for its end
        shop.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        raise


def held_at_its_end(shop: Shop) -> contextlib.AbstractContextManager[Callable[[Chat], None]]:
    """Like `held`, at the last command of a write: its commit, or what follows on a standalone."""
    if "setName" in shop.admin.command("hello"):
        return held(shop, "commitTransaction")
    return held(shop, "update", "conversations", skip=1)
