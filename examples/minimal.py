"""Handoffs, memory, and an approval that survives a restart, in MongoDB: the pattern in one file.

    export OPENAI_API_KEY=... MONGODB_URI=mongodb://localhost:27017
    python seed_data.py && python examples/minimal.py

It reads exported variables, not .env. After an error, start it again: it answers the last message.
Left out: one turn at a time, and no late writes (engine/lease.py); retries and stopping
(engine/conversation.py); who answers next (engine/session.py); a kill between the yes and the
answer, after which it asks again (engine/deed.py); what other servers and reasoning models want of
a long history (engine/models/); the refund in the question (tools.py); streaming (terminal/).
"""

import asyncio
import contextlib
import os
import termios
from datetime import datetime, timedelta, timezone
from typing import Any

from agents import Agent, RunConfig, RunContextWrapper, Runner, RunState, function_tool
from agents.extensions.memory import MongoDBSession
from pymongo import AsyncMongoClient

client = AsyncMongoClient[dict[str, Any]](os.environ.get("MONGODB_URI"))
db = client["ecommerce_support"]

# 1. Tools. The customer comes from the run's context, never from the model.


@function_tool
async def list_orders(run: RunContextWrapper[Any]) -> str:
    """List the customer's orders. Amounts are in cents."""
    return str(await db.orders.find({"customer_id": run.context["_id"]}).to_list(20))


@function_tool(needs_approval=True)
async def initiate_return(run: RunContextWrapper[Any], order_id: str, reason: str) -> str:
    """Return a whole delivered order, such as ORD-1001. The customer is asked before it runs."""
    customer, now = run.context, datetime.now(timezone.utc)
    returnable = {
        "_id": order_id,
        "customer_id": customer["_id"],
        "status": "delivered",
        "delivered_at": {"$gte": now - timedelta(days=30)},
        "return": None,
    }
    if not (order := await db.orders.find_one(returnable)):
        return "This order cannot be returned."
    total = sum(item["qty"] * item["unit_price_cents"] for item in order["items"])
    percent = {"Standard": 100, "Gold": 110, "Platinum": 115}[customer["tier"]]
    cents = (total * percent + 50) // 100
    made = {"reason": reason, "refund_cents": cents, "tier": customer["tier"], "at": now}
    # The filter repeats each condition: of two calls at once, only one finds the order.
    done = await db.orders.find_one_and_update(
        returnable, {"$set": {"status": "return initiated", "return": made}}
    )
    return f"Return initiated. Refund: ${cents / 100:,.2f}." if done else "It changed just now."


# 2. Agents, with handoffs both ways.

orders = Agent[Any](
    name="Orders",
    instructions="Call list_orders first. Know the reason before a return. All else: go to Triage.",
    tools=[list_orders, initiate_return],
)
triage = Agent[Any](name="Triage", instructions="Orders go to Orders.", handoffs=[orders])
orders.handoffs = [triage]

# 3. An approval that waits: its run is kept in MongoDB, and asked about again at the next start.


async def ask(approval: dict[str, Any], customer: dict[str, Any]) -> RunState[Any]:
    """The run that waits, with the customer's decision in it."""
    state = await RunState.from_string(triage, approval["state"], context_override=customer)
    for call in state.get_interruptions():
        if os.isatty(0):  # what was typed before the question is no answer
            termios.tcflush(0, termios.TCIFLUSH)
        typed = await asyncio.to_thread(input, f"{call.name} {call.arguments!r}? [y/N] ")
        if typed.strip().lower() == "y":
            state.approve(call)
        else:
            state.reject(call)
    # A state that runs twice runs its tool twice: only who deletes it may run it.
    if not await db.minimal_approvals.find_one_and_delete(approval):
        raise SystemExit("This was answered on another terminal.")
    return state


# 4. The loop: one customer, one session.


async def main(email: str) -> None:
    if not (customer := await db.customers.find_one({"email": email})):
        raise SystemExit("No customer has this email.")
    name = f"minimal_{customer['_id']}"
    session = MongoDBSession(name, client=client, database=db.name, session_settings={"limit": 99})
    config = RunConfig(model=os.environ.get("OPENAI_MODEL"), tracing_disabled=True)
    last = await session.get_items(1)
    unanswered = bool(last) and last[0].get("role") != "assistant"  # after a crash
    while True:
        todo: Any = []  # to the SDK: answer what is stored
        if approval := await db.minimal_approvals.find_one(name):
            todo = await ask(approval, customer)
        elif not unanswered:
            todo = await asyncio.to_thread(input, "> ")
        result = await Runner.run(
            triage, todo, context=customer, session=session, run_config=config
        )
        unanswered = False
        if result.interruptions:
            state = result.to_state().to_string()
            await db.minimal_approvals.replace_one({"_id": name}, {"state": state}, upsert=True)
        else:
            print(result.final_output)


with contextlib.suppress(EOFError, KeyboardInterrupt):
    asyncio.run(main(input("Your email: ").strip().lower()))
