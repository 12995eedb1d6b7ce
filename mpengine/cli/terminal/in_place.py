"""Drawing in place on a terminal: captions, or a whole screen. Any exit and any signal leave the terminal as it was.

There is one thread. Signal handlers draw too, between any two of its instructions, also while it waits for an answer.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Self

from mpengine.cli.terminal.handlers import Handlers
from mpengine.client.position import Hole
from mpengine.formats.base import Drawn
from mpengine.shared.messages import Published
from mpengine.shared.standard_streams import drop_output, is_dumb, terminal_size, wants_colours, write_text
from mpengine.shared.text import wrapped

# A stopped terminal (Ctrl-S) takes no output. An exit does not wait longer for it.
_END_LIMIT_S = 1.0
# The alternate screen, without cursor and without wrapping: a terminal that has just become narrow must not scroll.
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _NEXT_LINE = "\x1b[H", "\x1b[K\r\n"
_CLEAR_BELOW = "\x1b[J"
_CLEAR_LINE = "\r\x1b[J"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def _let_happen(number: int) -> None:
    """Let the signal have its default effect."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class Live:
    """Shows captions on a terminal, draws them again when its size changes, and finishes them at a signal."""

    def __init__(self, captions: Drawn) -> None:
        self._captions = captions
        self._is_writing = self._is_stale = self._is_interrupted = False
        self._handlers = Handlers()

    def __enter__(self) -> Self:
        self._handlers.set(self._interrupt, signal.SIGINT)
        self._handlers.set(self._resized, signal.SIGWINCH)
        self._handlers.set(self._end, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._handlers.restore()
        if _takes_output():
            write_text(self._captions.finish())
        else:
            drop_output()

    def show(self, message: Published | Hole | None, engine: str = "") -> None:
        """Draw `message` of `engine`."""
        self._write(lambda: self._captions.show(message, engine))

    def notice(self, text: str) -> None:
        """Show a line on standard error, above the interim."""

        def told() -> str:
            write_notice(text, clear=_CLEAR_LINE)
            return self._captions.again()

        self._write(told)

    def _write(self, make: Callable[[], str]) -> None:
        self._is_writing = True
        try:
            write_text(make())
            while self._is_stale:
                self._is_stale = False
                write_text(self._captions.again())
        finally:
            self._is_writing = False
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, *_: object) -> None:
        """Ctrl-C: what is being drawn becomes whole first, unless the terminal takes nothing. A second is at once."""
        if self._is_interrupted or not self._is_writing or not _takes_output(0.0):
            raise KeyboardInterrupt
        self._is_interrupted = True

    def _resized(self, *_: object) -> None:
        if self._is_writing:  # then `_write`, which this handler has interrupted, draws again
            self._is_stale = True
        else:
            self._write(self._captions.again)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """Write past Python's buffer, which may be in use."""
        with contextlib.suppress(OSError):
            if _takes_output():
                os.write(sys.stdout.fileno(), self._captions.finish().encode(errors="replace"))
        _let_happen(number)


class Screen:
    """A terminal's screen: taken at the first `show`, given back at the exit, also by signals."""

    def __init__(self) -> None:
        self._make: Callable[[], Sequence[str]] | None = None
        self._is_taken = False
        self._is_drawing = self._is_stale = False
        self._handlers = Handlers()

    def __enter__(self) -> Self:
        self._handlers.set(self._interrupt, signal.SIGINT)
        self._handlers.set(self._end, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
        self._handlers.set(self._suspend, signal.SIGTSTP)
        self._handlers.set(self._resized, signal.SIGWINCH)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._give_back()
        self._handlers.restore()

    def show(self, make: Callable[[], Sequence[str]]) -> None:
        """Draw the lines that `make` returns, and again whenever the size changes: they fit its width."""
        self._make = make
        self._draw()

    def _draw(self) -> None:
        if not self._is_taken:
            self._take()
        self._is_stale = True
        if self._is_drawing:  # this is a signal handler: the loop below, which it has interrupted, draws again
            return
        self._is_drawing = True
        try:
            while self._is_stale:
                self._is_stale = False
                write_text(screenful(self._make() if self._make else (), terminal_size().lines))
        finally:
            self._is_drawing = False

    # Both write past Python's buffer, which may be in use when a signal comes.

    def _take(self) -> None:
        self._is_taken = True
        with contextlib.suppress(OSError):  # drawing raises it again
            os.write(sys.stdout.fileno(), _ENTER)

    def _give_back(self) -> None:
        if not self._is_taken:
            return
        self._is_taken = False
        with contextlib.suppress(OSError):  # the terminal is gone
            if _takes_output():
                os.write(sys.stdout.fileno(), _LEAVE)

    # Signals

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the exit
        raise KeyboardInterrupt

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        _let_happen(number)

    def _suspend(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: give the screen to the shell until this process is continued."""
        self._give_back()
        _let_happen(number)
        signal.signal(number, self._suspend)
        self._resized()

    def _resized(self, *_: object) -> None:
        if self._make is not None:
            self._draw()


def write_notice(text: str, *, clear: str = "") -> None:
    """Write a dim line to standard error, if that is a terminal; broken at words. `clear` comes before it."""
    if not sys.stderr.isatty():
        return
    dim, plain = (_DIM, _PLAIN) if wants_colours() and not is_dumb() else ("", "")
    lines = "".join(f"{dim}{row}{plain}\n" for row in wrapped(text, terminal_size(sys.stderr).columns))
    with contextlib.suppress(OSError):  # it is gone; standard output decides whether that is the end
        sys.stderr.write(("" if is_dumb() else clear) + lines)
        sys.stderr.flush()


def screenful(lines: Sequence[str], rows: int) -> str:
    """The text that makes a terminal of that many rows show `lines` and nothing else. It says how many are left out."""
    if len(lines) > rows:
        left = len(lines) - rows + 1
        lines = [*lines[: rows - 1], f"({left} more lines)"]
    return _HOME + _NEXT_LINE.join(lines) + _CLEAR_BELOW


def _takes_output(limit_s: float = _END_LIMIT_S) -> bool:
    """Whether the terminal takes output soon. So does one that has gone: the write raises then."""
    return bool(select.select([], [sys.stdout.fileno()], [], limit_s)[1])
