"""Chat with the shop's support: log in by email, ask, quit; run it again and it goes on.

    python main.py [--email EMAIL] [--offline] [--debug] [QUESTION]

It needs a seeded MongoDB (seed_data.py) and a model: see env.example for the settings.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from dotenv import load_dotenv

from engine.events import ApprovalNeeded, Event, Stopped, Text, TurnFailed, Waiting
from engine.text import clean
from settings import choose_model, missing_setting
from terminal.screen import Terminal

if TYPE_CHECKING:
    from agents import Model, ModelSettings
    from pymongo import AsyncMongoClient

    from database import Database, Document
    from engine.conversation import Conversation

COMMANDS = {
    "/help": "show this list",
    "/history": "show the whole conversation",
    "/inspect": "show what MongoDB holds for it",
    "/retry": "answer your last message again",
    "/reset": "forget this conversation",
    "/quit": "leave (so do quit, exit and Ctrl-D)",
}


def main() -> int:
    args = arguments()
    load_dotenv()
    logging.basicConfig(level=logging.WARNING if args.debug else logging.CRITICAL)
    if not args.debug:
        warnings.simplefilter("ignore")  # the driver's, on options of the URI
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is tidied up
    terminal = Terminal()
    try:
        return asyncio.run(support(args, terminal))
    except EOFError:
        return 0
    except BrokenPipeError:
        terminal.hang_up()
        return 0
    except OSError as error:  # `> answers.md` on a full disk
        terminal.error(f"Cannot read or write: {error.strerror}.")
        terminal.hang_up()
        return 1
    except KeyboardInterrupt:
        return 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Chat with the shop's support.")
    parser.add_argument("--email", help="log in with this address instead of asking for it")
    parser.add_argument(
        "--offline", action="store_true", help="use the rule-based model: no key, no network"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and warnings")
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="answer this and exit")
    return parser.parse_args()


async def support(args: argparse.Namespace, terminal: Terminal) -> int:
    """The whole session, from the first prompt to the last; returns the exit code."""
    if not args.question:
        terminal.say("Shop support. Type a question, /help, or Ctrl-D to leave.")
        if args.offline:
            terminal.say("Offline: a set of rules answers here, not a language model.", dim=True)
    if problem := missing_setting(args.offline):
        terminal.error(problem)
        return 1
    # The Agents SDK takes seconds to import, so that happens while the customer types.
    loading = threading.Thread(target=importlib.import_module, args=["agents_def"], daemon=True)
    loading.start()
    email = args.email or await terminal.ask("Email: ")
    loading.join()

    from pymongo.errors import PyMongoError

    from database import DB_NAME, DatabaseUnavailable, connect, explain, mongodb_uri
    from engine.conversation import remove_idle

    # One client for the whole process: tools, session and chat share its pool.
    try:
        mongo_client = await connect(mongodb_uri())
    except DatabaseUnavailable as error:
        terminal.error(str(error))
        return 1
    async with mongo_client:
        db = mongo_client[DB_NAME]
        try:
            customer = await log_in(db, terminal, email, ask_again=not args.email)
            if customer is None:
                return 1
            if days := os.environ.get("CONVERSATION_TTL_DAYS"):
                await remove_idle(db, float(days))
            model, model_settings = choose_model(args.offline)
            conversation = await open_conversation(mongo_client, customer, model, model_settings)
            chat = Chat(terminal, conversation, db, customer, debug=args.debug)
            if args.question:
                with suppress(EOFError):  # nobody there to decide: the question waits
                    return 0 if await chat.answer(conversation.turn, args.question) else 1
                return 1
            await chat.run()
        except TurnFailed as error:
            terminal.error(str(error))
            return 1
        except PyMongoError as error:
            terminal.error(explain(error, mongodb_uri()))
            return 1
    return 0


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


async def open_conversation(
    client: AsyncMongoClient[Document],
    customer: Document,
    model: Model,
    model_settings: ModelSettings | None = None,
    *,
    database: str = "ecommerce_support",
    now: Callable[[], datetime] = utc_now,
) -> Conversation:
    """Put one customer's conversation together: the session, the agents, what tools may touch.

    `customer` is a document of `customers`. Raises TurnFailed if the stored conversation belongs
    to another email.
    """
    from agents.extensions.memory import MongoDBSession

    from agents_def import build_agents
    from engine.conversation import Conversation, session_id_for
    from tools import SupportContext, approval_question

    db = client[database]
    session = MongoDBSession(
        session_id=session_id_for(customer["email"]),
        client=client,  # shared: session.close() does nothing
        database=database,
    )
    return await Conversation.open(
        session,
        db=db,
        email=customer["email"],
        agent=build_agents(),
        context=SupportContext(db, customer["_id"], customer["name"], customer["tier"], now),
        question=approval_question,
        model=model,
        model_settings=model_settings,
    )


async def log_in(db: Database, terminal: Terminal, email: str, ask_again: bool) -> Document | None:
    """Find the customer, asking again for an unknown email where somebody sits at the keys."""
    while True:
        email = clean(email).strip()[:254]
        if email.isascii():  # elsewhere, lower() turns some look-alikes into plain letters
            email = email.lower()
        if customer := await db.customers.find_one({"email": email}):
            return customer
        if await db.customers.find_one() is None:
            terminal.error("The database has no customers yet. Run: python seed_data.py")
            return None
        terminal.error(f'No customer has the email "{email}". Try alice@example.com.')
        if not (ask_again and terminal.interactive):
            return None
        email = await terminal.ask("Email: ")


class Chat:
    """The conversation on the terminal: greeting, prompt, commands, approvals."""

    def __init__(
        self,
        terminal: Terminal,
        conversation: Conversation,
        db: Database,
        customer: Document,
        debug: bool,
    ) -> None:
        self._terminal = terminal
        self._conversation = conversation
        self._db = db
        self._customer = customer
        self._debug = debug

    async def run(self) -> None:
        """Greet, take up what is open, then answer until the customer leaves."""
        try:
            await self._greet()
            if self._conversation.pending:
                await self.answer(self._conversation.resume)
            await self._offer_retry()
            while True:
                text = (await self._terminal.ask("> ", commands=list(COMMANDS))).strip()
                word = text.split()[0].lower() if text.startswith("/") else text.lower()
                if word in ("/quit", "quit", "exit"):
                    break
                if text.startswith("/"):
                    await self._command(word)
                elif text:
                    await self.answer(self._conversation.turn, text)
        except EOFError:
            pass
        email = self._customer["email"]
        self._terminal.say(f"Goodbye. Run again with {email} to continue.")

    async def answer(self, start: Callable[..., AsyncGenerator[Event, None]], *text: str) -> bool:
        """Show one answer, asking for the customer's yes as often as it needs one.

        False if it failed; the customer has then been told why.
        """
        try:
            approval = await self._show(start(*text))
            while approval:
                approval = await self._decide(approval)
        except TurnFailed as error:
            self._complain(error, str(error))
            return False
        return True

    def _complain(self, error: Exception, told: str) -> None:
        if self._debug:
            traceback.print_exception(error)
        self._terminal.error(told)

    async def _decide(self, approval: ApprovalNeeded) -> ApprovalNeeded | None:
        try:
            yes = await self._terminal.confirm(approval.question)
        except EOFError:
            self._terminal.notice("Not decided: you will be asked when you are back.")
            raise
        events = self._conversation.decide(approval, yes)
        return await self._show(events if yes else declined(events))

    async def _show(self, events: AsyncGenerator[Event, None]) -> ApprovalNeeded | None:
        from tools import PHRASES

        with self._terminal.interrupts(self._conversation.stop):
            async with aclosing(events):
                return await self._terminal.show(events, PHRASES)

    async def _greet(self) -> None:
        name = self._customer["name"]
        messages = await self._conversation.transcript()
        last = self._conversation.last_active
        if not messages or last is None:
            self._terminal.say(f"Hello, {name}. How can I help?")
            return
        self._terminal.say("")
        asked = [number for number, message in enumerate(messages) if message.role == "user"]
        self._terminal.transcript(messages[asked[-2:][0] if asked else 0 :], dim=True)
        count = f"{len(messages)} message{'s' * (len(messages) > 1)}"
        when = f"last on {last.day} {last:%b}"
        self._terminal.say(f"\n── Welcome back, {name}: {count}, {when} ── /history shows all")

    async def _offer_retry(self) -> None:
        if self._conversation.unanswered is None:
            return
        told = "Your last message has no answer yet."
        if not self._terminal.interactive:  # the next line of a pipe is a message, not a yes
            self._terminal.notice(f"{told} /retry answers it.")
        elif await self._terminal.confirm(f"{told} Answer it now? [y/N] "):
            await self.answer(self._conversation.retry)

    async def _command(self, word: str) -> None:
        from pymongo.errors import PyMongoError

        # A task, so that Ctrl-C can end the wait for a MongoDB that does not answer.
        running = asyncio.create_task(self._run_command(word))
        try:
            with self._terminal.interrupts(running.cancel):
                await asyncio.wait({running})
            if running.cancelled():
                self._terminal.notice("Stopped.")
            else:
                running.result()
        except PyMongoError as error:
            self._complain(error, "MongoDB does not answer. Try again in a moment.")
        finally:
            if running.cancel():
                await asyncio.wait({running})

    async def _run_command(self, word: str) -> None:
        if word == "/help":
            for command, meaning in COMMANDS.items():
                self._terminal.say(f"{command:10} {meaning}")
        elif word == "/history":
            self._terminal.transcript(await self._conversation.transcript())
        elif word == "/inspect":
            from terminal import inspect

            self._terminal.inspect(await inspect.read(self._db, self._conversation))
        elif word == "/retry":
            await self.answer(self._conversation.retry)
        elif word == "/reset":
            question = "Forget this conversation? Orders and returns stay. [y/N] "
            if await self._terminal.confirm(question):
                await self._conversation.erase()
                self._terminal.say("Forgotten. What can I do for you?")
        else:
            self._terminal.error(f"Unknown command {word}. Try /help.")


async def declined(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """`events` after a no, which is told once it counts: another terminal may have been faster."""
    told = False
    async with aclosing(events):
        async for event in events:
            if not (told or isinstance(event, (Waiting, Stopped))):
                told = True
                yield Text("Nothing was returned.\n\n")
            yield event


if __name__ == "__main__":
    sys.exit(main())
