"""Which captured audio is silence: nobody could hear anything in it, nor near it. Pure.

Recognisers understand speech at -60 dBFS, and rooms are louder than that. So no fixed level tells silence from a soft
voice, and only what is hardly louder than the room at its quietest is inaudible. All times are those of the samples.

A voice may be as soft as the noise around it, or as even as the noise of a room. A final with words for what seemed
inaudible shows that: as long as the floor remembers that audio, nothing after it is silence.
"""

import collections
import math
from collections.abc import Iterable, Iterator

from mpengine.shared import control
from mpengine.shared.ranges import Range, Ranges

_OVER_FLOOR_DB = 6.0
# So far is silence from everything audible: words have soft beginnings and ends.
_MARGIN_S = 1.0
# Shorter silence is not worth a seam.
_LEAST_S = 1.0
# The floor is the lowest level of the last minute, in steps. A shorter memory would take a long soft speech for the
# room.
_STEP_S, _STEPS = 5.0, 12
# Nothing is judged before ten seconds of levels are known: somebody may speak from the first sample on.
_KNOWN_AFTER_LEVELS = 40
_MOST_RANGES = 100


class Floor:
    """The lowest of the levels that came in the last minute."""

    def __init__(self, step: int) -> None:
        self.level = math.inf
        self._step = step
        self._lowest: list[float] = []  # of each step
        self._step_ends = 0

    def add(self, end: int, level: float) -> None:
        """`level` was that of the audio before sample `end`."""
        if end > self._step_ends:
            self._step_ends = end + self._step
            self._lowest = [*self._lowest[1 - _STEPS :], level]
            self.level = min(self._lowest)
        elif level < self._lowest[-1]:
            self._lowest[-1] = level
            self.level = min(level, self.level)


class Silence:
    """The silence in the captured audio. Audio whose level is not known counts as audible."""

    def __init__(self, sample_rate: int) -> None:
        self._step = round(_STEP_S * sample_rate)
        self._memory = _STEPS * self._step
        self._margin, self._least = round(_MARGIN_S * sample_rate), round(_LEAST_S * sample_rate)
        self._silence = Ranges()
        self._spoken = Ranges()
        self.finals: collections.deque[tuple[int, int]] = collections.deque(maxlen=_MOST_RANGES)
        """The samples [first, end) of new finals with words. They are compared when the next level comes, or when
        silence is asked for: no final waits for that."""
        self.opened()

    def opened(self) -> None:
        """A device was opened: nothing is known of its noise."""
        self._rms_floor, self._peak_floor = Floor(self._step), Floor(self._step)
        self._unjudged: list[control.LevelHeard] | None = []  # None when the room is known
        self._inaudible = Range(0, 0)  # up to the last level

    def level(self, heard: control.LevelHeard) -> None:
        """The next level."""
        self._believe_finals()
        self._rms_floor.add(heard.end, heard.rms_dbfs)
        self._peak_floor.add(heard.end, heard.peak_dbfs)
        if self._unjudged is None:
            self._judge(heard)
            return
        self._unjudged.append(heard)
        if len(self._unjudged) >= _KNOWN_AFTER_LEVELS:
            for each in self._unjudged:
                self._judge(each)
            self._unjudged = None

    def spoken(self, first: int, end: int) -> None:
        """The recogniser had words for the samples [first, end), and no final has them."""
        self._spoken.join(first, end)
        if len(self._spoken) > _MOST_RANGES:
            oldest, next_one, *_ = self._spoken
            self._spoken.join(oldest.first, next_one.end)

    def _believe_finals(self) -> None:
        """If all the audio of a final seemed inaudible, no level tells silence now."""
        while self.finals:
            first, end = self.finals.popleft()
            if self._seems_inaudible(first, end):
                self.spoken(first, end + self._memory)

    def _seems_inaudible(self, first: int, end: int) -> bool:
        """Whether nothing audible is known in [first, end), nor near it. Half of it may have no level yet."""
        begin, known = self._inaudible
        goes_on = begin + self._margin <= first and first + end <= 2 * known
        return first < end and (goes_on or end <= self._silence.end_of(first))

    def before(self, sample: int, words: Iterable[tuple[int, int]] = ()) -> Iterator[Range]:
        """The silence before `sample`, in order. The `words`, samples [first, end) each, are audible."""
        self._believe_finals()
        audible = Ranges((first - self._margin, end + self._margin) for first, end in (*self._spoken, *words))
        for first, end in self._silence:
            for part in audible.cut(first, min(end, sample)):
                if part.end - part.first >= self._least:
                    yield part

    def forget_before(self, sample: int) -> None:
        """The audio before `sample` does not matter any more."""
        self._believe_finals()
        self._silence.forget_before(sample)
        self._spoken.forget_before(sample)

    def _judge(self, heard: control.LevelHeard) -> None:
        over_floor_db = max(heard.rms_dbfs - self._rms_floor.level, heard.peak_dbfs - self._peak_floor.level)
        if over_floor_db > _OVER_FLOOR_DB:
            return
        first = self._inaudible.first if self._inaudible.end == heard.first else heard.first
        self._inaudible = Range(first, heard.end)
        first, end = first + self._margin, heard.end - self._margin
        if end - first >= self._least:
            self._silence.join(first, end)
            if len(self._silence) > _MOST_RANGES:
                self._silence.forget_before(next(iter(self._silence)).end)
