"""Starts main.py: the first prompt is there before the SDK, which takes seconds, is imported."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
import sys
import threading
from functools import partial

from settings import load_settings, log_problems, missing_setting
from terminal.screen import Screen

TRY = "Try alice@example.com, bob@example.com or carol@example.com."


def start() -> int:
    """Run the chat; returns the exit code. Raises KeyboardInterrupt if Ctrl-C ended it."""
    args = arguments()
    load_settings()
    screen = Screen()
    log_problems(args.debug)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # `finally` runs
    try:
        return asyncio.run(prompt_and_load(args, screen))
    except EOFError:  # at "Email: "
        if args.question:
            screen.error("Not answered: say who asks, such as --email alice@example.com.")
            return 1
        if screen.interactive:
            screen.say("Goodbye.")
        return 0
    except BrokenPipeError:
        screen.hang_up()
        return 0
    except OSError as error:  # `> answers.md` on a full disk
        screen.error(f"Cannot read or write: {error.strerror}.")
        screen.hang_up()
        return 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="main.py", description="Chat with the shop's support.")
    parser.add_argument("--email", help="log in with this address instead of asking for it")
    flag = partial(parser.add_argument, action="store_true")
    flag("--offline", help="use the rule-based model: no key, no network")
    flag("--debug", help="show tracebacks and warnings")
    flag("--usage", help="show the tokens that each answer used")
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="answer this and exit")
    return parser.parse_args()


async def prompt_and_load(args: argparse.Namespace, screen: Screen) -> int:
    """Ask for the email while main.py is imported; then hand over to it."""
    if problem := missing_setting(args.offline):
        screen.error(problem)
        return 1
    if not args.question:
        screen.say("Shop support. Type a question, /help, or Ctrl-D to leave.")
        if args.offline:
            screen.say("Offline: a set of rules answers here, not a language model.", dim=True)
    loading = threading.Thread(target=importlib.import_module, args=["main"], daemon=True)
    loading.start()
    email = args.email or await ask_email(screen)
    async with screen.waiting("Loading"):
        await asyncio.to_thread(loading.join)
    from main import support  # it is there by now

    return await support(args, screen, email)


async def ask_email(screen: Screen) -> str:
    """Ask who is there. Raises EOFError if they leave, by Ctrl-C too."""
    while True:
        try:
            typed = await screen.ask("Email: ", ctrl_c_clears=False)
        except KeyboardInterrupt:
            raise EOFError from None
        name = typed.strip().lower().removeprefix("/")
        if name in ("quit", "exit"):
            raise EOFError
        if (name or not screen.interactive) and name != "help" and not typed.startswith("/"):
            return typed
        screen.say("Type a customer's email, such as alice@example.com, or /quit to leave.")
