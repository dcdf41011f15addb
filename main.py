"""Chat with the shop's support: log in by email, ask, quit; run it again and it goes on.

    python main.py [--email EMAIL] [--offline] [--debug] [--usage] [QUESTION]

It needs a seeded MongoDB (seed_data.py) and a model: see env.example for the settings.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from engine.events import TurnFailed
from engine.text import clean
from settings import choose_model, load_settings, log_problems, missing_setting
from terminal.screen import Screen

if TYPE_CHECKING:  # these load later: the first prompt must not wait for them
    from agents import Model, ModelSettings
    from pymongo import AsyncMongoClient

    from database import Database, Document
    from engine.conversation import Conversation
    from shop import Customer


def main() -> int:
    args = arguments()
    load_settings()
    screen = Screen()
    log_problems(args.debug)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # `finally` runs
    try:
        return asyncio.run(support(args, screen))
    except (EOFError, BrokenPipeError):
        screen.hang_up()
        return 0
    except OSError as error:  # `> answers.md` on a full disk
        screen.error(f"Cannot read or write: {error.strerror}.")
        screen.hang_up()
        return 1
    except KeyboardInterrupt:
        return 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Chat with the shop's support.")
    parser.add_argument("--email", help="log in with this address instead of asking for it")
    flag = partial(parser.add_argument, action="store_true")
    flag("--offline", help="use the rule-based model: no key, no network")
    flag("--debug", help="show tracebacks and warnings")
    flag("--usage", help="show the tokens that each answer used")
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="answer this and exit")
    return parser.parse_args()


async def support(args: argparse.Namespace, screen: Screen) -> int:
    """The whole session, from the first prompt to the last; returns the exit code."""
    if not args.question:
        screen.say("Shop support. Type a question, /help, or Ctrl-D to leave.")
        if args.offline:
            screen.say("Offline: a set of rules answers here, not a language model.", dim=True)
    if problem := missing_setting(args.offline):
        screen.error(problem)
        return 1
    # The Agents SDK takes seconds to import, so that happens while the customer types.
    loading = threading.Thread(target=importlib.import_module, args=["terminal.chat"], daemon=True)
    loading.start()
    email = args.email or await screen.ask("Email: ")
    async with screen.waiting("Loading"):
        await asyncio.to_thread(loading.join)

    from pymongo import timeout

    from database import DatabaseUnavailable, connect, mongodb_uri

    # One client for the whole process: tools, session and chat share its pool.
    try:
        async with screen.waiting("Connecting to MongoDB"):
            mongo_client = await connect(mongodb_uri())
    except DatabaseUnavailable as error:
        screen.error(str(error))
        return 1
    try:
        return await serve(args, screen, mongo_client, email)
    finally:
        with timeout(1):  # the customer leaves at once, also if MongoDB does not answer
            await mongo_client.close()


async def serve(
    args: argparse.Namespace, screen: Screen, client: AsyncMongoClient[Document], email: str
) -> int:
    """Log the customer in, open the conversation, and chat; returns the exit code."""
    from pymongo.errors import PyMongoError

    from database import DB_NAME, explain, mongodb_uri
    from engine.retention import remove_idle
    from terminal.chat import Chat, words_for

    db = client[DB_NAME]
    try:
        if not (customer := await log_in(db, screen, email, ask_again=not args.email)):
            return 1
        async with screen.waiting("Asking MongoDB"):
            if days := os.environ.get("CONVERSATION_TTL_DAYS"):
                await remove_idle(db.conversations, float(days))
            model, model_settings = choose_model(args.offline)
            conversation = await open_conversation(client, customer, model, model_settings)
        chat = Chat(screen, conversation, db, customer, usage=args.usage)
        if args.question:
            return 0 if await chat.answer_once(args.question) else 1
        await chat.run()
    except TurnFailed as error:
        screen.error(words_for(error))
        return 1
    except PyMongoError as error:
        screen.error(explain(error, mongodb_uri()))
        return 1
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
        screen.error(f'No customer has the email "{email}". Try alice@example.com.')
        if not (ask_again and screen.interactive):
            return None
        email = await screen.ask("Email: ")


async def open_conversation(
    client: AsyncMongoClient[Document],
    customer: Customer,
    model: Model,
    model_settings: ModelSettings | None = None,
    *,
    database: str = "ecommerce_support",
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    **options: Any,
) -> Conversation:
    """Put one customer's conversation together: the session, the agents, what tools may touch.

    `options` as for `Conversation.open`. Raises TurnFailed if it belongs to another email.
    """
    from agents import RunConfig
    from agents.extensions.memory import MongoDBSession

    from agents_def import build_agents
    from engine import Conversation
    from shop import session_id_for
    from tools import APPROVALS, SupportContext

    session = MongoDBSession(
        session_id=session_id_for(customer["email"]),
        client=client,  # shared: session.close() does nothing
        database=database,
    )
    return await Conversation.open(
        session,
        owner=customer["email"],
        agent=build_agents(),
        context=lambda commit: SupportContext(client[database], customer, commit, now),
        approvals=APPROVALS,
        run_config=RunConfig(
            model=model, model_settings=model_settings, workflow_name="Customer Support"
        ),
        **options,
    )


if __name__ == "__main__":
    sys.exit(main())
