"""How far a recording is, how fast it goes, and how long it will still take, as one line. Pure."""

import collections
from collections.abc import Sequence
from typing import NamedTuple

from mpengine.cli.terminal.bar_letters import ASCII, BLOCKS
from mpengine.shared.text import beginning, harmless, width

# The pace counts the last part of the time so far, and at least so long: older looks say little about the rest.
_PACE_PART, _PACE_S = 2, 60.0
# Before that, and before so many results, the pace is not known: the first results often come in a heap.
_LEAST_S, _LEAST_STEPS = 10.0, 6
# Nor is it while its later part says something else: the pace there over that of the whole is beyond these. It is
# believed after so long in any case.
_LIKE, _ENOUGH_S = (0.8, 1.25), 60.0
_MOST_LOOKS = 1000
_BAR_COLUMNS, _SHORT_BAR_COLUMNS = 24, 10
_NAME_COLUMNS, _NOTE_COLUMNS = 28, 60


class _Look(NamedTuple):
    at: float
    done_s: float


class Progress:
    """Hears from time to time how many seconds are done. `now` is the monotonic time."""

    def __init__(self, name: str) -> None:
        """`name` is that of the recording."""
        self._name = beginning(harmless(name), _NAME_COLUMNS + 1)
        self._looks: collections.deque[_Look] = collections.deque()
        self._begun_at = 0.0
        self._is_known = False
        self.total_s = 0.0

    def heard(self, now: float, done_s: float, total_s: float) -> None:
        """`done_s` of `total_s` seconds are done.

        The pace leaves out what was done before the first call, and the time before it first went on: starting and
        connecting take as long for a short recording as for a long one.
        """
        self.total_s = total_s
        look = _Look(now, min(done_s, total_s))
        if not self._looks or self._looks[0].done_s >= look.done_s:
            self._looks.clear()
            self._begun_at = now
        self._looks.append(look)
        while len(self._looks) > 2 and self._looks[1].at <= now - max(_PACE_S, (now - self._begun_at) / _PACE_PART):
            self._looks.popleft()
        if len(self._looks) > _MOST_LOOKS:  # every second one tells as much
            self._looks = collections.deque(list(self._looks)[::2])
        self._is_known = self._is_known or self._may_be_known()

    @property
    def done_s(self) -> float:
        """The seconds that are done."""
        return self._looks[-1].done_s if self._looks else 0.0

    @property
    def share(self) -> float:
        """The share that is done, 0 to 1."""
        return self.done_s / self.total_s if self.total_s else 0.0

    @property
    def pace(self) -> float:
        """The pace in times real time; 0 while it is not known."""
        return _pace(self._looks) if self._is_known else 0.0

    @property
    def left_s(self) -> float | None:
        """How long the rest will take at the present pace; None while that is not known."""
        return (self.total_s - self.done_s) / self.pace if self.pace > 0 else None

    def _may_be_known(self) -> bool:
        lasted_s = self._looks[-1].at - self._looks[0].at
        if lasted_s >= _ENOUGH_S:
            return True
        if lasted_s < _LEAST_S or len({look.done_s for look in self._looks}) <= _LEAST_STEPS:
            return False
        half_at = self._looks[-1].at - lasted_s / 2
        whole, later = _pace(self._looks), _pace([look for look in self._looks if look.at >= half_at])
        least, most = _LIKE
        return least * whole <= later <= most * whole

    def line(self, columns: int, *, is_ascii: bool = False, note: str = "") -> str:
        """The line for a terminal of so many `columns`, the last of which stays free. `note` stands for the pace.

        What does not fit is left out, the least important first.
        """
        percent = f"{int(self.share * 100):3} %"
        times = f"{h_mm_ss(self.done_s)} of {h_mm_ss(self.total_s)}"
        rest = [beginning(harmless(note), _NOTE_COLUMNS + 1)] if note else self._pace_and_rest()
        short = rest[-1:]
        layouts = [
            [self._name, percent, self._bar(_BAR_COLUMNS, is_ascii=is_ascii), times, *rest],
            [self._name, percent, self._bar(_SHORT_BAR_COLUMNS, is_ascii=is_ascii), times, *rest],
            [self._name, percent, times, *rest],
            [self._name, percent, *rest],
            [percent, times, *short],
            [percent, *short],
            [percent],
        ]
        lines = ["  ".join(layout).lstrip() for layout in layouts]
        fitting = [line for line in lines if width(line) < columns]
        return fitting[0] if fitting else beginning(lines[-1], columns)

    def _pace_and_rest(self) -> list[str]:
        if self.left_s is None:
            return []
        pace = f"{self.pace:.1f}" if self.pace < 10 else f"{self.pace:.0f}"
        return [f"{pace} x real time", f"{h_mm_ss(self.left_s)} left"]

    def _bar(self, columns: int, *, is_ascii: bool) -> str:
        letters, done = ASCII if is_ascii else BLOCKS, int(self.share * columns)  # not full before the end
        return letters.full * done + letters.empty * (columns - done)


def _pace(looks: Sequence[_Look]) -> float:
    """The slope of the line that lies best between the `looks`: one result that is late changes it little."""
    middle_at = sum(look.at for look in looks) / len(looks)
    middle_s = sum(look.done_s for look in looks) / len(looks)
    spread = sum((look.at - middle_at) ** 2 for look in looks)
    rise = sum((look.at - middle_at) * (look.done_s - middle_s) for look in looks)
    return rise / spread if spread else 0.0


def h_mm_ss(seconds: float) -> str:
    """`seconds` as 1:02:03."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
