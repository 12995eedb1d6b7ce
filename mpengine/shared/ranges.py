"""Ranges of samples, and sets of samples that are stored as ranges. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple


class Range(NamedTuple):
    """Samples [first, end)."""

    first: int
    end: int


def total(ranges: Iterable[Range]) -> int:
    """How many samples are in `ranges`, of which no two have a sample in common."""
    return sum([end - first for first, end in ranges])


_first, _end = attrgetter("first"), attrgetter("end")


class Ranges:
    """A set of samples, stored as ranges: in order, none of them empty, none touching the next."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[Range] = []
        for first, end in ranges:
            self.join(first, end)

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._ranges)

    def join(self, first: int, end: int) -> None:
        """Add the samples [first, end)."""
        if first >= end:
            return
        # The ranges from `begin` to before `stop` overlap or touch the new one.
        begin = bisect_left(self._ranges, first, key=_end)
        stop = bisect_right(self._ranges, end, key=_first)
        if begin < stop:
            first, end = min(first, self._ranges[begin].first), max(end, self._ranges[stop - 1].end)
        self._ranges[begin:stop] = [Range(first, end)]

    def end_of(self, sample: int) -> int:
        """The end of the range that `sample` is in; `sample` if it is in none."""
        number = bisect_right(self._ranges, sample, key=_first) - 1
        return max(sample, self._ranges[number].end) if number >= 0 else sample

    def around(self, sample: int) -> Range | None:
        """The range that `sample` is in."""
        number = bisect_right(self._ranges, sample, key=_first) - 1
        return self._ranges[number] if number >= 0 and sample < self._ranges[number].end else None

    def cut(self, first: int, end: int) -> list[Range]:
        """The parts of [first, end) that are not in this set."""
        left = []
        for number in range(bisect_right(self._ranges, first, key=_end), len(self._ranges)):
            known = self._ranges[number]
            if known.first >= end:
                break
            if first < known.first:
                left.append(Range(first, known.first))
            first = known.end
        if first < end:
            left.append(Range(first, end))
        return left

    def forget_before(self, sample: int) -> None:
        """Remove the ranges that end at or before `sample`. A range that goes on after it stays as a whole."""
        del self._ranges[: bisect_right(self._ranges, sample, key=_end)]
