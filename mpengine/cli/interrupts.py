"""Ctrl-C while a command loads its modules: it is heeded behind them."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Until the end of the block, Ctrl-C waits: msgspec crashes the process where one interrupts the making of a type.

    For a block that ends soon, in the main thread. A child process that is started in the block has SIGINT blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
