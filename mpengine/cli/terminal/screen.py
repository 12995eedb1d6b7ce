"""The terminal as a whole: lines drawn over and over in place, and all given back as it was, whatever ends us.

One thread. Handlers of signals draw too, between any two instructions of it, also while a question waits for its
answer.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from mpengine.shared.standard_streams import terminal_size, write_text
from mpengine.shared.text import beginning

# Another screen, without a cursor; what is too wide by the terminal's own measure is cut, and does not wrap.
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _NEXT_LINE = "\x1b[H", "\x1b[K\r\n"
_CLEAR_BELOW = "\x1b[J"
# A terminal that was stopped (Ctrl-S) takes nothing: we do not wait for it in order to end.
_LEAVE_LIMIT_S = 1.0


class Screen:
    """A terminal's screen, taken at the first `show` and given back at the exit, by signals too."""

    def __init__(self) -> None:
        self._lines: Sequence[str] = ()
        self._is_taken = False
        self._is_drawing = self._is_stale = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handle(signal.SIGINT, self._interrupt)
        self._handle(signal.SIGTERM, self._end)
        self._handle(signal.SIGHUP, self._end)
        self._handle(signal.SIGTSTP, self._suspend)
        self._handle(signal.SIGWINCH, self._resized)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._give_back()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def show(self, lines: Sequence[str]) -> None:
        """Draw `lines` in place of what is there, as much of them as has room."""
        self._lines = lines
        self._draw()

    def _draw(self) -> None:
        if not self._is_taken:
            self._take()
        self._is_stale = True
        if self._is_drawing:  # this is a signal's handler: who draws sees that it has to do so again
            return
        self._is_drawing = True
        try:
            while self._is_stale:
                self._is_stale = False
                columns, rows = terminal_size()
                write_text(drawing(self._lines, columns, rows))
        finally:
            self._is_drawing = False

    # Past Python's buffer, which may be in use when a signal comes.

    def _take(self) -> None:
        self._is_taken = True
        with contextlib.suppress(OSError):  # drawing will tell
            os.write(sys.stdout.fileno(), _ENTER)

    def _give_back(self) -> None:
        if not self._is_taken:
            return
        self._is_taken = False
        terminal = sys.stdout.fileno()
        with contextlib.suppress(OSError):  # it is gone
            if select.select([], [terminal], [], _LEAVE_LIMIT_S)[1]:
                os.write(terminal, _LEAVE)

    # Signals

    def _handle(self, number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.getsignal(number)
        if before is not signal.SIG_IGN:  # as under nohup, where it shall be ignored
            self._before[number] = before
            signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not come in between
        raise KeyboardInterrupt

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _suspend(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its screen, until somebody lets us go on."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, self._suspend)
        self._resized()

    def _resized(self, *_: object) -> None:
        if self._lines:
            self._draw()


def drawing(lines: Sequence[str], columns: int, rows: int) -> str:
    """What to write so that a terminal of that size shows `lines` and nothing else."""
    return _HOME + _NEXT_LINE.join(beginning(line, columns) for line in lines[:rows]) + _CLEAR_BELOW
