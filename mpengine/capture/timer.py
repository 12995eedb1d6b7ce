"""A timer as a descriptor, which the work loop waits for beside its sockets. Linux alone has it.

Python has `os.timerfd_create` from 3.13 on.
"""

import ctypes
import os
import sys

_CLOCK_MONOTONIC = 1
_NS = 1_000_000_000
_COUNT_BYTES = 8


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("ns", ctypes.c_long))

    def __init__(self, duration_s: float) -> None:
        super().__init__(*divmod(int(duration_s * _NS), _NS))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("first", _Time))


def has_timers() -> bool:
    """Whether this system has such timers."""
    return sys.platform == "linux"


class Timer:
    """Readable at each tick, until `drain`. The main thread owns it."""

    def __init__(self) -> None:
        self._fd = -1  # for `close`, if there is no descriptor left
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def set(self, first_s: float, step_s: float) -> None:
        """Tick in `first_s` seconds, and each `step_s` from then on. 0 for `first_s`: never."""
        setting = _Setting(_Time(step_s), _Time(first_s))
        self._libc.timerfd_settime(self._fd, 0, ctypes.byref(setting), None)

    def drain(self) -> None:
        """Make it unreadable again."""
        try:
            os.read(self._fd, _COUNT_BYTES)
        except BlockingIOError:  # no tick since
            return

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
