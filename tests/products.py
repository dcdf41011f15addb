"""The products that the kit runs on: a few lines for each."""

from __future__ import annotations

from datetime import datetime, timezone

from agents import Model

import main
from database import Database
from engine import Conversation, Limits
from examples import desk
from seed_data import CUSTOMERS, seed
from tests.builders import RETURN
from tests.kit import Product

TODAY = datetime(2026, 11, 22, tzinfo=timezone.utc)


async def prepare_shop(db: Database) -> None:
    await seed(db, TODAY)


async def open_shop(db: Database, model: Model, limits: Limits) -> Conversation:
    return await main.open_conversation(
        db.client, CUSTOMERS[0], model, database=db.name, now=lambda: TODAY, limits=limits
    )


async def returns(db: Database) -> int:
    order = await db.orders.find_one({"_id": "ORD-1001"}) or {}
    return [past["status"] for past in order["history"]].count("return initiated")


SHOP = Product(
    prepare=prepare_shop,
    open=open_shop,
    deeds=returns,
    calls=[
        ("transfer_to_orders", {}),
        ("get_order", {"order_id": "ORD-1001"}),
        ("initiate_return", RETURN),
    ],
)


async def prepare_desk(db: Database) -> None:
    """Nothing: the desk begins with an empty database."""


async def open_desk(db: Database, model: Model, limits: Limits) -> Conversation:
    return await desk.open_conversation(db, "M-1007", model, limits=limits)


async def bookings(db: Database) -> int:
    return await db.bookings.count_documents({})


DESK = Product(
    prepare=prepare_desk,
    open=open_desk,
    deeds=bookings,
    calls=[
        ("transfer_to_calendar", {}),
        ("list_bookings", {}),
        ("book", {"time": "Monday 9:00", "about": "a check-up"}),
    ],
)
