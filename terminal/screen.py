"""The terminal: ask, confirm, show. Nothing else in the program touches the screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from engine.events import (
    ApprovalNeeded,
    Event,
    HandedOff,
    QuestionLost,
    Settled,
    Stopped,
    Text,
    ToolStarted,
    Waiting,
)
from engine.text import clean
from terminal.plain import PlainAnswer

if TYPE_CHECKING:  # the prompt does not wait for what is needed only behind it
    from rich.console import Console

    from terminal.answer import LiveAnswer
    from terminal.inspect import Inspection
    from terminal.keys import LineEditor

OUR_SIGNS = "→·─└⠋"
IN_ASCII = str.maketrans(
    {"→": "->", "·": "-", "─": "-", "└": "-", "•": "*", "…": "...", "—": "-"}
    | {"\u2013": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)


class Screen:
    """Standard input, output and error, whatever each of them is.

    A screen gets Markdown, a spinner and a line editor. A pipe gets plain text, and on standard
    output nothing but the conversation.
    """

    def __init__(self) -> None:
        # Python leaves None where the shell closed a stream: `>&-`.
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        dumb = os.environ.get("TERM") in ("dumb", "unknown")
        to_screen = sys.stdout.isatty()
        self.interactive = sys.stdin is not None and sys.stdin.isatty()
        self._unicode = _can_write(sys.stdout, OUR_SIGNS)
        self.drawn = to_screen and not dumb and self._unicode
        # `main.py > answers.md` asks on the screen all the same.
        self._prompts = sys.stderr if self.interactive and not to_screen else sys.stdout
        self._notices = sys.stdout if to_screen else sys.stderr
        self._reading: asyncio.Future[bytes] | None = None
        self._editor: LineEditor | None = None
        if self.interactive and self._prompts.isatty() and not dumb:
            from terminal.keys import LineEditor

            self._editor = LineEditor()

    async def ask(self, prompt: str, *, commands: Sequence[str] = ()) -> str:
        """One message from the customer.

        With `commands` it is the chat's prompt: it has a blank line above, Tab and a history.
        Raises EOFError at the end of input.
        """
        if commands:
            self._write("\n", sys.stdout)
            if self.interactive:
                # Held down, Ctrl-C also comes between a prompt and an answer: never quit by it.
                signal.signal(signal.SIGINT, lambda *_: None)
        if self._editor:
            return await self._editor.read(prompt, commands)
        return await self._read_line(prompt)

    async def confirm(self, question: str) -> str:
        """What the customer answers; keys that were typed before the question do not count.

        Ctrl-C is an empty answer. Raises EOFError at the end of input.
        """
        facts, _, last = clean(question).rpartition("\n")
        if facts:
            self._print(facts, self._prompts)
        self._forget_typed_keys()
        try:
            if self._editor:
                return await self._editor.read(last, ctrl_c_clears=False)
            return await self._read_line(last, ctrl_c_clears=False)
        except KeyboardInterrupt:
            return ""

    def remember(self, messages: Iterable[str]) -> None:
        """What the arrow keys bring back at the chat's prompt, oldest first."""
        if self._editor:
            self._editor.remember(messages)

    def say(self, text: str, *, dim: bool = False) -> None:
        """Words of our own, on standard output."""
        self._print(text, sys.stdout, "dim" if dim else "")

    def notice(self, text: str) -> None:
        """A dim line beside the conversation; on standard error when standard output is piped."""
        self._print(text, self._notices, "dim")

    def error(self, text: str) -> None:
        """One line on standard error."""
        self._print(" ".join(text.splitlines()), sys.stderr, "red")

    def transcript(
        self, messages: Iterable[tuple[str, str]], *, dim: bool = False, most_lines: int = 0
    ) -> None:
        """Messages as they stood on the screen: pairs of role (`user` or `assistant`) and text.

        Of an answer of more than `most_lines` lines (0: no limit), only the last ones are shown.
        """
        for number, (role, text) in enumerate(messages):
            text = self._shortened(text, most_lines)
            if role == "user":
                above = "\n" if number else ""
                self.say(above + "> " + text.replace("\n", "\n  "), dim=dim)
            elif self.drawn:
                from terminal.answer import Answer

                self._console(sys.stdout).print(Answer(clean(text), "dim" if dim else ""))
            else:
                self.say(text)

    def _shortened(self, text: str, most_lines: int) -> str:
        lines = text.splitlines()
        if not most_lines or len(lines) <= most_lines:
            return text
        above = len(lines) - most_lines
        self.notice(f"… {above} lines above; /history shows all")
        return "\n".join(lines[-most_lines:])

    @contextlib.asynccontextmanager
    async def waiting(self, phrase: str) -> AsyncIterator[None]:
        """A spinner beside the block, once it takes longer than a third of a second."""

        async def spin() -> None:
            await asyncio.sleep(0.33)
            with self._console(sys.stdout).status(phrase):
                await asyncio.Event().wait()

        spinning = asyncio.create_task(spin()) if self.drawn else None
        try:
            yield
        finally:
            if spinning:
                spinning.cancel()
                await asyncio.wait({spinning})

    def inspect(self, found: Inspection) -> None:
        """Draw what MongoDB holds for a conversation."""
        from terminal.inspect import draw

        console = self._console(sys.stdout)
        with console.capture() as page:
            draw(console, found)
        self._write(page.get(), sys.stdout)

    async def show(
        self, events: AsyncIterator[Event], phrases: Mapping[str, str]
    ) -> ApprovalNeeded | None:
        """Draw one answer while it is written; returns the approval that it now waits for.

        `phrases` says what each tool does: `list_orders`: `Looking up your orders`. What `events`
        raises goes to the caller, with all that was said before it on the screen for good.
        """
        approval = None
        with self._hidden_keys(), self._answer() as answer:
            async for event in events:
                match event:
                    case Text(delta):
                        answer.text(clean(delta))
                    case HandedOff(agent):
                        answer.note(f"→ {clean(agent)}")
                        answer.wait(f"{clean(agent)} is thinking")
                    case ToolStarted(tool):
                        phrase = phrases.get(tool) or tool.replace("_", " ").capitalize()
                        answer.doing(clean(phrase))
                    case Waiting():
                        answer.doing(
                            "Another terminal is answering in this conversation; waiting for it."
                        )
                    case Settled(done=True, text=text):
                        answer.note(f"· {clean(text)}")
                    case Settled(text=text):
                        answer.text(f"{clean(text)}\n\n")
                    case QuestionLost():
                        answer.note(
                            "An earlier question can no longer be answered; please ask again."
                        )
                    case Stopped():
                        answer.note("Stopped. Ask something else, or Ctrl-D to leave.")
                    case ApprovalNeeded():
                        approval = event
        return approval

    @contextlib.contextmanager
    def interrupts(self, stop: Callable[[], object]) -> Iterator[None]:
        """For as long as it lasts, Ctrl-C calls `stop` and raises nothing.

        Where standard input is no terminal, Ctrl-C keeps its meaning: the program ends.
        """
        if not self.interactive:
            yield
            return
        loop = asyncio.get_running_loop()

        def on_ctrl_c(*_: object) -> None:
            loop.call_soon_threadsafe(stop)

        # Not loop.add_signal_handler: prompt_toolkit removes that one at the end of its prompt.
        before = signal.signal(signal.SIGINT, on_ctrl_c)
        awake = asyncio.create_task(_stay_awake())
        try:
            yield
        finally:
            awake.cancel()
            signal.signal(signal.SIGINT, before)

    def hang_up(self) -> None:
        """Once standard output takes no more (`| head -1`): what is still said goes nowhere."""
        nobody = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nobody, stream.fileno())

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console

        return Console(file=stream, force_terminal=self.drawn, force_interactive=self.drawn)

    def _answer(self) -> LiveAnswer | PlainAnswer:
        if not self.drawn:
            return PlainAnswer(lambda text: self._write(text, sys.stdout), self.notice)
        from terminal.answer import LiveAnswer

        return LiveAnswer(self._console(sys.stdout))

    def _print(self, text: str, stream: TextIO, style: str = "") -> None:
        if self.drawn and stream.isatty():
            from rich.text import Text as Words

            self._console(stream).print(Words(clean(text), style))
        else:
            self._write(clean(text) + "\n", stream)

    def _write(self, text: str, stream: TextIO) -> None:
        stream.write(text if self._unicode else text.translate(IN_ASCII))
        stream.flush()

    async def _read_line(self, prompt: str, *, ctrl_c_clears: bool = True) -> str:
        """A line from a pipe, or from a terminal that is too simple for a line editor."""
        loop = asyncio.get_running_loop()
        interrupted: asyncio.Future[bytes] = loop.create_future()

        def on_ctrl_c() -> None:
            if ctrl_c_clears:
                self._write("\n" + prompt, self._prompts)
            elif not interrupted.done():
                interrupted.set_result(b"")

        if self._reading is None:
            self._reading = loop.create_future()
            # In a daemon thread: input() and to_thread() keep Ctrl-C waiting for Enter.
            threading.Thread(target=_read, args=(loop, self._reading), daemon=True).start()
        with self.interrupts(on_ctrl_c):
            self._write(prompt, self._prompts)
            await asyncio.wait({self._reading, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        if interrupted.done():  # what is being read belongs to the next prompt
            self._write("\n", self._prompts)
            raise KeyboardInterrupt
        line, self._reading = self._reading.result(), None
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not line or not self.interactive:
            # What a terminal echoes: a session in a pipe reads like one on the screen.
            self._write(clean(text) + "\n", self._prompts)
        if not line:
            raise EOFError
        return text

    def _forget_typed_keys(self) -> None:
        if not self.interactive:
            return
        if self._editor:
            self._editor.forget()
        termios.tcflush(sys.stdin, termios.TCIFLUSH)

    @contextlib.contextmanager
    def _hidden_keys(self) -> Iterator[None]:
        """Keys typed into an answer do not show in it; they are for the next prompt."""
        if not self._editor:
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


async def _stay_awake() -> None:
    # A signal that comes in the moment before the loop sleeps is noticed when it wakes.
    while True:
        await asyncio.sleep(0.1)


def _read(loop: asyncio.AbstractEventLoop, line: asyncio.Future[bytes]) -> None:
    """Read one line of standard input in a thread; at the end of input it is empty."""

    def deliver() -> None:
        if not line.cancelled():
            line.set_result(read)

    read = b""
    if sys.stdin is not None:
        # Unbuffered: a thread that waits in sys.stdin holds its lock, and Python aborts at exit.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
            read = stdin.readline()
    with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
        loop.call_soon_threadsafe(deliver)


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding)
    except UnicodeError:
        return False
    return True
