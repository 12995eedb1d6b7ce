"""The map from a connection's seconds to the run's samples. Pure.

The timeline has the audio sent on the current connection, so that seconds of the connection become samples of the run.
"""

import bisect
import math
from collections.abc import Sequence

from mpengine.shared.ranges import Range

_LEAST_TOLERANCE_S = 0.001


class Timeline:
    """The map from a connection's seconds to the run's samples, exact to the sample.

    A recogniser's clock starts at 0 with every connection and counts only the audio sent. That audio is a row of
    pieces, and samples of the run are missing between two pieces. Their border is a seam. A start
    on a seam belongs to the piece after it, an end to the piece before it.

    `sent` samples were sent; they end before `end_sample` of the run (None: nothing sent). `is_whole`: without a seam.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._begins: list[int] = []  # each piece's first sample, by the count of samples sent
        self._firsts: list[int] = []  # the same sample on the run's clock
        self.sent = 0
        self.end_sample: int | None = None
        self.is_whole = True

    def sent_samples(self, first_sample: int, count: int) -> None:
        """`count` samples from `first_sample` on were sent, after all others."""
        if first_sample != self.end_sample:
            self._begins.append(self.sent)
            self._firsts.append(first_sample)
            self.is_whole = len(self._begins) == 1
        self.sent += count
        self.end_sample = first_sample + count

    def start(self, seconds: float) -> int:
        """The sample that starts at `seconds`."""
        return self.spans([(seconds, seconds)])[0][0]

    def end(self, seconds: float) -> int:
        """The sample before which a piece of audio ends that ends at `seconds`."""
        return self.spans([(seconds, seconds)])[0][1]

    def spans(self, times: Sequence[tuple[float, float]]) -> list[Range]:
        """Samples [first, end) for each start and end in seconds. The first pair is a message's; its words' follow."""
        begins, firsts = self._begins, self._firsts
        if not begins:
            return [Range(0, 0)] * len(times)
        tolerance = self.tolerance(max(times[0][1], times[-1][1]))
        found = []
        for start_s, end_s in times:
            start, end = self._position(start_s, tolerance), self._position(end_s, tolerance)
            after = max(0, bisect.bisect_right(begins, start) - 1)
            before = max(0, bisect.bisect_left(begins, end) - 1)
            first = firsts[after] + max(0, start - begins[after])
            found.append(Range(first, firsts[before] + max(0, end - begins[before])))
        return found

    def covered(self, seconds: float) -> int:
        """The end of the samples that lie before `seconds`, rounded down: no sample is covered too early.

        A time just after a seam means the seam. A time just before it does not: the samples between would be
        acknowledged, although no final covers them.
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
        """How many samples a time near `seconds` may be wrong, rounded up.

        Results have float32 seconds. One step is 4 samples of 16 kHz after an hour, and 62 after ten hours.
        """
        _, exponent = math.frexp(max(0.0, min(seconds, self.sent / self._rate)))
        return math.ceil(max(_LEAST_TOLERANCE_S, math.ldexp(1.0, exponent - 24)) * self._rate)

    def sides(self, first: int, end: int, least: int) -> list[Range]:
        """The samples [first, end) without their gaps of more than `least` samples."""
        found = []
        for number in range(max(1, bisect.bisect_right(self._firsts, first)), len(self._firsts)):
            if self._firsts[number] >= end:
                break
            before = self._firsts[number - 1] + self._begins[number] - self._begins[number - 1]
            if self._firsts[number] - before > least:
                found.append(Range(first, before))
                first = self._firsts[number]
        return [*found, Range(first, end)]

    def forget_before(self, sample: int, kept: int = 0) -> None:
        """Drop the pieces before `sample`, except for the last `kept` samples sent before it."""
        begins, firsts = self._begins, self._firsts
        number = max(0, bisect.bisect_right(firsts, sample) - 1)
        next_begin = begins[number + 1] if number + 1 < len(begins) else self.sent
        position = min(next_begin, begins[number] + max(0, sample - firsts[number])) - kept
        while len(begins) > 1 and begins[1] <= position:
            del begins[0], firsts[0]
        self.is_whole = len(begins) == 1

    def _position(self, seconds: float, tolerance: int) -> int:
        """`seconds` as a count of samples sent, at most all of them; on the seam if one is near."""
        exact = max(0.0, min(seconds * self._rate, self.sent))
        nearest = bisect.bisect_left(self._begins, exact)
        for seam in (*self._begins[max(0, nearest - 1) : nearest + 1], self.sent):
            if abs(seam - exact) <= tolerance:
                return seam
        return round(exact)
