"""Whether somebody may be heard in a piece of audio, by its energy. Pure.

The level of a piece is the variance of some of its samples: the mean is removed, because with it a rumble or an offset
would hide speech. The floor is the level of the room. It falls fast and rises slowly, so that it stays below a long
speech. But it is never below the lowest level of the last `MEMORY_S`: speech has pauses, and what has none for so long
is the room. A piece is loud when the mean level of two pieces is well above the floor.
"""

import array
import collections
import math
import sys

LOWEST_FLOOR_DB = -78.0
_ABOVE_FLOOR_DB = 5.0
_FALLS = 0.2  # of the difference, in the time of a piece of 20 ms
_FALLS_IN_S = 0.02
_RISES_DB_PER_S = 0.75
MEMORY_S = 10.0
"""A sound that has no pause for so long counts as the room."""
_STRETCHES = 10  # of which the lowest levels are remembered
_SILENT_DB = -120.0
_FULL_SCALE_DB = 20 * math.log10(32768)


class Ear:
    """The level of one channel, and the floor below it."""

    def __init__(self, floor_db: float | None = None, *, silent_db: float = _SILENT_DB) -> None:
        """`floor_db` is the floor at first; None: the level of the first piece. No piece has less than `silent_db`."""
        self._floor_db, self._silent_db = floor_db, silent_db
        self._last_db: float | None = None
        self._lowest_db: collections.deque[float] = collections.deque(maxlen=_STRETCHES)  # of each stretch
        self._stretch_db, self._stretch_s = math.inf, 0.0  # the lowest level of this one, and its length so far

    def is_loud(self, values: list[int], duration_s: float) -> bool:
        """Whether somebody may be heard in a piece with these values, of which there is at least one."""
        count = len(values)
        mean = sum(values) / count
        variance = math.hypot(*values) ** 2 / count - mean * mean
        now_db = max(self._silent_db, 10 * math.log10(variance) - _FULL_SCALE_DB) if variance > 0 else self._silent_db
        level_db = now_db if self._last_db is None else (now_db + self._last_db) / 2
        self._last_db = now_db
        floor_db = level_db if self._floor_db is None else self._floor_db
        over_db = level_db - floor_db
        if over_db < 0:
            floor_db += over_db * (1 - (1 - _FALLS) ** (duration_s / _FALLS_IN_S))
        else:
            floor_db += min(over_db, _RISES_DB_PER_S * duration_s)
        self._floor_db = max(LOWEST_FLOOR_DB, floor_db, self._remembered_db(level_db, duration_s))
        return over_db >= _ABOVE_FLOOR_DB

    def _remembered_db(self, level_db: float, duration_s: float) -> float:
        """The lowest level of the last `MEMORY_S`; minus infinity before that."""
        self._stretch_db = min(self._stretch_db, level_db)
        self._stretch_s += duration_s
        if self._stretch_s >= MEMORY_S / _STRETCHES:
            self._lowest_db.append(self._stretch_db)
            self._stretch_db, self._stretch_s = math.inf, 0.0
            if len(self._lowest_db) == _STRETCHES:
                return min(self._lowest_db)
        return -math.inf


def samples_of(pcm: bytes) -> memoryview:
    """The int16 samples of `pcm`, which is little-endian, in the order of this machine."""
    if sys.byteorder == "big":
        swapped = array.array("h", pcm)
        swapped.byteswap()
        pcm = swapped.tobytes()
    return memoryview(pcm).cast("h")
