"""Tools answer with the signed-in customer's data only, refuse in words, and write at most once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agents import Agent, FunctionTool, Tool
from agents.tool_context import ToolContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tools
from agents_def import build_agents
from database import Database, connect
from policy import refund_cents
from seed_data import CUSTOMERS, orders, seed
from tests.conftest import TODAY, context_for
from tests.help_questions import NOT_FIRST, QUESTIONS
from tools import APPROVALS, PHRASES, initiate_return

TRIAGE = build_agents()
AGENTS = [TRIAGE, *(agent for agent in TRIAGE.handoffs if isinstance(agent, Agent))]
TOOLS: dict[str, Tool] = {tool.name: tool for agent in AGENTS for tool in agent.tools}


async def use(
    db: Database, name: str, email: str = "alice@example.com", /, **arguments: Any
) -> str:
    """Call a tool the way the SDK does, the approval aside."""
    tool = TOOLS[name]
    assert isinstance(tool, FunctionTool)
    text = json.dumps(arguments)
    context = ToolContext(
        context_for(db, email), tool_name=name, tool_call_id="call_1", tool_arguments=text
    )
    return str(await tool.on_invoke_tool(context, text))


async def test_orders_are_listed_newest_first(db: Database) -> None:
    assert await use(db, "list_orders") == (
        "ORD-1002: shipped, placed 18 Nov 2026, Halo Desk Lamp, $79.50\n"
        "ORD-1001: delivered, placed 8 Nov 2026, Aero 14 Laptop, Felt Laptop Sleeve, $1,349.98"
    )


async def test_an_order_shows_status_dates_tracking_items_and_total(db: Database) -> None:
    assert await use(db, "get_order", order_id=" ord-1002 ") == (
        "Order ORD-1002\n"
        "Status: shipped\n"
        "Processing: 18 Nov 2026\n"
        "Shipped: 20 Nov 2026\n"
        "Tracking: TRK-7781002\n"
        "Item: 1 x Halo Desk Lamp (LMP-01), $79.50 each\n"
        "Total: $79.50\n"
        "Return: Order ORD-1002 cannot be returned yet: its status is shipped, and only delivered "
        "orders can be returned."
    )
    assert (await use(db, "get_order", order_id="ORD-1001")).endswith(
        "Return: possible until 13 Dec 2026, refund $1,484.98 (includes 10% Gold loyalty bonus)"
    )


@pytest.mark.parametrize("tool", ["get_order", "initiate_return"])
async def test_a_foreign_and_a_missing_order_get_the_same_words(db: Database, tool: str) -> None:
    more = {"reason": "x"} if tool == "initiate_return" else {}
    foreign = await use(db, tool, order_id="ORD-1005", **more)
    missing = await use(db, tool, order_id="ORD-9999", **more)
    assert foreign.replace("ORD-1005", "N") == missing.replace("ORD-9999", "N")
    assert foreign == "There is no order ORD-1005 on this account."


async def test_a_return_reads_exactly_as_promised(db: Database) -> None:
    told = await use(db, "initiate_return", order_id="ORD-1001", reason="Not powerful enough")
    assert told == (
        "Return initiated for order ORD-1001.\n"
        "Reason: Not powerful enough\n"
        "Estimated refund: $1,484.98 (includes 10% Gold loyalty bonus)"
    )
    assert "Status: return initiated" in await use(db, "get_order", order_id="ORD-1001")


@pytest.mark.parametrize(
    ("email", "order_id", "told"),
    [
        ("alice@example.com", "ORD-1002", "its status is shipped"),
        ("bob@example.com", "ORD-1003", "its status is processing"),
        ("bob@example.com", "ORD-1004", "the 30-day window has closed"),
        ("bob@example.com", "lamp", "Order numbers look like ORD-1001"),
        ("bob@example.com", {"$gt": ""}, "rror"),
    ],
)
async def test_what_the_policy_forbids_is_refused_in_words(
    db: Database, email: str, order_id: Any, told: str
) -> None:
    before = await db.orders.find().to_list()
    assert told in await use(db, "initiate_return", email, order_id=order_id, reason="x")
    assert await db.orders.find().to_list() == before


async def test_fifty_racing_returns_make_one(db: Database) -> None:
    calls = [
        use(db, "initiate_return", "carol@example.com", order_id="ORD-1005", reason=f"reason {n}")
        for n in range(50)
    ]
    told = await asyncio.gather(*calls)
    won = [text for text in told if text.startswith("Return initiated")]
    assert len(won) == 1
    assert all("already has a return" in text for text in told if text not in won)
    order = await db.orders.find_one({"_id": "ORD-1005"})
    assert order
    assert order["return"]["reason"] in won[0]
    assert [entry["status"] for entry in order["history"]].count("return initiated") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"status": "shipped"},
        {"delivered_at": TODAY.replace(year=2025)},
        {"return": {"reason": "x", "refund_cents": 1, "tier": "Gold", "at": TODAY}},
        {"customer_id": "CUST-002"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_write_itself_repeats_every_condition(
    db: Database, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order changes after it was read and found returnable."""
    order = await db.orders.find_one({"_id": "ORD-1001"})
    await db.orders.update_one({"_id": "ORD-1001"}, {"$set": change})

    async def read_before(*_: object) -> Any:
        return order, "x"

    monkeypatch.setattr(tools, "_returnable", read_before)
    told = await use(db, "initiate_return", order_id="ORD-1001", reason="x")
    assert told == "Order ORD-1001 changed just now. Look at it again."
    assert await db.orders.find_one({"_id": "ORD-1001"}) == {**(order or {}), **change}


@pytest.mark.parametrize("title", QUESTIONS)
async def test_the_article_that_answers_comes_first(db: Database, title: str) -> None:
    found = {q: await use(db, "search_knowledge_base", query=q) for q in QUESTIONS[title]}
    other = {q for q, told in found.items() if not told.startswith(f"{title}\n")}
    assert other == NOT_FIRST & found.keys()


@pytest.mark.parametrize("query", ["return window", '-refund "money', 'return "zebra"', "refunds"])
async def test_help_is_found_despite_operators(db: Database, query: str) -> None:
    assert "Returns and refunds" in await use(db, "search_knowledge_base", query=query)


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        ("the fan\n rattles\x1b[2J" + "!" * 600, "the fan rattles[2J!!!"),
        ("$customer_id\x00", "$customer_id"),  # data, and not the path of a field
    ],
)
async def test_the_question_shows_the_reason_that_will_be_stored(
    db: Database, reason: str, stored: str
) -> None:
    arguments = {"order_id": "ORD-1001", "reason": reason}
    asked = await APPROVALS["initiate_return"].ask(context_for(db), arguments)
    facts, shown, question = asked.split("\n")
    assert facts == (
        "Return order ORD-1001: Aero 14 Laptop, Felt Laptop Sleeve. "
        "Refund $1,484.98 (includes 10% Gold loyalty bonus)."
    )
    assert question == "Make this return? [y/N] "
    await use(db, "initiate_return", **arguments)
    order = await db.orders.find_one({"_id": "ORD-1001"})
    assert order and shown == f"Reason: {order['return']['reason']}"
    assert shown.startswith(f"Reason: {stored}")


async def test_no_match_names_the_topics(db: Database) -> None:
    told = await use(db, "search_knowledge_base", query="zzz qqq")
    assert told.startswith("No article matches.") and "Warranty and repairs" in told


async def test_products_show_price_and_stock(db: Database) -> None:
    assert await use(db, "search_products", query="lamp") == (
        "Halo Desk Lamp (LMP-01): $79.50, 34 in stock"
    )
    assert "out of stock" in await use(db, "get_product", sku="hdp-20")
    assert len((await use(db, "search_products", query="")).splitlines()) == 5
    for pattern in ("(a+)+$ .*", "(", ".*", "l.mp"):
        assert "No product has all" in await use(db, "search_products", query=pattern)


def test_every_tool_has_words_for_the_customer() -> None:
    assert set(PHRASES) == set(TOOLS)


def test_only_the_return_needs_approval() -> None:
    assert initiate_return.needs_approval is True
    assert [t.name for t in TOOLS.values() if isinstance(t, FunctionTool) and t.needs_approval] == [
        "initiate_return"
    ]


values = st.one_of(
    st.sampled_from(
        [*(f"ORD-100{n}" for n in range(1, 6)), "LAP-14", "refund", "$where", "a" * 20_000]
    ),
    st.text(max_size=40),
    st.none(),
    st.integers(),
    st.dictionaries(st.sampled_from(["$gt", "$ne", "$regex"]), st.text(max_size=5), max_size=2),
)
calls = st.lists(
    st.tuples(
        st.sampled_from(sorted(TOOLS)),
        st.dictionaries(
            st.sampled_from(["order_id", "reason", "query", "sku", "email", "customer_id"]), values
        ),
    ),
    max_size=6,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(customer=st.sampled_from(CUSTOMERS), calls=calls)
def test_no_call_of_a_hostile_model_leaks_or_harms(
    mongod: Any, customer: dict[str, Any], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    asyncio.run(_hostile_run(mongod.uri, customer, calls))


async def _hostile_run(
    uri: str, customer: dict[str, Any], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    async with await connect(uri) as client:
        db = client["test_hostile"]
        if not await db.customers.find_one():
            await seed(db, TODAY)
        for order in orders(TODAY):
            await db.orders.replace_one({"_id": order["_id"]}, order)
        before = {o["_id"]: o for o in await db.orders.find().to_list()}
        others = {c["name"] for c in CUSTOMERS} - {customer["name"]}
        foreign = [o for o in before.values() if o["customer_id"] != customer["_id"]]
        secrets = others | {o["tracking"] for o in foreign if o["tracking"]}
        for name, arguments in calls:
            told = await use(db, name, customer["email"], **arguments)
            asked = json.dumps(arguments, ensure_ascii=False)
            assert len(told) < 4_000
            assert not [secret for secret in secrets if secret in told and secret not in asked]
        for found in await db.orders.find().to_list():
            if found["customer_id"] != customer["_id"]:
                assert found == before[found["_id"]]
            elif made := found["return"]:
                assert made["refund_cents"] == refund_cents(found, customer["tier"])
        assert await db.customers.find().sort("_id", 1).to_list() == CUSTOMERS
