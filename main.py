"""Chat with the shop's support: log in by email, ask, quit; run it again and it goes on.

    python main.py [--email EMAIL] [--offline] [--debug] [--usage] [QUESTION]

It needs a seeded MongoDB (seed_data.py) and a model: see env.example for the settings.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # The first prompt must not wait for the imports below. So start() asks for the email, imports
    # this file as `main` meanwhile, and then calls `support`.
    try:
        from start import start

        sys.exit(start())
    except KeyboardInterrupt:  # also while it imports
        sys.exit(130)

import argparse
import os
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, cast

from agents import Model, ModelSettings, RunConfig
from agents.extensions.memory import MongoDBSession
from pymongo import AsyncMongoClient, timeout
from pymongo.errors import PyMongoError

from agents_def import build_agents
from database import DB_NAME, Database, DatabaseUnavailable, Document, connect, explain, mongodb_uri
from engine import Conversation, Limits, TurnFailed, remove_idle
from engine.text import clean
from settings import choose_model, history_tokens
from shop import Customer, session_id_for
from start import TRY, ask_email
from terminal.chat import Chat, words_for
from terminal.inspect import Query
from terminal.screen import Screen
from tools import APPROVALS, PHRASES, SupportContext


async def support(args: argparse.Namespace, screen: Screen, email: str) -> int:
    """Connect, log the customer in, open the conversation, chat; returns the exit code."""
    # One client for the whole process: tools, session and chat share its pool.
    try:
        async with screen.waiting("Connecting to MongoDB"):
            client = await connect(mongodb_uri())
    except DatabaseUnavailable as error:
        screen.error(str(error))
        return 1
    try:
        return await serve(args, screen, client, email)
    except TurnFailed as error:
        screen.error(words_for(error))
        return 1
    except PyMongoError as error:
        screen.error(explain(error, mongodb_uri()))
        return 1
    finally:
        with timeout(1):  # the customer leaves at once, also if MongoDB does not answer
            await client.close()


async def serve(
    args: argparse.Namespace, screen: Screen, client: AsyncMongoClient[Document], email: str
) -> int:
    """Chat on this client; returns the exit code."""
    db = client[DB_NAME]
    if not (customer := await log_in(db, screen, email, ask_again=not args.email)):
        return 1
    async with screen.waiting("Asking MongoDB"):
        if days := os.environ.get("CONVERSATION_TTL_DAYS"):
            await remove_idle(db.conversations, float(days))
        model, model_settings = choose_model(args.offline)
        limits = Limits(tokens=history_tokens())
        conversation = await open_conversation(
            client, customer, model, model_settings, limits=limits
        )
    mine, fields = {"customer_id": customer["_id"]}, {"status": 1, "return": 1}
    chat = Chat(
        screen,
        conversation,
        customer["name"],
        phrases=PHRASES,
        farewell=f"Goodbye. Run again with {customer['email']} to continue.",
        stays="Orders and returns stay.",
        inspected=[Query(db.orders, "what the tools change", mine, fields)],
        usage=args.usage,
    )
    if args.question:
        return 0 if await chat.answer_once(args.question) else 1
    await chat.run()
    return 0


async def log_in(db: Database, screen: Screen, email: str, ask_again: bool) -> Customer | None:
    """Find the customer. At a terminal, ask again if the email is unknown."""
    while True:
        email = clean(email).strip()[:254]
        if email.isascii():  # lower() turns some look-alikes of other alphabets into plain letters
            email = email.lower()
        async with screen.waiting("Asking MongoDB"):
            customer = await db.customers.find_one({"email": email})
            seeded = customer or await db.customers.find_one()
        if customer:
            return cast("Customer", customer)
        if not seeded:
            screen.error("The database has no customers yet. Run: python seed_data.py")
            return None
        screen.error(f'No customer has the email "{email}". {TRY}')
        if not (ask_again and screen.interactive):
            return None
        email = await ask_email(screen)


async def open_conversation(
    client: AsyncMongoClient[Document],
    customer: Customer,
    model: Model,
    model_settings: ModelSettings | None = None,
    *,
    database: str = DB_NAME,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    **options: Any,
) -> Conversation:
    """Put one customer's conversation together: the session, the agents, what tools may touch.

    `options` as for `Conversation.open`. Raises TurnFailed if it belongs to another email.
    """
    session = MongoDBSession(
        session_id=session_id_for(customer["email"]),
        client=client,  # shared: session.close() does nothing
        database=database,
    )
    return await Conversation.open(
        session,
        owner=customer["email"],
        agent=build_agents(),
        # `commit`: how the tools write, under the lease (engine/options.py)
        context=lambda commit: SupportContext(client[database], customer, commit, now),
        approvals=APPROVALS,
        run_config=RunConfig(
            model=model, model_settings=model_settings, workflow_name="Customer Support"
        ),
        **options,
    )
