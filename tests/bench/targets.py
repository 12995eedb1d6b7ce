"""What the engine shall reach. Pure: figures in, verdicts out."""

from collections.abc import Callable
from typing import NamedTuple

from tests.bench.figures import BASELINE, ENGINE, Figures


class Target(NamedTuple):
    """A limit for one figure, and a better one; `value` takes what is compared from the figures."""

    part: str
    name: str
    what: str
    value: Callable[[Figures], float | None]
    reach: float
    beyond: float | None
    unit: str
    at_least: bool = False

    def met(self, value: float, limit: float) -> bool:
        """Whether the value keeps a limit."""
        return value >= limit if self.at_least else value <= limit

    def mark(self, figures: Figures) -> str:
        """The verdict in a word; "" when it was not measured."""
        value = self.value(figures)
        if value is None:
            return ""
        if self.beyond is not None and self.met(value, self.beyond):
            return "beyond"
        return "reached" if self.met(value, self.reach) else "MISSED"

    def text(self) -> str:
        """The limit, in words."""
        sign = ">=" if self.at_least else "<="
        more = "" if self.beyond is None else f" (beyond: {self.beyond:g})"
        return f"{self.what} {sign} {self.reach:g}{self.unit}{more}"


def _median(part: str, name: str) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        found = figures.get(part, name)
        return found.median if found else None

    return value


def _ratio(part: str, name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(part, name)


def _ahead(part: str, name: str) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        own, other = figures.get(part, name, ENGINE), figures.get(part, name, BASELINE)
        return other.median - own.median if own and other else None

    return value


START = "to the first audio at the server"
P50 = "p50 against the floor"
TARGETS = (
    Target("cpu", "whole tree", "ratio", _ratio("cpu", "whole tree"), 0.9, 0.75, " x baseline"),
    Target("quiet", "whole tree", "ratio", _ratio("quiet", "whole tree"), 0.9, None, " x baseline"),
    Target(
        "quiet",
        "whole tree, with the gate",
        "ratio",
        _ratio("quiet", "whole tree, with the gate"),
        0.6,
        None,
        " x baseline",
    ),
    Target("memory", "PSS", "", _median("memory", "PSS"), 30, 27, " MB"),
    Target("memory", "PSS", "ratio", _ratio("memory", "PSS"), 0.9, None, " x baseline"),
    Target("start", START, "", _median("start", START), 0.6, None, " s"),
    Target("start", START, "ratio", _ratio("start", START), 1.5, None, " x baseline"),
    Target("delay", P50, "", _median("delay", P50), 10, 0, " ms"),
    Target("delay", P50, "ahead of the baseline by", _ahead("delay", P50), 40, None, " ms", at_least=True),
    Target("hops", "p50 added", "", _median("hops", "p50 added"), 0.5, None, " ms"),
    Target("hops", "p99 added", "", _median("hops", "p99 added"), 2, None, " ms"),
    Target("restarts", "capture killed, p95", "", _median("restarts", "capture killed, p95"), 150, 60, " ms"),
    Target("restarts", "streaming killed, p95", "", _median("restarts", "streaming killed, p95"), 150, 20, " ms"),
    Target("restarts", "capture stopped, p95", "", _median("restarts", "capture stopped, p95"), 3500, 2000, " ms"),
    Target("file", "plain TCP", "", _median("file", "plain TCP"), 1000, 3000, " x real time", at_least=True),
)


def targets_of(part: str, name: str) -> list[Target]:
    """Those of one figure."""
    return [target for target in TARGETS if (target.part, target.name) == (part, name)]
