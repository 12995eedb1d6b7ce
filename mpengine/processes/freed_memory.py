"""Freed memory goes back to the system: what only the start needed, and what a crowd or a flood has left.

The C library keeps what is freed in the middle of its heaps, for later. Of a flood of large messages that is several
times what was ever in use at once, and it stays for ever.
"""

import os
from collections.abc import Callable

from mpengine.processes import tricks

# By then the start has freed its memory: libraries, the device, TLS and its certificates.
_STARTED_S = 3.0
_LOOK_S = 10.0
# A process that has grown by less is left alone: it would soon need the memory again.
_MUCH_MB = 4.0
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_MOST_BYTES = 256


def own_mb() -> float:
    """The memory that this process has for itself alone, without files; 0 without /proc."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0.0
    try:
        _, resident, of_files = os.read(fd, _MOST_BYTES).split()[:3]
    finally:
        os.close(fd)
    return (int(resident) - int(of_files)) * _PAGE_MB


class FreedMemory:
    """Of a process that starts `now`, in monotonic seconds."""

    def __init__(
        self, now: float, *, measure: Callable[[], float] = own_mb, give_back: Callable[[], None] = tricks.give_back
    ) -> None:
        self._measure, self._give_back = measure, give_back
        self._look_at = now + _STARTED_S
        self._least_mb: float | None = None

    def look(self, now: float) -> None:
        """Give it back if there may be much of it. To be called in any turn: it looks every few seconds."""
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_S
        size_mb = self._measure()
        if self._least_mb is None or size_mb > self._least_mb + _MUCH_MB:
            self._give_back()
            size_mb = self._measure()
        self._least_mb = size_mb if self._least_mb is None else min(size_mb, self._least_mb)
