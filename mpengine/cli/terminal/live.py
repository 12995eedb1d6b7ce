"""Captions on a terminal: drawn again when its size changes, and ended well by signals.

One thread. Handlers of signals write too, between any two instructions of it.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from mpengine.cli.formats.captions import Captions
from mpengine.client.position import Hole
from mpengine.shared.messages import Published
from mpengine.shared.standard_streams import drop_output, write_text

# A terminal that was stopped (Ctrl-S) takes nothing: we do not wait for it in order to end.
_END_LIMIT_S = 1.0


class Live:
    """A terminal on which captions are shown."""

    def __init__(self, captions: Captions) -> None:
        self._captions = captions
        self._is_writing = self._is_stale = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handle(signal.SIGWINCH, self._resized)
        self._handle(signal.SIGTERM, self._end)
        self._handle(signal.SIGHUP, self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
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

    def _handle(self, number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.getsignal(number)
        if before is not signal.SIG_IGN:  # as under nohup, where it shall be ignored
            self._before[number] = before
            signal.signal(number, handler)

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
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _takes_output() -> bool:
    """Whether the terminal does; one that has gone does, too, and tells at the write."""
    return bool(select.select([], [sys.stdout.fileno()], [], _END_LIMIT_S)[1])
