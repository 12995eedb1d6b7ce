"""How far a source's clock is off, by when its samples came. Pure.

The offset of a sample is (arrival - index / rate). Samples may come late, and never early. So the offsets lie above a
line: it is level where the crystal is exact, falls where it is fast, and rises where it is slow. The lowest offsets of
the last minute, one a second, tell that line: it is the edge of their lower convex hull below the middle of the time.
(S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay measurements", 1999.)
"""

import collections
from itertools import pairwise

_POINT_NS = 1_000_000_000
_POINTS = 60
# A line through less time would follow the lateness of single samples.
_LEAST_NS = 8_000_000_000
# A steeper line is no crystal, but a latency that has changed. So is a line that the samples have left since.
_STEEPEST = 500e-6
# On a busy machine, a few samples may all be late. So a steep line has to last.
_STEEP, _STEEP_LEAST_NS = 150e-6, 30_000_000_000
_LEFT_NS = 1_000_000
_SHARE_NOW = 2  # the last half of the time, in which samples must touch the line

Point = tuple[int, int]
"""An arrival and its offset, in ns."""


class Crystal:
    """The line below the offsets of one source."""

    def __init__(self) -> None:
        self._points: collections.deque[Point] = collections.deque(maxlen=_POINTS)
        self._next_ns = 0

    def clear(self) -> None:
        """Other offsets begin."""
        self._points.clear()
        self._next_ns = 0

    def add(self, arrival_ns: int, offset_ns: int) -> None:
        """A sample has come."""
        if arrival_ns >= self._next_ns:
            self._points.append((arrival_ns, offset_ns))
            self._next_ns = arrival_ns + _POINT_NS
        elif offset_ns < self._points[-1][1]:
            self._points[-1] = (max(arrival_ns, self._points[-1][0]), offset_ns)

    def offset_ns(self, at_ns: int) -> int | None:
        """The offset of a sample that comes without delay at this time; None while the line is not known."""
        points = self._points
        span_ns = points[-1][0] - points[0][0] if points else 0
        if span_ns < _LEAST_NS:
            return None
        middle_ns = sum(arrival_ns for arrival_ns, _ in points) // len(points)
        (begin_ns, begin), (end_ns, end) = next(edge for edge in pairwise(_hull(points)) if edge[1][0] > middle_ns)
        slope = (end - begin) / (end_ns - begin_ns)
        if abs(slope) > (_STEEP if span_ns < _STEEP_LEAST_NS else _STEEPEST):
            return None

        def line(when_ns: int) -> int:
            return begin + round(slope * (when_ns - begin_ns))

        recent_ns = points[-1][0] - span_ns // _SHARE_NOW
        if min(offset - line(when_ns) for when_ns, offset in points if when_ns >= recent_ns) > _LEFT_NS:
            return None
        return line(at_ns)


def _hull(points: collections.deque[Point]) -> list[Point]:
    """The corners of the lower convex hull of points in the order of their arrivals."""
    hull: list[Point] = []
    for x, y in points:
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) >= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return hull
