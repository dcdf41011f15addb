"""The terminal: ask, confirm, show. Nothing else in the program touches the screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TextIO

from engine import events
from engine.events import ApprovalNeeded, Event
from engine.text import clean
from terminal.plain import LineReader, PlainAnswer
from terminal.signals import ctrl_c_calls, hidden_keys

if TYPE_CHECKING:  # imported later: the first prompt must not wait for them
    from rich.console import Console

    from terminal.answer import LiveAnswer
    from terminal.inspect import Found
    from terminal.keys import LineEditor

SOON = 0.33  # seconds: a longer wait shows a spinner
WATCH = 1.0  # seconds between two looks for trouble
ANOTHER = "Another terminal is answering in this conversation; waiting for it."
OUR_SIGNS = "→·─└⠋"
IN_ASCII = str.maketrans(
    {"→": "->", "·": "-", "─": "-", "└": "-", "•": "*", "…": "...", "—": "-"}
    | {"\u2013": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)


class Screen:
    """Standard input, output and error: each may be a terminal or a pipe.

    A terminal gets drawn Markdown, a spinner and a line editor. A pipe gets plain text, and its
    standard output has nothing but the conversation.
    """

    def __init__(self) -> None:
        # A stream that the shell closed (`>&-`) is None.
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        dumb = os.environ.get("TERM") in ("dumb", "unknown")
        to_screen = sys.stdout.isatty()
        self.interactive = sys.stdin is not None and sys.stdin.isatty()
        self._unicode = b"?" not in OUR_SIGNS.encode(sys.stdout.encoding, "replace")
        self.drawn = to_screen and not dumb and self._unicode
        # `main.py > answers.md` still asks on the screen.
        self._prompts = sys.stderr if self.interactive and not to_screen else sys.stdout
        self._notices = sys.stdout if to_screen else sys.stderr
        self._editor: LineEditor | None = None  # where nobody could use one, lines are read
        if self.interactive and self._prompts.isatty() and not dumb:
            from terminal.keys import LineEditor

            self._editor = LineEditor()
        self._reader = self._editor or LineReader(
            lambda text: self._write(text, self._prompts), at_keys=self.interactive
        )
        self._spun = 0.0  # when the last spinner of `waiting` ended

    async def ask(
        self, prompt: str, *, commands: Sequence[str] = (), ctrl_c_clears: bool = True
    ) -> str:
        """Read one message from the customer.

        With `commands` it is the chat's prompt: it has a blank line above, Tab and a history.
        Raises EOFError at the end of input, and KeyboardInterrupt unless Ctrl-C clears.
        """
        if commands:
            self._write("\n", sys.stdout)
            if self.interactive:
                # A held Ctrl-C also comes between a prompt and an answer; it must not quit.
                signal.signal(signal.SIGINT, lambda *_: None)
        return await self._reader.read(prompt, commands, ctrl_c_clears=ctrl_c_clears)

    async def confirm(self, question: str) -> str:
        """Ask `question`, and return what is typed. Keys typed before the question do not count.

        Ctrl-C is an empty answer. Raises EOFError at the end of input.
        """
        question = clean(question)
        if self._editor:  # the editor would break the last line inside of a word
            from rich.text import Text as Words

            console = self._console(self._prompts)
            rows = Words(question).wrap(console, console.width)
            question = "\n".join(row.plain.rstrip() for row in rows) + " "
        facts, _, last = question.rpartition("\n")
        if facts:
            self._print(facts, self._prompts)
        if self._editor:
            self._editor.forget()
        if self.interactive:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        try:
            return await self._reader.read(last, ctrl_c_clears=False)
        except KeyboardInterrupt:
            return ""

    def remember(self, messages: Sequence[str]) -> None:
        """Let the arrow keys bring back `messages` at the chat's prompt, oldest first."""
        if self._editor:
            self._editor.remember(messages)

    def say(self, text: str, *, dim: bool = False) -> None:
        """Print words of our own on standard output."""
        self._print(text, sys.stdout, "dim" if dim else "")

    def notice(self, text: str) -> None:
        """Print a dim line; it goes to standard error if standard output is a pipe."""
        self._print(text, self._notices, "dim")

    def error(self, text: str) -> None:
        """Print one line on standard error."""
        self._print(" ".join(text.splitlines()), sys.stderr, "red")

    def transcript(
        self, messages: Sequence[tuple[str, str]], *, dim: bool = False, most_lines: int = 0
    ) -> None:
        """Print messages as the chat showed them: pairs of role (`user` or `assistant`) and text.

        On a screen, only the last `most_lines` lines of each are shown (0: all).
        """
        for number, (role, text) in enumerate(messages):
            if role == "user":
                text = "> " + text.replace("\n", "\n  ")
                if number:
                    self.say("")
            if not self.drawn:
                self.say(text)
                continue
            from rich.segment import SegmentLines
            from rich.text import Text as Words

            from terminal.markdown import Markdown

            style, console = "dim" if dim else "", self._console()
            words = Words(clean(text), style) if role == "user" else Markdown(clean(text), style)
            lines = console.render_lines(words, pad=False)
            above = len(lines) - most_lines if most_lines else 0
            if above > 2:  # to hide one or two would save no room, and often hides a title
                self.notice(f"… {above} lines above; /history shows all")
                lines = lines[above:]
            console.print(SegmentLines(lines, new_lines=True), end="")

    @contextlib.asynccontextmanager
    async def waiting(self, phrase: str) -> AsyncIterator[None]:
        """Show a spinner with `phrase` if the block takes longer than SOON."""

        async def spin() -> None:
            if time.monotonic() > self._spun + SOON:  # else the last wait's spinner goes on
                await asyncio.sleep(SOON)
            try:
                with self._answer(phrase):
                    await asyncio.Event().wait()
            finally:
                self._spun = time.monotonic()

        spinning = asyncio.create_task(spin()) if self.drawn else None
        try:
            yield
        finally:
            if spinning:
                spinning.cancel()
                await asyncio.wait({spinning})

    def inspect(self, found: Sequence[Found]) -> None:
        """Draw what MongoDB holds for a conversation."""
        from terminal.inspect import draw

        console = self._console()
        with console.capture() as page:
            draw(console, found)
        self._write(page.get(), sys.stdout)

    async def show(
        self,
        told: AsyncIterator[Event],
        phrases: Mapping[str, str],
        trouble: Callable[[], Awaitable[str]] | None = None,
    ) -> ApprovalNeeded | None:
        """Draw one answer while it is written; returns the approval that it needs, if any.

        `phrases` says what each tool does: `list_orders`: `Looking up your orders`. `trouble` says
        what keeps the answer waiting, or nothing; it is asked every WATCH seconds. What `told`
        raises goes to the caller; all that was said before stays on the screen.
        """
        approval, writing = None, False
        with self._answer() as answer:
            watching = asyncio.create_task(_watch(answer, trouble)) if trouble else None
            try:
                async for event in told:
                    if isinstance(event, ApprovalNeeded):
                        approval = event
                    else:
                        _tell(answer, event, phrases, writing)
                    writing = isinstance(event, events.Text)
            finally:
                if watching:
                    watching.cancel()
        return approval

    def interrupts(self, stop: Callable[[], object]) -> AbstractContextManager[None]:
        """During the block, Ctrl-C calls `stop` and raises nothing.

        If standard input is no terminal, Ctrl-C still ends the program.
        """
        return ctrl_c_calls(stop) if self.interactive else contextlib.nullcontext()

    def hang_up(self) -> None:
        """Drop all further output: nobody reads it any more (`| head -1`)."""
        nobody = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nobody, stream.fileno())

    def _console(self, stream: TextIO | None = None) -> Console:
        from rich.console import Console

        return Console(
            file=stream or sys.stdout, force_terminal=self.drawn, force_interactive=self.drawn
        )

    @contextlib.contextmanager
    def _answer(self, phrase: str = "Thinking") -> Iterator[LiveAnswer | PlainAnswer]:
        answer: LiveAnswer | PlainAnswer
        if self.drawn:
            from terminal.answer import LiveAnswer

            answer = LiveAnswer(self._console(), phrase)
        else:
            answer = PlainAnswer(lambda text: self._write(text, sys.stdout), self.notice)
        with hidden_keys(answer.paused) if self._editor else contextlib.nullcontext(), answer:
            yield answer

    def _print(self, text: str, stream: TextIO, style: str = "") -> None:
        if self.drawn and stream.isatty():
            from rich.text import Text as Words

            self._console(stream).print(Words(clean(text), style))
        else:
            self._write(clean(text) + "\n", stream)

    def _write(self, text: str, stream: TextIO) -> None:
        stream.write(text if self._unicode else text.translate(IN_ASCII))
        stream.flush()


def _tell(
    answer: LiveAnswer | PlainAnswer, event: Event, phrases: Mapping[str, str], writing: bool
) -> None:
    """`writing`: whether the event before was a piece of the answer."""
    match event:
        case events.Text(delta):
            answer.text(clean(delta.replace("\r", "")))  # "\r\n" may come in two pieces
        case events.HandedOff(agent):
            answer.note(f"→ {clean(agent)}")
            answer.wait(f"{clean(agent)} is thinking")
        case events.ToolStarted(tool):
            phrase = phrases.get(tool) or tool.replace("_", " ").capitalize()
            answer.wait(clean(phrase), stays=True)
        case events.Waiting():
            answer.wait(ANOTHER, stays=True)
        case events.Settled(done=True, text=text):
            answer.note(f"· {clean(text)}")
        case events.Settled(text=text):
            answer.text(f"{clean(text)}\n\n")
        case events.ApprovalLost():
            answer.note("A question that waits cannot be asked now; a new message withdraws it.")
        case events.Stopped():
            # What was written of a stopped answer is the answer, so there is nothing to retry.
            again = "" if writing else "/retry answers it. "
            answer.note(f"Stopped. {again}Ask something else, or Ctrl-D to leave.")
        case events.CutOff():
            answer.note("The answer was cut off. Ask it to go on.")
        case events.ServerBusy(seconds):
            answer.wait(f"The model is busy; asking it again in {seconds:.0f} seconds", stays=True)


async def _watch(answer: LiveAnswer | PlainAnswer, trouble: Callable[[], Awaitable[str]]) -> None:
    while True:
        await asyncio.sleep(WATCH)
        answer.trouble(await trouble())
