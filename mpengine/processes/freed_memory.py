"""Freed memory goes back to the system: what only the start needed, and what a crowd or a flood has left.

The C library keeps what is freed in the middle of its heaps, for later. After a minute of hostile clients and large
messages that was 25 of the supervisor's 41 MB, for ever. With large blocks outside of the heap it ended at 17 MB, and
the peak was 34 MB instead of 45. What small blocks leave has to be given back now and then.
"""

import os
from collections.abc import Callable

from mpengine.processes import tricks

# By then the start has freed its memory: libraries, the device, TLS and its certificates.
_STARTED_S = 3.0
# After a vain attempt, which may take 10 ms, the wait for the next one doubles.
_LOOK_S, _LONGEST_S = 10.0, 80.0
# A process that has grown by less is left alone: it would soon need the memory again.
_MUCH_MB = 4.0
_VAIN_MB = 1.0
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
    """Looks after the freed memory of one process, which starts at `now`, in monotonic seconds."""

    def __init__(
        self, now: float, *, measure: Callable[[], float] = own_mb, give_back: Callable[[], None] = tricks.give_back
    ) -> None:
        self._measure, self._give_back = measure, give_back
        tricks.map_large_blocks()
        self._look_at = now + _STARTED_S
        self._wait_s = _LOOK_S
        self._least_mb: float | None = None

    def look(self, now: float) -> None:
        """Give freed memory back if there may be much of it. Call it in each turn: it measures every few seconds."""
        if now < self._look_at:
            return
        is_first = self._least_mb is None
        before_mb = size_mb = self._measure()
        least_mb = before_mb if self._least_mb is None else self._least_mb
        wait_s = _LOOK_S
        if is_first or before_mb > least_mb + _MUCH_MB:
            self._give_back()
            size_mb = self._measure()
            if not is_first and before_mb - size_mb < _VAIN_MB:
                wait_s = min(self._wait_s * 2, _LONGEST_S)
        self._least_mb = min(size_mb, least_mb)
        self._wait_s = wait_s
        self._look_at = now + wait_s
