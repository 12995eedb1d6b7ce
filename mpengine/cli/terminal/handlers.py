"""Signal handlers that a command has for a while. An ignored signal, as SIGHUP under nohup, stays ignored."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], None]


class Handlers:
    """Signal handlers that are set for a while; `restore` sets the previous ones again."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def set(self, handler: Handler, *numbers: signal.Signals) -> None:
        """Set `handler` for the signals `numbers`, unless they are ignored."""
        for number in numbers:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, handler)

    def restore(self) -> None:
        """Set the previous handlers again."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Meanwhile SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does: what is open ends in order."""
    handlers = Handlers()
    handlers.set(_interrupt, signal.SIGTERM, signal.SIGHUP)
    try:
        yield
    finally:
        handlers.restore()


@contextmanager
def held() -> Iterator[None]:
    """Until the end of the block, which is short, the signals of `ending_in_order` wait, and so does Ctrl-C.

    For what has to be noted before it can be given back, as a process that was started.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
