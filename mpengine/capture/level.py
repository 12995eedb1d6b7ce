"""How loud the last quarter of a second was. Pure."""

import array
import math
import sys
from typing import NamedTuple

FLOOR_DBFS = -120.0
# Every eleventh value is enough for a meter, and keeps numpy (16 MB) out of the process. Eleven is prime: each of up to
# eight channels gets its turn.
_STEP = 11


class Loudness(NamedTuple):
    """In dB relative to full scale. `digital_silence`: every sample was zero."""

    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool


class LevelMeter:
    """Measures the loudness of every `interval_values` values, those of all channels together.

    RMS and peak come from every eleventh value, `digital_silence` from all of them.
    """

    def __init__(self, interval_values: int) -> None:
        self._interval = interval_values
        self._pcm: list[bytes] = []
        self._values = 0

    def add(self, pcm: bytes) -> Loudness | None:
        """Take a block of int16 values. Returns the loudness of the interval when the block fills it."""
        self._pcm.append(pcm)
        self._values += len(pcm) // 2
        if self._values < self._interval:
            return None
        data = b"".join(self._pcm)
        self._pcm.clear()
        self._values = 0
        return measure(data)


def measure(pcm: bytes) -> Loudness:
    """The loudness of `pcm` (int16, little-endian)."""
    if pcm.count(0) == len(pcm):
        return Loudness(FLOOR_DBFS, FLOOR_DBFS, digital_silence=True)
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    some = samples[::_STEP]
    rms = math.sqrt(sum(value * value for value in some) / len(some))
    peak = max(abs(max(some)), abs(min(some)))
    return Loudness(_dbfs(rms), _dbfs(peak), digital_silence=False)


def _dbfs(value: float) -> float:
    if not value:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, round(20 * math.log10(value / 32768), 1))
