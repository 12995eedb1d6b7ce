"""What a final without times covers: a guess from what had been sent and when. Pure.

A final tells of audio that was sent a while before it. It acknowledges what had been sent `hold_s` before it came, and
never more than had been sent when the final before it came: that much is behind it for certain, unless the proxy is
slower than `hold_s`.
"""

import collections
from typing import NamedTuple

_STEP_S = 0.1


class Estimate(NamedTuple):
    """Samples [first, end) that the final probably tells of; all before `acknowledges` is covered."""

    first: int
    end: int
    acknowledges: int


class UntimedFinals:
    """Remembers what was sent when, for one connection that began at `first_sample`.

    What is sent before second `next_step` it need not know. `end_sample` is the end of all that has been sent.
    """

    def __init__(self, hold_s: float, first_sample: int) -> None:
        self._hold_s = hold_s
        self._sent: collections.deque[tuple[float, int]] = collections.deque()
        self._held = first_sample
        self._at_last_final = first_sample
        self.next_step = 0.0

    def sent(self, end_sample: int, now: float) -> None:
        """Everything before `end_sample` has been sent."""
        self.next_step = now + _STEP_S
        self._sent.append((now, end_sample))
        self._forget(now)

    def interim(self, end_sample: int) -> Estimate:
        """Where an interim probably belongs."""
        return Estimate(self._at_last_final, end_sample, self._at_last_final)

    def final(self, end_sample: int, now: float) -> Estimate:
        """A final came."""
        self._forget(now)
        first, self._at_last_final = self._at_last_final, end_sample
        return Estimate(first, end_sample, min(self._held, first))

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - self._hold_s:
            self._held = self._sent.popleft()[1]
