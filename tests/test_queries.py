"""No query of a turn scans a collection, by mongod's own account: its profiler."""

from __future__ import annotations

from typing import Any

from database import Database
from tests.builders import approval_of, call, events, return_1001, say
from tests.conftest import Support, customer_of

# What docs/growing.md names: made for a small catalogue.
MAY_SCAN = {"products", "support_articles"}


async def test_no_query_of_a_turn_scans_a_collection(support: Support) -> None:
    script = [
        call("transfer_to_orders", "h1"),
        call("list_orders", "c1"),
        call("get_order", "c2", order_id="ORD-1001"),
        return_1001("c3"),
        say("Done."),
        call("transfer_to_knowledge_base", "h2"),
        call("search_knowledge_base", "c4", query="warranty"),
        call("get_product", "c5", sku="LAP-14"),
        say("24 months."),
    ]
    await events((await support.open(say("Hi."))).turn("makes the indexes"))
    await support.db.command("profile", 2)
    found = await support.db.customers.find_one({"email": customer_of()["email"]})
    conversation = await support.open(*script)
    approval = await approval_of(conversation.turn("return it"))
    await events(conversation.decide(approval, True))
    await events(conversation.turn("how long is the warranty?"))
    await conversation.erase()
    await support.db.command("profile", 0)

    plans: dict[str, set[str]] = {}
    async for ran in support.db["system.profile"].find({"planSummary": {"$exists": True}}):
        plans.setdefault(ran["ns"].partition(".")[2], set()).add(ran["planSummary"])
    assert found and plans.keys() >= {
        *("customers", "orders", "products", "support_articles"),
        *("agent_sessions", "agent_messages", "conversations"),
    }
    scanned = {name for name, plan in plans.items() if any("COLLSCAN" in each for each in plan)}
    assert scanned <= MAY_SCAN, plans
    assert any("COLLSCAN" not in plan for plan in plans["support_articles"]), plans


async def test_a_scan_would_be_seen(db: Database) -> None:
    await db.command("profile", 2)
    await db.orders.find_one({"tracking": "TRK-7781001"})
    await db.command("profile", 0)
    ran: Any = await db["system.profile"].find_one({"ns": f"{db.name}.orders"})
    assert ran["planSummary"] == "COLLSCAN"
