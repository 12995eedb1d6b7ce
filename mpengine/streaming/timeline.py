"""The map between a connection's seconds and the run's samples. Pure, exact to the sample.

A recogniser's clock starts at 0 with every connection and counts only what was sent. What was sent is pieces: each
begins at some sample of the run, and where one ends and the next begins (a seam), samples are missing. A time that
falls on a seam is the end of the piece before, or the start of the piece after, by what it is asked for.
"""

import bisect
import math
from collections.abc import Sequence

_LEAST_TOLERANCE_S = 0.001


class Timeline:
    """What was sent on one connection: `sent` samples, the last one before `end_sample` (None before the first)."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._begins: list[int] = []  # each piece's first sample, counted in samples sent on the connection
        self._firsts: list[int] = []  # the same sample's index on the run's clock
        self.sent = 0
        self.end_sample: int | None = None

    def sent_samples(self, first_sample: int, count: int) -> None:
        """`count` samples from `first_sample` on were sent, behind all before."""
        if first_sample != self.end_sample:
            self._begins.append(self.sent)
            self._firsts.append(first_sample)
        self.sent += count
        self.end_sample = first_sample + count

    def start(self, seconds: float) -> int:
        """The sample that starts at `seconds`."""
        return self.spans([(seconds, seconds)])[0][0]

    def end(self, seconds: float) -> int:
        """The sample before which something ends at `seconds`."""
        return self.spans([(seconds, seconds)])[0][1]

    def spans(self, times: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
        """Samples [first, end) for each start and end in seconds: of a message first, then of its words."""
        begins, firsts = self._begins, self._firsts
        if not begins:
            return [(0, 0)] * len(times)
        tolerance = self.tolerance(max(times[0][1], times[-1][1]))
        found = []
        for start_s, end_s in times:
            start, end = self._position(start_s, tolerance), self._position(end_s, tolerance)
            after = max(0, bisect.bisect_right(begins, start) - 1)
            before = max(0, bisect.bisect_left(begins, end) - 1)
            found.append((firsts[after] + max(0, start - begins[after]), firsts[before] + max(0, end - begins[before])))
        return found

    def covered(self, seconds: float) -> int:
        """The sample before which everything lies before `seconds`, rounded down: never more than the time says.

        A time a little after a seam is the seam's. One a little before the seam stays there: what lies between would
        be acknowledged though nobody said so.
        """
        begins = self._begins
        if not begins:
            return 0
        exact = max(0.0, min(seconds * self._rate, self.sent))
        piece = bisect.bisect_right(begins, exact) - 1
        is_seam = piece >= 0 and exact - begins[piece] <= self.tolerance(seconds)
        position = begins[piece] if is_seam else math.floor(exact)
        before = max(0, bisect.bisect_left(begins, position) - 1)
        return self._firsts[before] + max(0, position - begins[before])

    def tolerance(self, seconds: float) -> int:
        """Samples by which a time near `seconds` may be off, rounded up.

        Results carry float32 seconds: at one hour a step is 4 samples at 16 kHz, at ten hours 62.
        """
        _, exponent = math.frexp(max(0.0, min(seconds, self.sent / self._rate)))
        return math.ceil(max(_LEAST_TOLERANCE_S, math.ldexp(1.0, exponent - 24)) * self._rate)

    def forget_before(self, sample: int) -> None:
        """Drop the pieces that end at or before `sample`: no time in them will be asked for."""
        while len(self._begins) > 1 and self._firsts[0] + self._begins[1] - self._begins[0] <= sample:
            del self._begins[0], self._firsts[0]

    def _position(self, seconds: float, tolerance: int) -> int:
        """`seconds` in samples of this connection: never beyond what was sent, moved to a seam that is near."""
        exact = max(0.0, min(seconds * self._rate, self.sent))
        nearest = bisect.bisect_left(self._begins, exact)
        for seam in (*self._begins[max(0, nearest - 1) : nearest + 1], self.sent):
            if abs(seam - exact) <= tolerance:
                return seam
        return round(exact)
