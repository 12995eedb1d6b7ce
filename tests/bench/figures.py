"""Figures, and what is made of them: medians, percentiles, ratios. Pure."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ENGINE, BASELINE, FLOOR = "engine", "baseline", "floor"
SUBJECTS = (ENGINE, BASELINE, FLOOR)


@dataclass
class Figure:
    """One quantity of one subject: a value from each round, or from each try."""

    part: str
    name: str
    unit: str
    subject: str = ENGINE
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The one that counts."""
        return statistics.median(self.values)


class Figures:
    """All figures of a run, in the order in which they were first told."""

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        self._all = {(each.part, each.name, each.subject): each for each in figures}

    def add(self, part: str, name: str, unit: str, *values: float, subject: str = ENGINE) -> None:
        """One more value, or several."""
        known = self._all.setdefault((part, name, subject), Figure(part, name, unit, subject))
        known.values += values

    def get(self, part: str, name: str, subject: str = ENGINE) -> Figure | None:
        """None when it was not measured."""
        found = self._all.get((part, name, subject))
        return found if found and found.values else None

    def rows(self) -> list[tuple[str, str, str]]:
        """Part, name and unit of all there are, each once."""
        return list(dict.fromkeys((each.part, each.name, each.unit) for each in self._all.values() if each.values))

    def ratio(self, part: str, name: str, of: str = ENGINE, to: str = BASELINE) -> float | None:
        """The median of the rounds' ratios where both were measured side by side, else that of the medians."""
        above, below = self.get(part, name, of), self.get(part, name, to)
        if above is None or below is None:
            return None
        if len(above.values) == len(below.values) and all(below.values):
            return statistics.median(a / b for a, b in zip(above.values, below.values, strict=True))
        return above.median / below.median if below.median else None

    def plain(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [asdict(each) for each in self._all.values() if each.values]


def percentile(values: Sequence[float], percent: float) -> float:
    """Between the two values that it falls between; the largest for 100."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much the second value grows with each one of the first, over all points (least squares)."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope
