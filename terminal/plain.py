"""One answer in a pipe or on a simple terminal, where nothing may move."""

from __future__ import annotations

from collections.abc import Callable


class PlainAnswer:
    """The Markdown as it comes, with notices between."""

    def __init__(self, write: Callable[[str], None], notice: Callable[[str], None]) -> None:
        self._write = write
        self._notice = notice
        self._line_open = False

    def __enter__(self) -> PlainAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def text(self, delta: str) -> None:
        """The next piece of the answer."""
        if delta.startswith("\n\n") and not self._line_open:
            delta = delta[1:]  # a note has ended the line
        if delta:
            self._write(delta)
            self._line_open = not delta.endswith("\n")

    def note(self, line: str) -> None:
        """A line of our own, below all that was said so far."""
        self._end_line()
        self._notice(line)

    def doing(self, phrase: str) -> None:
        """What is being done now."""
        self.note(f"· {phrase}")

    def wait(self, phrase: str) -> None:
        """Nothing to see: only a spinner says so."""

    def _end_line(self) -> None:
        if self._line_open:
            self._line_open = False
            self._write("\n")
