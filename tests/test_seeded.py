"""Each test begins with what `seed` stores, whatever the one before it did to the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local.mongod import Mongod
from tests.conftest import TODAY
from tests.seeded import Seeded, shops

HARM: dict[str, Callable[[Any], object]] = {
    "a document changed": lambda db: db.orders.update_one({}, {"$set": {"status": "processing"}}),
    "a document gone": lambda db: db.customers.delete_one({}),
    "a document more": lambda db: db.conversations.insert_one({}),
    "a collection more": lambda db: db.agent_messages.insert_one({}),
    "a collection gone": lambda db: db.products.drop(),
    "an index gone": lambda db: db.orders.drop_index("customer_id_1"),
    "an index more": lambda db: db.orders.create_index("status"),
    "a schema gone": lambda db: db.command("collMod", "orders", validator={}),
}


def everything(db: Any) -> dict[str, Any]:
    return {
        each["name"]: (
            each["options"],
            db[each["name"]].index_information(),
            [*db[each["name"]].find()],
        )
        for each in db.list_collections()
    }


@pytest.mark.parametrize("harm", HARM)
def test_what_a_test_did_to_its_database_is_undone(mongod: Mongod, harm: str) -> None:
    with shops(mongod.port, TODAY) as on:
        seeded, db = Seeded(on.client, "harmed", TODAY), on.client.harmed
        seeded.again()
        before = everything(db)
        HARM[harm](db)
        assert everything(db) != before
        seeded.again()
        assert everything(db) == before
