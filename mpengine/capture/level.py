"""How loud the last quarter of a second was. Pure."""

import array
import functools
import math
import sys
from typing import NamedTuple

FLOOR_DBFS = -120.0
# Every eleventh value is enough for the RMS, and keeps numpy (16 MB) out of the process. Eleven is prime: each of up to
# eight channels gets its turn.
_STEP = 11
_LANE_BITS = 16
_PEAK_BITS = 7  # the peak is exact to a tenth of a decibel
_FULL_SCALE = 32768
_FULL_BITS = 15  # all of these are 1 in 32767


class Loudness(NamedTuple):
    """In dB relative to full scale, see `control.LevelHeard`. `digital_silence`: every sample was zero."""

    rms_dbfs: float
    peak_dbfs: float
    digital_silence: bool
    clipped: float = 0.0
    dc: float = 0.0


class LevelMeter:
    """Measures the loudness of every `interval_values` values, those of all channels together.

    RMS and DC come from every eleventh value, the rest from all of them. `measured` is how many values the last
    interval had.
    """

    def __init__(self, interval_values: int) -> None:
        self._interval = interval_values
        self._pcm: list[bytes] = []
        self._values = self.measured = 0

    def add(self, pcm: bytes) -> Loudness | None:
        """Take a block of int16 values. Returns the loudness of the interval when the block fills it."""
        self._pcm.append(pcm)
        self._values += len(pcm) // 2
        if self._values < self._interval:
            return None
        data = b"".join(self._pcm)
        self._pcm.clear()
        self.measured, self._values = self._values, 0
        return measure(data)


def measure(pcm: bytes) -> Loudness:
    """The loudness of `pcm` (int16, little-endian)."""
    if not pcm.strip(b"\0"):
        return Loudness(FLOOR_DBFS, FLOOR_DBFS, digital_silence=True)
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    some = samples[::_STEP]
    mean = sum(some) / len(some)
    rms = math.sqrt(max(0.0, math.hypot(*some) ** 2 / len(some) - mean * mean))
    peak, clipped = _peak(pcm)
    return Loudness(
        _dbfs(rms), _dbfs(peak), digital_silence=False, clipped=clipped, dc=round(mean / _FULL_SCALE, 4) + 0.0
    )


def _peak(pcm: bytes) -> tuple[int, float]:
    """The largest magnitude in `pcm`, its first bits, and the share of values at full scale.

    All values are one long integer, with a lane of 16 bits for each. `max` of an array takes five times as long,
    because it makes an object of each value.
    """
    count = len(pcm) // 2
    ones = _ones(count)
    values = int.from_bytes(pcm, "little")
    negative = (values >> _LANE_BITS - 1) & ones
    magnitudes = (values ^ negative * 0xFFFF) + negative
    any_bits, width = magnitudes, len(pcm) * 8
    while width > _LANE_BITS:  # fold the lanes into one, which has each bit that any lane has
        width = -(-width // (2 * _LANE_BITS)) * _LANE_BITS
        any_bits = any_bits >> width | any_bits & (1 << width) - 1
    highest, peak, lanes = any_bits.bit_length(), 0, ones
    for bit in range(highest - 1, max(-1, highest - 1 - _PEAK_BITS), -1):
        if larger := magnitudes >> bit & lanes:  # the lanes with the largest values so far that have this bit, too
            lanes, peak = larger, peak | 1 << bit
    may_clip = any_bits >= (1 << _FULL_BITS) - 1
    return peak, round(_at_full_scale(magnitudes, ones) / count, 4) if may_clip else 0.0


def _at_full_scale(magnitudes: int, ones: int) -> int:
    """How many lanes have the magnitude 32767 or 32768."""
    lowest = magnitudes >> _FULL_BITS & ones  # 32768
    full = ones
    for bit in range(_FULL_BITS - 1, -1, -1):
        full &= magnitudes >> bit
        if not full:
            break
    return (full | lowest).bit_count()


@functools.lru_cache(maxsize=2)
def _ones(values: int) -> int:
    """The integer with a 1 in each lane."""
    return int.from_bytes(b"\1\0" * values, "little")


def _dbfs(value: float) -> float:
    if not value:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, round(20 * math.log10(value / _FULL_SCALE), 1))
