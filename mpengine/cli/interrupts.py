"""Ctrl-C while a command loads its modules: it ends the process at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Until the end of the block, Ctrl-C ends the process, as SIGTERM does: by the signal, without a word.

    For a block that only loads modules. To load those of a command takes seconds on a busy machine, too long to have
    Ctrl-C wait; and a handler that raises between two instructions of msgspec, which makes a type, crashes the process.
    An ignored SIGINT stays ignored. In other threads than the main one this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
