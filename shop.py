"""What the shop's collections hold. Money is integer cents, dates are UTC.

seed_data.py makes of these types the schemas that the server checks.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Literal, TypedDict

Tier = Literal["Standard", "Gold", "Platinum"]
Status = Literal["processing", "shipped", "delivered", "return initiated"]


class Customer(TypedDict):
    _id: str
    email: str  # lower case
    name: str
    tier: Tier


class Product(TypedDict):
    _id: str  # the SKU, such as LAP-14
    name: str
    category: str
    description: str
    price_cents: int
    stock: int


class OrderItem(TypedDict):
    sku: str
    name: str
    qty: int
    unit_price_cents: int


class StatusChange(TypedDict):
    status: Status
    at: datetime


class Return(TypedDict):
    reason: str
    refund_cents: int
    tier: Tier
    at: datetime


Order = TypedDict(  # not a class, since one of its fields is a keyword
    "Order",
    {
        "_id": str,  # such as ORD-1001
        "customer_id": str,
        "status": Status,
        "placed_at": datetime,
        "shipped_at": datetime | None,
        "delivered_at": datetime | None,
        "tracking": str | None,
        "items": list[OrderItem],
        "history": list[StatusChange],
        "return": Return | None,
    },
)


class Article(TypedDict):
    _id: str
    title: str
    tags: list[str]
    body: str


def session_id_for(email: str) -> str:
    """`alice@example.com` -> `support_alice_at_example_com`, and no two emails get the same id.

    The plain form is used if it can be read back: lower-case letters, digits and hyphens, with
    no label `at` (x.at.y@z and x@y.at.z would be one). All others get a hash behind a full stop,
    which no plain form has.
    """
    slug = email.replace("@", "_at_").replace(".", "_")
    labels = re.split(r"[.@]", email)
    if email.count("@") == 1 and all(
        re.fullmatch(r"[a-z0-9-]+", label) and label != "at" for label in labels
    ):
        return f"support_{slug}"
    digest = hashlib.sha256(email.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"support_{re.sub(r'[^A-Za-z0-9_-]', '-', slug)[:64]}.{digest}"
