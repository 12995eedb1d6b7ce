"""Which samples were told to be missing: each is told once, though captures come and go and replays ask again. Pure."""

from typing import NamedTuple


class Range(NamedTuple):
    """Samples [first, end)."""

    first: int
    end: int


class ToldGaps:
    """The gaps of a run that may still be told again."""

    def __init__(self) -> None:
        self._told: list[Range] = []

    def news(self, first: int, end: int) -> list[Range]:
        """The parts of [first, end) that were not told yet; they count as told from now on."""
        parts = [Range(first, end)]
        for told in self._told:
            parts = [piece for part in parts for piece in _without(part, told)]
        self._told = _joined(sorted([*self._told, *parts]))
        return parts

    def acknowledged(self, sample: int) -> None:
        """Nothing before `sample` will be sent again."""
        self._told = [told for told in self._told if told.end > sample]


def _joined(ranges: list[Range]) -> list[Range]:
    """`ranges`, in order, with neighbours as one: a loss that goes on costs no memory."""
    joined: list[Range] = []
    for each in ranges:
        if joined and joined[-1].end == each.first:
            each = Range(joined.pop().first, each.end)  # noqa: PLW2901  it takes in its neighbour
        joined.append(each)
    return joined


def _without(part: Range, told: Range) -> list[Range]:
    if told.end <= part.first or part.end <= told.first:
        return [part]
    pieces = (Range(part.first, told.first), Range(told.end, part.end))
    return [piece for piece in pieces if piece.first < piece.end]
