"""Tells when samples were captured: places of the sample clock in UTC, by a reading of the machine's clocks."""

import time

from mpengine.capture.clock import SampleClock
from mpengine.processes.loop import ControlChannel
from mpengine.shared import control
from mpengine.shared.clocks import Clocks

_EVERY_S = 10.0

# On a busy machine another process may run between two readings. The quickest of a few readings is the best one.
_MOST_TRIES = 5
_QUICK_NS = 100_000
# It goes on while the machine is suspended. On macOS that is the name of the clock that does.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Anchoring:
    """Tells the anchors of one capture process."""

    def __init__(self, channel: ControlChannel) -> None:
        self._control = channel
        self._next = 0.0
        self._told = Clocks()  # of the last anchor

    def tell(self, clock: SampleClock, now: float) -> None:
        """Tell when the last sample was captured: every few seconds, and at once when a clock has jumped."""
        clocks = read_clocks()
        if now < self._next and not clocks.jumped_since(self._told):
            return
        arrival_ns = clock.anchor_ns()
        if arrival_ns is not None:
            self._next, self._told = now + _EVERY_S, clocks
            utc_ns = arrival_ns + clocks.utc_ahead_ns
            self._control.tell(control.Anchor(sample=clock.next_sample, utc_ns=utc_ns, clocks=clocks))


def read_clocks() -> Clocks:
    """How far UTC is ahead of the monotonic clock, and the suspensions so far, read one after the other."""
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
