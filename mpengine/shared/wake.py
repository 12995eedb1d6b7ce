"""A wake-up: a descriptor that becomes readable when a signal handler or another thread wants to be noticed."""

import contextlib
import os

_MOST_AT_ONCE = 4096


class Wake:
    """Readable from the first `set` on, until `drain`.

    One thread waits for it and drains it. Any thread and any signal handler may call `set`: it takes no lock and never
    blocks. Only `close` and a `set` of another thread must not meet. An unreferenced wake-up closes itself.
    """

    def __init__(self) -> None:
        self._reader = self._writer = -1  # for `close`, if os.pipe fails
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._reader

    @property
    def signal_fd(self) -> int:
        """The descriptor for `signal.set_wakeup_fd`: with it each signal acts as a `set`."""
        return self._writer

    def set(self) -> None:
        """Wake the waiting thread. This does nothing after `close`."""
        with contextlib.suppress(OSError):
            os.write(self._writer, b"\0")

    def drain(self) -> None:
        """Make it unreadable again. After thousands of signals it may stay readable for one more turn."""
        with contextlib.suppress(BlockingIOError):  # nothing was set
            os.read(self._reader, _MOST_AT_ONCE)

    def close(self) -> None:
        """Close the descriptors."""
        reader, self._reader = self._reader, -1
        writer, self._writer = self._writer, -1
        for descriptor in (reader, writer):
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()
