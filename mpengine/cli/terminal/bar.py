"""A line at the end of standard error that is drawn again and again, on a terminal alone. The main thread owns it."""

import sys
import time
from collections.abc import Callable

from mpengine.cli.terminal.bar_letters import BLOCKS
from mpengine.cli.terminal.progress import Progress
from mpengine.shared.standard_streams import can_show, is_dumb, terminal_size
from mpengine.shared.text import beginning, harmless

# Without wrapping: a terminal may find a letter wider than we do.
_CLEAR, _CUT, _WRAP = "\r\x1b[K", "\x1b[?7l", "\x1b[?7h"


class Bar:
    """The line. Other output to the same terminal goes between `clear` and `draw`."""

    def __init__(self) -> None:
        self._is_shown = is_possible()
        self._line = ""

    def show(self, line: str) -> None:
        """Draw `line` in place of the one before it."""
        self._line = line
        self.draw()

    def draw(self) -> None:
        """Draw the line again, cut to the terminal's present width."""
        if self._is_shown and self._line:
            self._write(redrawn(self._line))

    def clear(self) -> None:
        """Take the line away, until `draw` or `show`."""
        if self._is_shown and self._line:
            self._write(_CLEAR)

    def end(self) -> None:
        """Take the line away for good."""
        self.clear()
        self._line = ""

    def say(self, text: str) -> None:
        """Write a line of text above it."""
        self.clear()
        try:
            sys.stderr.write(f"mpengine: {harmless(text)}\n")
        except OSError:
            self._is_shown = False
        self.draw()

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # the terminal is gone
            self._is_shown = False


def below(name: str, draw: Callable[[str], None]) -> Callable[[float, float], None]:
    """A function that is told how many seconds are done, and of how many. It gives `draw` the text that draws the line.

    `name` is that of the recording.
    """
    progress = Progress(name)

    def show(done_s: float, total_s: float) -> None:
        progress.heard(time.monotonic(), done_s, total_s)
        draw(redrawn(progress.line(columns(), is_ascii=is_ascii())))

    return show


def is_possible() -> bool:
    """Whether standard error is a terminal on which a line can be drawn again."""
    return sys.stderr.isatty() and not is_dumb()


def is_ascii() -> bool:
    """Whether the terminal's encoding lacks the blocks of a bar."""
    return not can_show("".join(BLOCKS), sys.stderr)


def columns() -> int:
    """The width of the terminal at standard error; 80 where it is unknown."""
    return terminal_size(sys.stderr).columns


def redrawn(line: str) -> str:
    """The text that draws `line` in place of the present one, and leaves the cursor at its beginning."""
    return f"{_CLEAR}{_CUT}{beginning(harmless(line), columns())}{_WRAP}\r"
