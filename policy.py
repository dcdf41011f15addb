"""The shop's rules on returns, refunds and loyalty: one source for tools, instructions, articles.

Money is integer cents, dates are UTC, an order is the document as MongoDB holds it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.events import Refusal
from shop import Order, Tier

RETURN_WINDOW_DAYS = 30
LOYALTY_BONUS_PERCENT: dict[Tier, int] = {"Standard": 0, "Gold": 10, "Platinum": 15}
REFUND_TIME = "5-7 business days"

RULES = (
    f"A delivered order can be returned within {RETURN_WINDOW_DAYS} days of its delivery, "
    "whole and once. The refund is the order's total plus a loyalty bonus: "
    + ", ".join(f"{tier} {percent}%" for tier, percent in LOYALTY_BONUS_PERCENT.items())
    + f". It goes to the original payment method in {REFUND_TIME}."
)


def dollars(cents: int) -> str:
    """`148498` -> `$1,484.98`."""
    return f"${cents // 100:,}.{cents % 100:02d}"


def day(moment: datetime) -> str:
    """`21 Nov 2026`."""
    return f"{moment.day} {moment:%b %Y}"


def total_cents(order: Order) -> int:
    return sum(item["qty"] * item["unit_price_cents"] for item in order["items"])


def refund_cents(order: Order, tier: Tier) -> int:
    """The order's total plus the tier's bonus, rounded half up to the cent."""
    return (total_cents(order) * (100 + LOYALTY_BONUS_PERCENT[tier]) + 50) // 100


def refund_text(cents: int, tier: Tier) -> str:
    """`$1,484.98 (includes 10% Gold loyalty bonus)`; no bracket if there is no bonus."""
    percent = LOYALTY_BONUS_PERCENT[tier]
    return dollars(cents) + (f" (includes {percent}% {tier} loyalty bonus)" if percent else "")


def oldest_returnable_delivery(now: datetime) -> datetime:
    """An order delivered before this moment is past the window."""
    return now - timedelta(days=RETURN_WINDOW_DAYS)


def check_return(order: Order, now: datetime) -> datetime:
    """Until when `order` can be returned. Raises `Refusal` if it cannot be at `now`."""
    if made := order["return"]:
        raise Refusal(
            f"Order {order['_id']} already has a return, since {day(made['at'])}; "
            "it is made only once.\n"
            f"Reason: {made['reason']}\n"
            f"Estimated refund: {refund_text(made['refund_cents'], made['tier'])}"
        )
    if order["status"] != "delivered":
        raise Refusal(
            f"Order {order['_id']} cannot be returned yet: its status is "
            f"{order['status']}, and only delivered orders can be returned."
        )
    delivered = order["delivered_at"]
    if delivered is None or delivered < oldest_returnable_delivery(now):
        raise Refusal(
            f"Order {order['_id']} cannot be returned: it was delivered on "
            f"{day(delivered) if delivered else 'an unknown day'}, and the "
            f"{RETURN_WINDOW_DAYS}-day window has closed."
        )
    return delivered + timedelta(days=RETURN_WINDOW_DAYS)
