"""The line editor on a real terminal: history, Tab, several lines in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import ConditionalCompleter, WordCompleter
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import DummyHistory, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.shortcuts import CompleteStyle


class LineEditor:
    """Reads one message at a time from the terminal."""

    def __init__(self) -> None:
        self._input = create_input()
        self._output = create_output(always_prefer_tty=True)
        self._history = InMemoryHistory()

    async def read(
        self, prompt: str, commands: Sequence[str] = (), *, ctrl_c_clears: bool = True
    ) -> str:
        """One message, in which Alt-Enter starts a new line.

        With `commands`, Tab completes them and the arrow keys bring back what was sent before.
        Raises EOFError on Ctrl-D, and KeyboardInterrupt unless Ctrl-C clears.
        """

        def completes() -> bool:
            return session.default_buffer.text.startswith("/")

        session: PromptSession[str] = PromptSession(
            [("bold", prompt)],
            input=self._input,
            output=self._output,
            history=self._history if commands else DummyHistory(),
            completer=ConditionalCompleter(
                WordCompleter(list(commands), sentence=True), Condition(completes)
            ),
            # The menu would reserve eight lines of the screen at every prompt.
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            reserve_space_for_menu=0,
            key_bindings=_keys(ctrl_c_clears),
            # Later lines begin below the first line's text, not below the prompt.
            prompt_continuation=lambda width, _, wrapped: "" if wrapped else " " * width,
            enable_suspend=True,
        )
        return await session.prompt_async()

    def remember(self, messages: Iterable[str]) -> None:
        """Let the arrow keys bring back `messages`, oldest first."""
        self._history = InMemoryHistory([*messages])

    def forget(self) -> None:
        """Drop the keys that were read together with the last message."""
        clear_typeahead(self._input)


def _keys(ctrl_c_clears: bool) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    if ctrl_c_clears:

        @keys.add("c-c", filter=has_focus(DEFAULT_BUFFER))
        @keys.add("<sigint>")
        def clear(event: KeyPressEvent) -> None:
            event.current_buffer.reset()

    return keys
