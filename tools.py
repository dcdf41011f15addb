"""What agents may do with the database.

Who the customer is comes from the run's context, never from the model, and every query of orders
carries it. A tool answers in text, refusals included: nothing that a model passes makes it raise.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, cast

from agents import FunctionTool, RunContextWrapper, Tool, function_tool

import policy
from database import Database
from engine.events import Refusal
from engine.options import Approval, Commit
from engine.text import clean
from shop import Article, Customer, Order, Product

MAX_ARGUMENT = 500  # characters
MAX_ORDERS, MAX_PRODUCTS, MAX_ARTICLES = 20, 5, 3  # that one answer shows


@dataclass(frozen=True)
class SupportContext:
    """Who is signed in, and the database: what tools and instructions get from the run."""

    db: Database
    customer: Customer
    commit: Commit  # how a tool writes: under the conversation's lease
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)


Context = RunContextWrapper[SupportContext]

# What `support_tool` has registered, by the names of the tools.
PHRASES: dict[str, str] = {}  # what the customer reads while a tool runs
APPROVALS: dict[str, Approval] = {}


def support_tool(
    phrase: str, approval: Approval | None = None
) -> Callable[[Callable[..., Awaitable[str]]], FunctionTool]:
    """Make a function a tool. With `approval`, it runs only after the customer's yes."""

    def register(function: Callable[..., Awaitable[str]]) -> FunctionTool:
        tool = function_tool(function, needs_approval=approval is not None)
        PHRASES[tool.name] = phrase
        if approval:
            APPROVALS[tool.name] = approval
        return tool

    return register


# Orders


@support_tool("Looking up your orders")
async def list_orders(context: Context) -> str:
    """List the customer's orders, newest first: number, status, date, items and total."""
    ctx = context.context
    cursor = ctx.db.orders.find({"customer_id": ctx.customer["_id"]}).sort("placed_at", -1)
    found = cast("list[Order]", await cursor.limit(MAX_ORDERS).to_list())
    if not found:
        return "This customer has no orders."
    return "\n".join(
        f"{o['_id']}: {o['status']}, placed {policy.day(o['placed_at'])}, "
        f"{_names(o)}, {policy.dollars(policy.total_cents(o))}"
        for o in found
    )


@support_tool("Looking up your order")
async def get_order(context: Context, order_id: str) -> str:
    """Get one of the customer's orders: status, dates, tracking, items, total, and its return.

    Args:
        order_id: The order number, such as ORD-1001.
    """
    try:
        order = await _find_order(context.context, order_id)
    except Refusal as refusal:
        return str(refusal)
    lines = [f"Order {order['_id']}", f"Status: {order['status']}"]
    lines += [
        f"{entry['status'].capitalize()}: {policy.day(entry['at'])}" for entry in order["history"]
    ]
    lines.append(f"Tracking: {order['tracking'] or 'not shipped yet'}")
    lines += [
        f"Item: {item['qty']} x {item['name']} ({item['sku']}), "
        f"{policy.dollars(item['unit_price_cents'])} each"
        for item in order["items"]
    ]
    lines.append(f"Total: {policy.dollars(policy.total_cents(order))}")
    if made := order["return"]:
        refund = policy.refund_text(made["refund_cents"], made["tier"])
        lines += [f"Return reason: {made['reason']}", f"Estimated refund: {refund}"]
    else:
        lines.append(f"Return: {_return_terms(order, context.context)}")
    return "\n".join(lines)


def _return_terms(order: Order, ctx: SupportContext) -> str:
    """Said here, so that no model has to reckon with dates or percentages."""
    try:
        until = policy.day(policy.check_return(order, ctx.now()))
    except Refusal as refusal:
        return str(refusal)
    return f"possible until {until}, refund {_refund_text(order, ctx)}"


async def _ask_return(ctx: SupportContext, arguments: Mapping[str, Any]) -> str:
    """Facts, and what would be stored: the customer says yes to this, not to a model's words."""
    order, reason = await _returnable(ctx, arguments.get("order_id"), arguments.get("reason"))
    return (
        f"Return order {order['_id']}: {_names(order)}. Refund {_refund_text(order, ctx)}.\n"
        f"Reason: {reason}\n"
        "Make this return? [y/N] "
    )


def _return_withdrawn(arguments: Mapping[str, Any]) -> str:
    order_id = _argument(arguments.get("order_id")).upper()
    return f"The return of {order_id} that waited for your yes was not made."


@support_tool(
    "Preparing the return",
    Approval(_ask_return, declined="Nothing was returned.", withdrawn=_return_withdrawn),
)
async def initiate_return(context: Context, order_id: str, reason: str) -> str:
    """Return a whole delivered order and refund it. The customer is asked before it happens.

    Args:
        order_id: The order number, such as ORD-1001.
        reason: Why, in the customer's words.
    """
    ctx = context.context
    try:
        order, reason = await _returnable(ctx, order_id, reason)
        return await ctx.commit(lambda: _make_return(ctx, order, reason))
    except Refusal as refusal:
        return str(refusal)


async def _make_return(ctx: SupportContext, order: Order, reason: str) -> str:
    """One write that repeats every condition: if calls race, only one does not raise Refusal."""
    now, tier = ctx.now(), ctx.customer["tier"]
    made = {
        "reason": reason,
        "refund_cents": policy.refund_cents(order, tier),
        "tier": tier,
        "at": now,
    }
    found = await ctx.db.orders.find_one_and_update(
        {
            "_id": order["_id"],
            "customer_id": ctx.customer["_id"],
            "status": "delivered",
            "delivered_at": {"$gte": policy.oldest_returnable_delivery(now)},
            "return": None,
        },
        {
            "$set": {"status": "return initiated", "return": made},
            "$push": {"history": {"status": "return initiated", "at": now}},
        },
    )
    if not found:
        # Another call was faster: say what there is now.
        await _returnable(ctx, order["_id"], reason)
        raise Refusal(f"Order {order['_id']} changed just now. Look at it again.")
    return (
        f"Return initiated for order {order['_id']}.\n"
        f"Reason: {reason}\n"
        f"Estimated refund: {_refund_text(order, ctx)}"
    )


def _refund_text(order: Order, ctx: SupportContext) -> str:
    tier = ctx.customer["tier"]
    return policy.refund_text(policy.refund_cents(order, tier), tier)


async def _returnable(ctx: SupportContext, order_id: object, reason: object) -> tuple[Order, str]:
    """The order and the cleaned reason. Raises Refusal if it cannot be returned now."""
    order = await _find_order(ctx, order_id)
    policy.check_return(order, ctx.now())
    text = _argument(reason)
    if not text:
        raise Refusal("A return needs a reason. Ask the customer for it.")
    return order, text


async def _find_order(ctx: SupportContext, order_id: object) -> Order:
    number = _argument(order_id).upper()
    if not re.fullmatch(r"ORD-[0-9]{4,10}", number):
        raise Refusal("That is no order number. Order numbers look like ORD-1001.")
    found = await ctx.db.orders.find_one({"_id": number, "customer_id": ctx.customer["_id"]})
    if found is None:  # missing or somebody else's: the same words, so neither is given away
        raise Refusal(f"There is no order {number} on this account.")
    return cast(Order, found)


def _names(order: Order) -> str:
    return ", ".join(
        item["name"] if item["qty"] == 1 else f"{item['qty']} x {item['name']}"
        for item in order["items"]
    )


def _argument(value: object) -> str:
    """A model's argument as one clean line of bounded length; empty if it is no string."""
    return " ".join(clean(value[:MAX_ARGUMENT]).split()) if isinstance(value, str) else ""


# Products


@support_tool("Searching our products")
async def search_products(context: Context, query: str) -> str:
    """Find products by words in name, category or description; gives SKU, price and stock.

    Args:
        query: A few words, such as "desk lamp". An empty query lists all products.
    """
    fields = ("name", "category", "description")
    words = [re.escape(word) for word in _argument(query).split()[:8]]
    matches = [
        {"$or": [{name: {"$regex": word, "$options": "i"}} for name in fields]} for word in words
    ]
    cursor = context.context.db.products.find({"$and": matches} if matches else {})
    found = cast("list[Product]", await cursor.limit(MAX_PRODUCTS).to_list())
    if not found:
        return "No product has all of these words. Try fewer, or an empty query for all products."
    return "\n".join(_product_line(product) for product in found)


@support_tool("Looking up the product")
async def get_product(context: Context, sku: str) -> str:
    """Get one product: name, category, price, stock and description.

    Args:
        sku: The product's code, such as LAP-14.
    """
    found = await context.context.db.products.find_one({"_id": _argument(sku).upper()})
    if found is None:
        return "There is no product with that SKU. search_products finds it by its name."
    product = cast(Product, found)
    return f"{_product_line(product)}\n{product['category']}. {product['description']}"


def _product_line(product: Product) -> str:
    stock = f"{product['stock']} in stock" if product["stock"] else "out of stock"
    return (
        f"{product['name']} ({product['_id']}): {policy.dollars(product['price_cents'])}, {stock}"
    )


# Help articles

# They are in most questions and in most articles, so they say nothing about which one is meant.
SMALL_WORDS = frozenset(
    "after ask can customer day days first get give got happen happens have item know last long "
    "may month much my need new number once one only order orders please product products say "
    "still take takes taking tell time up us use want week weeks will work year".split()
)


@support_tool("Searching the help articles")
async def search_knowledge_base(context: Context, query: str) -> str:
    """Search the help articles on policies and procedures.

    Args:
        query: A few words, such as "return window" or "express shipping cost".
    """
    db = context.context.db
    # A quote or a leading minus would be an operator to $text: "-refund" leaves refunds out.
    words = re.findall(r"[^\W\d]\w+", _argument(query).lower())
    # $text has stop words of its own, but counts "can", "please" and a shop's "order" like others.
    telling = [word for word in words if word not in SMALL_WORDS] or words
    score = {"score": {"$meta": "textScore"}}
    cursor = db.support_articles.find({"$text": {"$search": " ".join(telling[:20])}}, score)
    found = cast("list[Article]", await cursor.sort(score).limit(MAX_ARTICLES).to_list())
    if found:
        return "\n\n".join(f"{article['title']}\n{article['body']}" for article in found)
    titles = [a["title"] async for a in db.support_articles.find({}, {"title": 1}).limit(20)]
    return "No article matches. There are articles on: " + "; ".join(titles)


ORDER_TOOLS: list[Tool] = [list_orders, get_order, initiate_return]
KNOWLEDGE_TOOLS: list[Tool] = [search_knowledge_base, search_products, get_product]
