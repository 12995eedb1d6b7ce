"""A terminal that is drawn upon in place: captions, or a whole screen; given back as it was, whatever ends us.

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
from typing import Any, Self, TypeAlias

from mpengine.cli.formats.base import Drawn
from mpengine.client.position import Hole
from mpengine.shared.messages import Published
from mpengine.shared.standard_streams import drop_output, terminal_size, write_text
from mpengine.shared.text import beginning

# A terminal that was stopped (Ctrl-S) takes nothing: we do not wait for it in order to end.
_END_LIMIT_S = 1.0
# Another screen, without a cursor; what is too wide by the terminal's own measure is cut, and does not wrap.
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _NEXT_LINE = "\x1b[H", "\x1b[K\r\n"
_CLEAR_BELOW = "\x1b[J"

_Handler: TypeAlias = Callable[[int, FrameType | None], None]


class _Handlers:
    """Handlers of signals while it lasts; what was set before comes back after them."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def set(self, handler: _Handler, *numbers: signal.Signals) -> None:
        """Have `handler` called, but not for a signal that is ignored, as SIGHUP is under nohup: that stays so."""
        for number in numbers:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, handler)

    def restore(self) -> None:
        """Set what was set before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _let_happen(number: int) -> None:
    """Have the signal do what it does to a program that knows nothing of it."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class Live:
    """A terminal on which captions are shown: drawn again when its size changes, and ended well by signals."""

    def __init__(self, captions: Drawn) -> None:
        self._captions = captions
        self._is_writing = self._is_stale = False
        self._handlers = _Handlers()

    def __enter__(self) -> Self:
        self._handlers.set(self._resized, signal.SIGWINCH)
        self._handlers.set(self._end, signal.SIGTERM, signal.SIGHUP)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._handlers.restore()
        if _takes_output():
            write_text(self._captions.finish())
        else:
            drop_output()

    def show(self, message: Published | Hole | None) -> None:
        """Write what `message` changes."""
        self._write(lambda: self._captions.show(message))

    def _write(self, make: Callable[[], str]) -> None:
        self._is_writing = True
        try:
            write_text(make())
            while self._is_stale:
                self._is_stale = False
                write_text(self._captions.again())
        finally:
            self._is_writing = False

    def _resized(self, *_: object) -> None:
        if self._is_writing:  # whoever writes sees that there is more to do
            self._is_stale = True
        else:
            self._write(self._captions.again)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """Past Python's buffer, which may be in use."""
        with contextlib.suppress(OSError):
            if _takes_output():
                os.write(sys.stdout.fileno(), self._captions.finish().encode(errors="replace"))
        _let_happen(number)


class Screen:
    """A terminal's screen, taken at the first `show` and given back at the exit, by signals too."""

    def __init__(self) -> None:
        self._lines: Sequence[str] = ()
        self._is_taken = False
        self._is_drawing = self._is_stale = False
        self._handlers = _Handlers()

    def __enter__(self) -> Self:
        self._handlers.set(self._interrupt, signal.SIGINT)
        self._handlers.set(self._end, signal.SIGTERM, signal.SIGHUP)
        self._handlers.set(self._suspend, signal.SIGTSTP)
        self._handlers.set(self._resized, signal.SIGWINCH)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._give_back()
        self._handlers.restore()

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
        with contextlib.suppress(OSError):  # it is gone
            if _takes_output():
                os.write(sys.stdout.fileno(), _LEAVE)

    # Signals

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not come in between
        raise KeyboardInterrupt

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        _let_happen(number)

    def _suspend(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its screen, until somebody lets us go on."""
        self._give_back()
        _let_happen(number)
        signal.signal(number, self._suspend)
        self._resized()

    def _resized(self, *_: object) -> None:
        if self._lines:
            self._draw()


def drawing(lines: Sequence[str], columns: int, rows: int) -> str:
    """What to write so that a terminal of that size shows `lines` and nothing else."""
    return _HOME + _NEXT_LINE.join(beginning(line, columns) for line in lines[:rows]) + _CLEAR_BELOW


def _takes_output() -> bool:
    """Whether the terminal does; one that has gone does, too, and tells at the write."""
    return bool(select.select([], [sys.stdout.fileno()], [], _END_LIMIT_S)[1])
