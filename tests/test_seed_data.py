"""Seeding gives exactly the demo, as often as it is run, and the schemas guard it."""

from __future__ import annotations

from functools import partial

import pytest
from pymongo.errors import WriteError

import policy
from database import Database
from local.mongod import Mongod
from seed_data import ARTICLES, seed
from tests.conftest import TODAY
from tests.processes import run


async def test_the_title_of_an_article_counts_most_in_a_search(db: Database) -> None:
    index = (await db.support_articles.index_information())["article_text"]
    assert index["weights"] == {"title": 10, "tags": 5, "body": 1}


async def test_seeding_again_restores_the_demo_and_keeps_the_rest(db: Database) -> None:
    await db.orders.update_one({"_id": "ORD-1001"}, {"$set": {"status": "processing"}})
    await db.conversations.insert_one({"_id": "support_x"})
    await db.products.insert_one((await db.products.find_one()) | {"_id": "MINE-1"})
    await seed(db, TODAY)
    assert (await db.orders.find_one({"_id": "ORD-1001"}))["status"] == "delivered"
    assert await db.conversations.count_documents({}) == 1
    assert await db.products.count_documents({}) == 6


@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("customers", {"tier": "Diamond"}),
        ("customers", {"email": "Alice@example.com"}),
        ("products", {"price_cents": 9.99}),
        ("orders", {"status": "lost"}),
        ("orders", {"return": {"reason": "x"}}),
        ("orders", {"items": []}),
        ("orders", {"items.0.qty": 0}),
        ("orders", {"delivered_at": "2026-11-22"}),
        ("orders", {"refund": 1}),
        ("support_articles", {"tags": "return"}),
    ],
)
async def test_the_validators_refuse_what_the_code_could_not_read(
    db: Database, collection: str, change: dict[str, object]
) -> None:
    with pytest.raises(WriteError):
        await db[collection].update_one({}, {"$set": change})


def test_articles_and_instructions_quote_the_policy() -> None:
    bodies = {article["_id"]: article["body"] for article in ARTICLES}
    assert policy.RULES in bodies["returns-and-refunds"]
    for tier, percent in policy.LOYALTY_BONUS_PERCENT.items():
        assert f"{tier} {percent}%" in bodies["loyalty-program"]
        assert f"{tier} {percent}%" in policy.RULES
    assert f"{policy.RETURN_WINDOW_DAYS} days" in policy.RULES
    assert policy.REFUND_TIME in bodies["payment"]


@pytest.mark.parametrize(
    ("cents", "tier", "refund"),
    [
        (134_998, "Gold", 148_498),
        (105, "Gold", 116),  # 115.5 is rounded up
        (105, "Platinum", 121),  # 120.75
        (100, "Standard", 100),
    ],
)
def test_refunds_are_rounded_half_up(cents: int, tier: str, refund: int) -> None:
    order = {"items": [{"qty": 1, "unit_price_cents": cents}]}
    assert policy.refund_cents(order, tier) == refund


run_seed = partial(run, program="seed_data.py")


def test_the_command_seeds_for_a_given_day_and_says_so(mongod: Mongod) -> None:
    done = run_seed(mongod.uri, "--today", "2026-11-22")
    assert done.returncode == 0, done.stderr
    assert "3 customers, 5 products, 5 orders, 7 support_articles" in done.stdout
    assert run_seed(mongod.uri, "--today", "yesterday").returncode == 2
