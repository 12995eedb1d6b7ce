"""How loud the last quarter of a second was. Pure."""

import array
import math
import sys
from typing import NamedTuple

FLOOR_DBFS = -120.0
# Every eleventh value is enough for a meter, and keeps numpy (16 MB) out of the process. Eleven and not ten: with any
# number of channels up to eight, each gets its turn.
_STEP = 11


class Loudness(NamedTuple):
    """In dB below full scale. `digital_silence`: not one sample differed from zero."""

    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool


class LevelMeter:
    """Collects blocks until `interval_samples` values are in, then says how loud they were.

    RMS and peak are taken from every eleventh value; silence from all of them.
    """

    def __init__(self, interval_samples: int) -> None:
        self._interval = interval_samples
        self._pcm: list[bytes] = []
        self._samples = 0

    def add(self, pcm: bytes) -> Loudness | None:
        """Take a block of int16; the loudness when an interval is full."""
        self._pcm.append(pcm)
        self._samples += len(pcm) // 2
        if self._samples < self._interval:
            return None
        data = b"".join(self._pcm)
        self._pcm.clear()
        self._samples = 0
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
