"""Reads the clocks of the machine at one moment, as well as it can be done one after the other."""

import time

from mpengine.shared.clocks import Clocks

# On a busy machine another process may run between two readings. The quickest of a few readings is the best one.
_MOST_TRIES = 5
_QUICK_NS = 100_000
# It goes on while the machine is suspended. On macOS that is the name of the clock that does.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read() -> Clocks:
    """How far UTC is ahead of the monotonic clock, and the suspensions so far."""
    least_ns, found = -1, Clocks()
    for _ in range(_MOST_TRIES):
        before_ns = time.monotonic_ns()
        utc_ns, steady_ns = time.time_ns(), time.clock_gettime_ns(_STEADY)
        took_ns = time.monotonic_ns() - before_ns
        if least_ns < 0 or took_ns < least_ns:
            middle_ns = before_ns + took_ns // 2
            least_ns, found = took_ns, Clocks(utc_ns - middle_ns, steady_ns - middle_ns)
        if took_ns <= _QUICK_NS:
            break
    return found
