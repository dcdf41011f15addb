"""The conversation on the screen: greeting, prompt, slash commands, questions and errors."""

from __future__ import annotations

import asyncio
import logging
import shutil
import textwrap
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from agents import Usage
from pymongo import timeout
from pymongo.errors import PyMongoError

from engine.conversation import Conversation
from engine.errors import failure
from engine.events import ApprovalNeeded, Event, Reason, TurnFailed
from terminal import inspect
from terminal.screen import Screen

logger = logging.getLogger(__name__)

# Shown to a customer who comes back.
RECENT_EXCHANGES, RECENT_LINES = 2, 10
YES, NO = ("y", "yes"), ("n", "no", "")
# A question is asked again after these: they are no yes, and no message that would withdraw it.
AGREEING = tuple("yes yep yeah yup sure ok okay fine please do it go ahead".split())
LATER = ": the chat asks again when you are back, unless you send another message before."

HAPPENED = {Reason.TAKEN_OVER: "Another terminal took this conversation over."}
# What the customer can do, said after what happened; `again` is a command.
SAVED = "Your message is saved; {again} answers it."
ADVICE = {
    Reason.TAKEN_OVER: "In the chat, /history shows what was said.",
    Reason.KEY_REFUSED: "Check OPENAI_API_KEY; {again} asks again.",
    Reason.MODEL_UNKNOWN: "Check OPENAI_MODEL and OPENAI_BASE_URL; {again} asks again.",
    Reason.QUOTA_USED_UP: "Check the plan and billing; {again} asks again.",
    Reason.MODEL_BUSY: SAVED,
    Reason.MODEL_SILENT: SAVED,
    Reason.MODEL_UNREACHABLE: SAVED,
    Reason.TOOLS_UNREACHABLE: SAVED,
    Reason.HISTORY_TOO_LONG: "In the chat, /reset starts a new one; OPENAI_HISTORY_TOKENS sends "
    "less of it.",
    Reason.REQUEST_REFUSED: "--debug shows why; {again} asks again.",
    Reason.ANSWER_EMPTY: SAVED,
    Reason.ANSWER_UNREADABLE: SAVED,
}


def words_for(error: TurnFailed, *, prompt: bool = True) -> str:
    """Say what happened, and what to do. `prompt`: whether one follows, for commands."""
    advice, again = ADVICE.get(error.reason, ""), "in the chat, /retry"
    if error.reason in (Reason.DATABASE_SILENT, Reason.DATABASE_REFUSED):
        lost = "The answer above was not saved" if error.shown else "Your message was not saved"
        if error.accepted and not error.shown:
            advice = SAVED
        elif error.maybe_stored:
            advice = f"{lost.replace('was not', 'may not be')}; {{again}} asks again."
        else:
            advice = f"{lost}; {{again}} asks again."
        again = again if error.accepted else "the same command"
    happened = HAPPENED.get(error.reason, error)
    return f"{happened} {advice.format(again='/retry' if prompt else again)}".strip()


def words_of_usage(usage: Usage) -> str:
    """`· 3 finished model calls: 1,204 tokens in (800 of them cached), 56 out`."""
    if not usage.requests:  # a server counts at the end, and the call failed or was stopped
        return "· No model call was finished, so no tokens were counted."
    cached = usage.input_tokens_details.cached_tokens
    calls = f"{usage.requests} finished model call{'s' * (usage.requests > 1)}"
    if not usage.total_tokens:
        return f"· {calls}: the server did not count the tokens"
    tokens = f"{usage.input_tokens:,} tokens in ({cached:,} of them cached)"
    return f"· {calls}: {tokens}, {usage.output_tokens:,} out"


# If the customer typed other words at a question, it returns them: they are the next message.
Work: TypeAlias = "Callable[[Chat], Awaitable[str | None]]"


class Command(NamedTuple):
    about: str
    work: Work
    shows: bool  # it only shows something: an open question is asked again after it


COMMANDS: dict[str, Command] = {}


def command(name: str, about: str, *, shows: bool = False) -> Callable[[Work], Work]:
    """Register a function as the slash command `name`."""

    def register(work: Work) -> Work:
        COMMANDS[name] = Command(about, work, shows)
        return work

    return register


@dataclass
class Chat:
    """One customer at the screen."""

    screen: Screen
    conversation: Conversation
    name: str  # of the customer, for the greeting
    phrases: Mapping[str, str] = field(default_factory=dict)  # tool: what is shown while it runs
    farewell: str = "Goodbye."
    stays: str = ""  # what `/reset` does not delete, as a sentence
    inspected: Sequence[inspect.Query] = ()  # what `/inspect` shows beside the conversation
    usage: bool = False  # show the tokens that each answer used
    failed: bool = False  # whether the last answer failed
    prompt: bool = True  # whether the customer can type a command after an error

    async def run(self) -> None:
        """Greet, settle what is open, then answer until the customer leaves."""
        asked = [
            message.text for message in self.conversation.opened.recent if message.role == "user"
        ]
        self.screen.remember(asked)
        try:
            self._greet()
            typed = await self._take_up()
            while True:
                prompted = typed or await self.screen.ask("> ", commands=list(COMMANDS))
                typed = await self._take(prompted.strip())
        except EOFError:
            self.screen.say(self.farewell)

    async def answer_once(self, message: str) -> bool:
        """Answer `message`, and words typed at a question. False if the last answer failed."""
        self.prompt = False
        typed: str | None = message
        try:
            while typed:
                typed = await self._take(typed)
        except EOFError:  # nobody is there to decide: the question waits
            return False
        return not self.failed

    async def answer(self, start: Callable[[], AsyncGenerator[Event, None]]) -> str | None:
        """Show one answer, and ask each question that it leads to.

        If the customer typed other words at a question, returns them: they are the next message.
        """
        self.failed = False
        try:
            needed = await self._show(start())
            while needed:
                decision = await self.decision(needed.question)
                if isinstance(decision, str):
                    return decision
                needed = await self._show(self.conversation.decide(needed, decision))
        except TurnFailed as error:
            self.failed = True
            self._complain(error, words_for(error, prompt=self.prompt))
        return None

    async def decision(self, question: str, *, kept: bool = True) -> bool | str:
        """Ask for a yes or a no. Returns it, or the other words that the customer typed.

        Words that only agree (`sure, do it`) are asked again.
        `kept`: the question waits in MongoDB if the input ends here.
        """
        while True:
            try:
                typed = (await self.screen.confirm(question)).strip()
            except EOFError:
                self.screen.notice(f"Not decided{LATER if kept else '.'}")
                raise
            if typed.lower() in YES or typed.lower() in NO:
                return typed.lower() in YES
            if all(word.strip(".,!") in AGREEING for word in typed.lower().split()):
                self.screen.notice("Please type y or n. Enter and Ctrl-C also say no.")
                continue
            name = _command_in(typed)
            if not name or (name in COMMANDS and not COMMANDS[name].shows):
                return typed
            await self._take(typed)
            self.screen.say("")

    async def _take(self, typed: str) -> str | None:
        """Run the command in `typed`, or answer it. Returns the next message as `answer` does."""
        if (name := _command_in(typed)) in COMMANDS:
            return await self._interruptible(COMMANDS[name].work(self))
        if name:
            self.screen.error(f"Unknown command {name}. Try /help.")
        elif typed.lower() in ("quit", "exit"):
            raise EOFError
        elif typed:
            return await self.answer(lambda: self.conversation.turn(typed))
        return None

    def _greet(self) -> None:
        name, opened = self.name, self.conversation.opened
        last = opened.last_active
        if not opened.total or last is None:
            self.screen.say(f"Hello, {name}. How can I help?")
            return
        if self.screen.drawn:
            recent = opened.recent
            asked = [number for number, message in enumerate(recent) if message.role == "user"]
            self.screen.say("")
            start = asked[-RECENT_EXCHANGES:][0] if asked else 0
            self.screen.transcript(recent[start:], dim=True, most_lines=RECENT_LINES)
        count = f"{opened.total:,} message{'s' * (opened.total > 1)}"
        when = f"last on {last.day} {last:%b}"
        self.screen.say(f"\n── Welcome back, {name}: {count}, {when} ── /history shows all")

    async def _take_up(self) -> str | None:
        """Ask the question that waits, or offer to answer a message that has no answer."""
        if self.conversation.opened.pending:
            return await self.answer(self.conversation.resume)
        if self.conversation.unanswered is None:
            return None
        told = "Your last message has no answer yet."
        if self.conversation.opened.answering:
            told += " Another terminal may be answering it now."
        if not self.screen.interactive:  # in a pipe, the next line is a message, not a yes
            self.screen.notice(f"{told} /retry answers it.")
            return None
        decision = await self.decision(f"{told} Answer it now? [y/N] ")
        if isinstance(decision, str):
            return decision
        return await self.answer(self.conversation.retry) if decision else None

    async def _show(self, events: AsyncGenerator[Event, None]) -> ApprovalNeeded | None:
        try:
            with self.screen.interrupts(self.conversation.stop):
                async with aclosing(events):
                    return await self.screen.show(events, self.phrases, self._trouble)
        finally:
            if self.usage:
                self.screen.notice(words_of_usage(self.conversation.usage))

    async def _trouble(self) -> str:
        """Say what keeps the answer waiting: the driver itself tells it only after 15 seconds."""
        try:
            with timeout(1):
                await self.conversation.collections.records.database.command("ping")
        except PyMongoError:
            return "MongoDB does not answer; waiting for it"
        return ""

    async def _interruptible(self, work: Awaitable[str | None]) -> str | None:
        """Run `work` as a task, so that Ctrl-C can end the wait for a silent MongoDB."""
        running = asyncio.ensure_future(work)
        try:
            with self.screen.interrupts(running.cancel):
                await asyncio.wait({running})
            if running.cancelled():
                self.screen.notice("Stopped.")
                return None
            return running.result()
        except (PyMongoError, TurnFailed) as error:
            self._complain(error, f"{failure(error)} Try again in a moment.")
            return None
        finally:
            if running.cancel():
                await asyncio.wait({running})

    def _complain(self, error: Exception, told: str) -> None:
        logger.warning("It failed", exc_info=error)  # shown with --debug
        self.screen.error(told)


def _command_in(typed: str) -> str:
    """The first word if it begins with a slash, else an empty string."""
    return typed.split()[0].lower() if typed.startswith("/") else ""


@command("/help", "show this list", shows=True)
async def _help(chat: Chat) -> None:
    entries = {name: each.about for name, each in COMMANDS.items()}
    if chat.screen.interactive:  # in a pipe it ends the program
        entries["Ctrl-C"] = "stop an answer; say no to a question; clear a line"
    width = max(shutil.get_terminal_size().columns - 12, 20)
    for name, about in entries.items():
        chat.screen.say(f"{name:10} " + ("\n" + " " * 11).join(textwrap.wrap(about, width)))


@command("/history", "show the whole conversation", shows=True)
async def _history(chat: Chat) -> None:
    async with chat.screen.waiting("Asking MongoDB"):
        said = await chat.conversation.transcript()
    chat.screen.transcript(said)


@command("/inspect", "show what MongoDB holds", shows=True)
async def _inspect(chat: Chat) -> None:
    async with chat.screen.waiting("Asking MongoDB"):
        found = await inspect.read(chat.conversation, chat.inspected)
    chat.screen.inspect(found)


@command("/retry", "answer again after an error")
async def _retry(chat: Chat) -> str | None:
    return await chat.answer(chat.conversation.retry)


@command("/reset", "forget this conversation")
async def _reset(chat: Chat) -> str | None:
    question = " ".join(filter(None, ["Forget this conversation?", chat.stays, "[y/N] "]))
    decision = await chat.decision(question, kept=False)
    if decision is not True:
        chat.screen.say("Nothing was forgotten.")
        return decision or None
    async with chat.screen.waiting("Asking MongoDB"):
        await chat.conversation.erase()
    chat.screen.say("Forgotten. What can I do for you?")
    return None


@command("/exit", "the same as /quit")
@command("/quit", "leave (also quit, exit, Ctrl-D)")
async def _quit(_: Chat) -> None:
    raise EOFError
