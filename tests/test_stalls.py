"""Nothing late is written: a sample of the matrix of stalls; `make stalls` runs all of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from database import Document, connect
from local.mongod import Mongod
from tests import promises
from tests.customer import open_shop
from tests.promises import Deed, Stored
from tests.proxy import Link, Side
from tests.servers import on_both, server, uri
from tests.stall import OPERATIONS, Verdict
from tests.stalls import all_cases, run_all, sample

# A standalone has no transactions: a write that is on its way when its terminal stalls lands.
WRITES = ("findAndModify", "insert", "update", "delete")


def is_on_its_way(verdict: Verdict) -> bool:
    """Whether a write is. After one of the record, the lease is looked at before the next.

    The command that was stalled may be a renewal, with the write of a step beside it.
    """
    done = verdict.case.side == "after" and verdict.command == "update conversations"
    beside = [held for held in verdict.held if held != "update conversations"]
    stalled = [] if done else [verdict.command]
    return any(command.split()[0] in WRITES for command in [*stalled, *beside])


@on_both
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stalled_terminal_breaks_no_promise(
    mongod: Mongod, operation: str, pytestconfig: pytest.Config
) -> None:
    """On a standalone, only a write on its way is late."""
    lease, every = pytestconfig.option.lease, pytestconfig.option.every
    groups = asyncio.run(all_cases(mongod.port, operation, lease))
    if every > 1:
        rotation = 2 * OPERATIONS.index(operation)
        groups = sample(groups, 3 if mongod.replica_set else 2, rotation)
    done = asyncio.run(run_all(mongod.port, groups, lease))
    ran = [verdict for verdict in done if not verdict.skipped]
    print(f"{len(ran)} of {len(done)} cases could be played")
    assert len(ran) * 3 >= len(done)
    assert [
        f"{verdict.case}, {verdict.command}: {problem}"
        for verdict in done
        for problem in dict.fromkeys(verdict.broken)
        if mongod.replica_set or not is_on_its_way(verdict)
    ] == []


def message(seq: int, *items: dict[str, Any], generation: int = 0) -> Document:
    return {"seq": seq, "generation": generation, "message_data": [json.dumps(i) for i in items]}


def ask(name: str) -> dict[str, Any]:
    return {"role": "user", "content": f"hello [{name}]"}


def answer(name: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": f"Answer to [{name}]."}]}


def call(name: str, kind: str = "function_call") -> dict[str, Any]:
    return {"type": kind, "call_id": f"call_{name}_1"}


OUTPUT = "function_call_output"


@pytest.mark.parametrize(
    ("messages", "broken"),
    [
        ([message(0, ask("A1")), message(2, call("A1"), call("A1", OUTPUT))], []),
        ([message(0, ask("A1")), message(1, ask("B1")), message(2, answer("B1"))], []),
        ([message(0, ask("A1")), message(1, ask("B1")), message(2, answer("A1"))], ["order"]),
        ([message(0, ask("A1")), message(1, ask("B1")), message(2, call("A1"))], ["order"]),
        ([message(0, ask("A1")), message(1, answer("A1")), message(1, ask("B1"))], ["seq"]),
        ([message(1, ask("A1"), answer("A1")), message(1, ask("B1"))], ["seq"]),
        ([message(0, ask("A1")), message(0, ask("B1"), generation=1)], []),
        ([message(0, ask("A1")), message(1, ask("A1"))], ["doubled"]),
        ([message(0, ask("A1")), message(1, answer("A1")), message(2, answer("A1"))], ["doubled"]),
        ([message(0, ask("A1")), message(1, call("A1", OUTPUT))], ["pairs"]),
    ],
)
def test_a_turn_that_is_torn_apart_is_seen(messages: list[Document], broken: list[str]) -> None:
    stored = Stored(messages, None, None, {})
    assert [problem.split(":")[0] for problem in promises.structure(stored)] == broken


def deed(what: str, about: str, began: float, result: str = "answered", **more: str) -> Deed:
    told = f"Answer to [{about}]." if result == "answered" else ""
    return Deed("A", what, about, began, began + 1, result, told, **more)


A1, B1 = deed("turn", "A1", 0), deed("turn", "B1", 2)
RESET = deed("reset", "", 4, "done")


@pytest.mark.parametrize(
    ("names", "deeds", "broken"),
    [
        (["A1", "B1"], [A1, B1], []),
        (["B1"], [A1, B1], ["lost", "lost"]),
        (["B1", "A1"], [A1, B1], ["order"]),
        ([], [A1, B1, RESET], []),
        (["A1"], [A1, B1, RESET], ["forgotten"]),
        ([], [RESET, deed("turn", "C1", 6)], ["lost", "lost"]),
    ],
)
def test_a_false_promise_is_seen(names: list[str], deeds: list[Deed], broken: list[str]) -> None:
    pairs = [message(2 * n + 1, ask(name), answer(name)) for n, name in enumerate(names)]
    stored = Stored(pairs, None, None, {})
    assert [p.split(":")[0] for p in promises.acknowledged(stored, deeds)] == broken


YES, NO = (deed(what, "A1", 4, approval="1") for what in ("yes", "no"))
ASKED = deed("turn", "A1", 0, "asked", approval="1")


@pytest.mark.parametrize(
    ("times", "deeds", "broken"),
    [
        (1, [ASKED, YES], []),
        (2, [ASKED, YES], ["return"]),
        (1, [ASKED], ["return"]),
        (1, [ASKED, NO, YES], ["return"]),
        (1, [ASKED, B1, YES], ["return"]),  # another message in between withdraws the question
        (1, [ASKED, deed("turn", "B1", 0), YES], []),
        (0, [ASKED, Deed("A", "yes", "A1", 4, 5, "answered", "Return initiated for order X")], 1),
    ],
)
def test_a_return_without_its_own_yes_is_seen(times: int, deeds: list[Deed], broken: Any) -> None:
    orders = [{"_id": "X", "history": [{"status": "return initiated"}] * times}]
    stored = Stored([], None, None, {"X": "asked in [A1]"} if times else {})
    found = [problem.split(":")[0] for problem in promises.returns(stored, deeds, orders)]
    assert found == (["return"] if broken == 1 else broken)


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_link_holds_a_command_on_either_side(side: Side) -> None:
    with server("standalone") as mongod:
        async with (
            Link(mongod.port) as link,
            await connect(link.uri) as client,
            await connect(uri(mongod.port)) as direct,
        ):
            await open_shop(direct.shop)
            link.hold_at(1, side)
            await client.shop.customers.find_one()
            update = client.shop.customers.update_one({}, {"$set": {"name": "Late"}})
            held = asyncio.create_task(update)
            await asyncio.wait_for(link.stalled.wait(), 5)
            await asyncio.sleep(0.1)
            done = await direct.shop.customers.count_documents({"name": "Late"})
            assert done == (side == "after") and not held.done()
            assert link.commands == ["find customers", "update customers"]
            link.release()
            await asyncio.wait_for(held, 5)
            assert await direct.shop.customers.count_documents({"name": "Late"}) == 1
