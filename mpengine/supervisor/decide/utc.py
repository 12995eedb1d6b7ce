"""From samples to UTC: interpolation between anchors that capture renews every few seconds. Pure.

A crystal may be off by seconds a day, and a clock may be stepped: between two anchors the line between them counts,
outside of them the nominal rate.
"""

import bisect

_KEPT_ANCHORS = 1000


class Anchors:
    """Pairs of (sample, UTC in nanoseconds), in order of samples."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples: list[int] = []
        self._times_ns: list[int] = []

    def add(self, sample: int, utc_ns: int) -> None:
        """`sample` was captured at `utc_ns`; older anchors beyond a bound are forgotten."""
        if self._samples and sample <= self._samples[-1]:
            return
        self._samples.append(sample)
        self._times_ns.append(utc_ns)
        if len(self._samples) > _KEPT_ANCHORS:
            del self._samples[0], self._times_ns[0]

    def utc_ns(self, sample: int) -> int | None:
        """When `sample` was captured; None before the first anchor is known."""
        if not self._samples:
            return None
        after = bisect.bisect_right(self._samples, sample)
        if 0 < after < len(self._samples):
            first, end = self._samples[after - 1], self._samples[after]
            begin_ns = self._times_ns[after - 1]
            return begin_ns + (self._times_ns[after] - begin_ns) * (sample - first) // (end - first)
        nearest = max(0, after - 1)
        return self._times_ns[nearest] + (sample - self._samples[nearest]) * 1_000_000_000 // self._rate
