"""Fill `ecommerce_support` with the demo: 3 customers, 5 products, 5 orders, 7 articles.

    python seed_data.py [--today YYYY-MM-DD]

Run it as often as you like: it puts the demo's own documents back as they were (a return made in
the chat is gone) and touches no conversation and no other document.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints, is_typeddict

from pymongo import ReplaceOne
from pymongo.errors import OperationFailure, PyMongoError

import policy
from database import DB_NAME, Database, DatabaseUnavailable, Document, connect, explain, mongodb_uri
from engine.record import UNANSWERED
from settings import load_settings
from shop import Article, Customer, Order, Product, Status

NAMESPACE_EXISTS = 48  # a server's error code

# fmt: off
CUSTOMERS: list[Customer] = [
    {"_id": "CUST-1", "email": "alice@example.com", "name": "Alice", "tier": "Gold"},
    {"_id": "CUST-2", "email": "bob@example.com", "name": "Bob", "tier": "Standard"},
    {"_id": "CUST-3", "email": "carol@example.com", "name": "Carol", "tier": "Platinum"},
]

PRODUCTS: list[Product] = [
    {"_id": "LAP-14", "name": "Aero 14 Laptop", "category": "Computers",
     "description": "14-inch laptop, 16 GB memory, 512 GB storage, up to 15 hours of battery.",
     "price_cents": 129_999, "stock": 12},
    {"_id": "SLV-14", "name": "Felt Laptop Sleeve", "category": "Accessories",
     "description": "Padded sleeve for laptops of up to 14 inches, with a pocket for cables.",
     "price_cents": 4_999, "stock": 80},
    {"_id": "LMP-01", "name": "Halo Desk Lamp", "category": "Home office",
     "description": "Dimmable LED desk lamp with a USB-C charging port in its foot.",
     "price_cents": 7_950, "stock": 34},
    {"_id": "HDP-20", "name": "Quiet Two Headphones", "category": "Audio",
     "description": "Wireless over-ear headphones with noise cancelling, 30 hours a charge.",
     "price_cents": 19_900, "stock": 0},
    {"_id": "KBD-75", "name": "Tactile 75 Keyboard", "category": "Computers",
     "description": "Compact mechanical keyboard with hot-swap switches, USB-C and Bluetooth.",
     "price_cents": 12_950, "stock": 21},
]


class OrderRow(NamedTuple):
    """One order; `placed`, `shipped` and `delivered` are days before today."""

    order_id: str
    customer_id: str
    basket: dict[str, int]  # quantities by SKU
    placed: int
    shipped: int | None = None
    delivered: int | None = None
    tracking: str | None = None


ORDERS = [
    OrderRow("ORD-1001", "CUST-1", {"LAP-14": 1, "SLV-14": 1}, 14, 12, 9, "TRK-7781001"),
    OrderRow("ORD-1002", "CUST-1", {"LMP-01": 1}, 4, 2, tracking="TRK-7781002"),
    OrderRow("ORD-1003", "CUST-2", {"KBD-75": 1, "HDP-20": 1}, 1),
    OrderRow("ORD-1004", "CUST-2", {"HDP-20": 1}, 60, 58, 54, "TRK-7781004"),
    OrderRow("ORD-1005", "CUST-3", {"LMP-01": 2, "KBD-75": 1}, 12, 10, 7, "TRK-7781005"),
]

ARTICLES: list[Article] = [
    {"_id": "returns-and-refunds", "title": "Returns and refunds",
     "tags": ["return", "refund", "money back", "send back", "give back", "exchange"],
     "body": f"{policy.RULES} To start a return, tell us the order number and the reason in "
     "this chat; we show you the refund and ask for your yes before anything happens. "
     "Exchanges are not offered: return the order and place a new one."},
    {"_id": "shipping", "title": "Shipping times and costs",
     "tags": ["delivery", "deliver", "express", "abroad", "country", "address", "cancel"],
     "body": "Orders leave our warehouse within 2 business days. Standard shipping takes 3-5 "
     "business days and is free from $50; below that it costs $4.95. Express shipping takes 1-2 "
     "business days and costs $14.95. We ship within the country only. An order cannot be "
     "cancelled, nor its address changed, once it is placed: wait for it and return it."},
    {"_id": "order-tracking", "title": "Tracking an order",
     "tags": ["status", "late", "lost", "missing", "package", "parcel"],
     "body": "Every shipped order has a tracking number, which you can ask for in this chat. It "
     "is updated once a day. If a shipped order has not arrived after 10 business days, write "
     "to support@example.com and we will trace it with the carrier."},
    {"_id": "warranty", "title": "Warranty and repairs",
     "tags": ["guarantee", "broke", "broken", "cracked", "stopped working", "faulty", "damaged"],
     "body": "Every product has a 24-month warranty from its delivery against defects in "
     "material and workmanship. It does not cover accidents, liquids or wear. For a repair, "
     "write to support@example.com with your order number and a photograph of the defect; "
     "repairs take about 10 business days."},
    {"_id": "payment", "title": "Payment methods",
     "tags": ["pay", "paid", "card", "charge", "paypal", "invoice", "receipt", "instalments"],
     "body": "We take credit and debit cards, PayPal and bank transfer. Your card is charged "
     "when the order ships. Invoices are sent by e-mail with the shipping notice. Payment by "
     f"instalments is not offered. Refunds take {policy.REFUND_TIME}."},
    {"_id": "loyalty-program", "title": "The loyalty program",
     "tags": ["tier", "member", "gold", "platinum", "points", "bonus"],
     "body": "Every customer has a tier, by what was spent in the last 12 months: Standard, "
     "Gold from $1,000, Platinum from $5,000. The tier adds a bonus to every refund: "
     + ", ".join(f"{t} {p}%" for t, p in policy.LOYALTY_BONUS_PERCENT.items())
     + ". Tiers are worked out anew on the first day of each month."},
    {"_id": "account-and-contact", "title": "Your account and how to reach us",
     "tags": ["password", "email", "contact", "phone", "talk", "person", "human", "manager"],
     "body": "To change your name, e-mail address or password, open Account on our website. To "
     "speak with a person, write to support@example.com or call 555-0100, Monday to Friday, "
     "9:00-17:00 UTC. We never ask for your password."},
]
# fmt: on

# How the server checks a Python type.
BSON: dict[Any, Document] = {
    str: {"bsonType": "string", "minLength": 1},
    int: {"bsonType": "int", "minimum": 0},
    datetime: {"bsonType": "date"},
    type(None): {"bsonType": "null"},
}
LIMITS: dict[str, Document] = {  # of fields, beyond their types
    "email": {"pattern": "^[^A-Z ]+@[^A-Z ]+$"},
    "qty": {"minimum": 1},
    "items": {"minItems": 1},
    "history": {"minItems": 1},
}


def _schema(shape: Any, **limits: Document) -> Document:
    """A JSON schema for exactly the fields of `shape`, a TypedDict."""
    fields = {name: _checked(of) for name, of in get_type_hints(shape).items()}
    limits = LIMITS | limits
    return {
        "bsonType": "object",
        "required": list(fields),
        "additionalProperties": False,
        "properties": {name: field | limits.get(name, {}) for name, field in fields.items()},
    }


def _checked(of: Any) -> Document:
    """A JSON schema for a value of the type `of`: one that shop.py uses."""
    if of in BSON:
        return BSON[of]
    if is_typeddict(of):
        return _schema(of)
    if get_origin(of) is Literal:
        return {"enum": list(get_args(of))}
    if get_origin(of) is list:
        return {"bsonType": "array", "items": _checked(get_args(of)[0])}
    return {"anyOf": [_checked(one) for one in get_args(of)]}  # such as `datetime | None`


SCHEMAS: dict[str, Document] = {
    "customers": _schema(Customer),
    "products": _schema(Product),
    "orders": _schema(Order, _id={"pattern": "^ORD-[0-9]{4,}$"}),
    "support_articles": _schema(Article),
}


def orders(today: datetime) -> list[Order]:
    """The five orders as of `today` (midnight UTC)."""
    return [_order(row, today) for row in ORDERS]


def _order(row: OrderRow, today: datetime) -> Order:
    days: dict[Status, int | None] = {
        "processing": row.placed,
        "shipped": row.shipped,
        "delivered": row.delivered,
    }
    dates = {status: today - timedelta(days=n) for status, n in days.items() if n is not None}
    products = {product["_id"]: product for product in PRODUCTS}
    return {
        "_id": row.order_id,
        "customer_id": row.customer_id,
        "status": list(dates)[-1],
        "placed_at": dates["processing"],
        "shipped_at": dates.get("shipped"),
        "delivered_at": dates.get("delivered"),
        "tracking": row.tracking,
        "items": [
            {
                "sku": sku,
                "name": products[sku]["name"],
                "qty": qty,
                "unit_price_cents": products[sku]["price_cents"],
            }
            for sku, qty in row.basket.items()
        ],
        "history": [{"status": status, "at": at} for status, at in dates.items()],
        "return": None,
    }


async def seed(db: Database, today: datetime) -> dict[str, int]:
    """Put the demo's documents, schemas and indexes in place; returns documents by collection."""
    documents: dict[str, list[Any]] = {
        "products": PRODUCTS,
        "orders": orders(today),
        "support_articles": ARTICLES,
        "customers": CUSTOMERS,  # last: if there are customers, the shop is complete
    }
    for name in documents:
        validator = {"$jsonSchema": SCHEMAS[name]}
        try:
            # The driver's own check would need the right to list collections.
            await db.create_collection(name, check_exists=False, validator=validator)
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise
            await db.command("collMod", name, validator=validator)
    await db.customers.create_index("email", unique=True)
    await db.orders.create_index("customer_id")
    await db.conversations.create_index("unanswered_since", partialFilterExpression=UNANSWERED)
    await db.support_articles.create_index(
        [("title", "text"), ("tags", "text"), ("body", "text")],
        weights={"title": 10, "tags": 5, "body": 1},
        # Without this, an article with a field named `language` could not be stored.
        language_override="text_language",
        name="article_text",
    )
    for name in documents:
        await db[name].bulk_write(
            [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents[name]]
        )
    return {name: len(documents[name]) for name in SCHEMAS}


async def main() -> None:
    load_settings()
    parser = argparse.ArgumentParser(description="Fill the ecommerce_support database.")
    parser.add_argument(
        "--today",
        type=datetime.fromisoformat,
        metavar="YYYY-MM-DD",
        help="the day that the orders' dates are relative to (default: today, UTC)",
    )
    args = parser.parse_args()
    today = (args.today or datetime.now(timezone.utc)).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=timezone.utc
    )
    uri = mongodb_uri()
    try:
        async with await connect(uri) as client:
            counts = await seed(client[DB_NAME], today)
    except DatabaseUnavailable as error:
        sys.exit(str(error))
    except PyMongoError as error:
        sys.exit(explain(error, uri))
    print(f"Seeded {DB_NAME}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    print("Log in as:", *(f"{c['email']} ({c['tier']})" for c in CUSTOMERS), sep="\n  ")


if __name__ == "__main__":
    asyncio.run(main())
