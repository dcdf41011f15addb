"""Handoffs, memory, and an approval that survives a restart, in MongoDB: the pattern in one file.

Left out: one turn at a time, no late writes (engine/lease.py); retries, stopping, the last agent
(engine/conversation.py); long histories of reasoning models (engine/history.py); the refund in the
question (tools.py); streaming, words for errors (terminal/). After an error, start it again."""

import asyncio
import contextlib
import os
import termios
from datetime import datetime, timedelta, timezone
from typing import Any

from agents import Agent, RunConfig, RunContextWrapper, Runner, RunState, function_tool
from agents.extensions.memory import MongoDBSession
from pymongo import AsyncMongoClient

client = AsyncMongoClient[dict[str, Any]](os.environ.get("MONGODB_URI"), w="majority")
db = client["ecommerce_support"]


@function_tool
async def list_orders(run: RunContextWrapper[Any]) -> str:
    """List the customer's orders. Amounts are in cents."""
    return str(await db.orders.find({"customer_id": run.context["_id"]}).to_list(20))


@function_tool(needs_approval=True)
async def initiate_return(run: RunContextWrapper[Any], order_id: str, reason: str) -> str:
    """Return a whole delivered order, such as ORD-1001. The customer is asked before it runs."""
    customer, now = run.context, datetime.now(timezone.utc)
    mine = {"_id": order_id, "customer_id": customer["_id"], "status": "delivered", "return": None}
    mine["delivered_at"] = {"$gte": now - timedelta(days=30)}
    if not (order := await db.orders.find_one(mine)):
        return "This order cannot be returned."
    total = sum(item["qty"] * item["unit_price_cents"] for item in order["items"])
    cents = (total * {"Standard": 100, "Gold": 110, "Platinum": 115}[customer["tier"]] + 50) // 100
    made = {"reason": reason, "refund_cents": cents, "tier": customer["tier"], "at": now}
    change = {"$set": {"status": "return initiated", "return": made}}
    # Atomic, and on every condition again: of two calls at once, only one finds the order.
    done = await db.orders.find_one_and_update(mine, change)
    return f"Return initiated. Refund: ${cents / 100:,.2f}." if done else "It changed just now."


async def main(email: str) -> None:
    if not (customer := await db.customers.find_one({"email": email})):
        raise SystemExit("No customer has this email.")
    rules = "Call list_orders first. Before a return, know the reason. All else: go to Triage."
    orders = Agent[Any](name="Orders", instructions=rules, tools=[list_orders, initiate_return])
    triage = Agent[Any](name="Triage", instructions="Orders go to Orders.", handoffs=[orders])
    orders.handoffs = [triage]
    name = f"minimal_{customer['_id']}"
    session = MongoDBSession(name, client=client, database=db.name, session_settings={"limit": 99})
    setup = RunConfig(model=os.environ.get("OPENAI_MODEL"), tracing_disabled=True)
    unanswered = any(item.get("role") != "assistant" for item in await session.get_items(1))
    while True:
        todo: Any = []  # to the SDK: answer what is stored
        if asked := await db.minimal_approvals.find_one(name):
            todo = await RunState.from_string(triage, asked["state"], context_override=customer)
            for call in todo.get_interruptions():
                if os.isatty(0):  # what was typed before the question is no answer
                    termios.tcflush(0, termios.TCIFLUSH)
                yes = await asyncio.to_thread(input, f"{call.name} {call.arguments!r}? [y/N] ")
                (todo.approve if yes.strip().lower() == "y" else todo.reject)(call)
            # A state that runs twice runs its tool twice: only who deletes it may run it.
            if not await db.minimal_approvals.find_one_and_delete(asked):
                raise SystemExit("This was answered on another terminal.")
        elif not unanswered:
            todo = await asyncio.to_thread(input, "> ")
        result = await Runner.run(triage, todo, context=customer, session=session, run_config=setup)
        unanswered = False
        if result.interruptions:
            state = result.to_state().to_string()
            await db.minimal_approvals.replace_one({"_id": name}, {"state": state}, upsert=True)
        else:
            print(result.final_output)


with contextlib.suppress(EOFError, KeyboardInterrupt):
    asyncio.run(main(input("Your email: ").strip().lower()))
