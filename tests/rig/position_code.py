"""The code in the sound of a pretended device: 20 ms of it tell where on the device's clock they were. Pure.

Each millisecond is a chip, plus or minus one level, in the order of a maximum-length sequence: any 20 chips in a row
occur once in 17 minutes. It has no DC and sounds like noise. Its edges survive another rate and another level, so the
length of a loss is known to the sample in the device's own rate, and to a part of one after conversion.
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

from tests.rig.numeric import np

BITS = 20
CHIPS = (1 << BITS) - 1
"""The code repeats itself after so many milliseconds."""

LEVEL = 3000
"""The usual level, of 32767."""

_SAME_SAMPLES = 0.75
_EDGES = 10


class Stretch(NamedTuple):
    """Sound without a loss inside: indexes of its first and last edge, and position minus index, all in samples of
    the sound that was heard."""

    first: float
    last: float
    offset: float


class Loss(NamedTuple):
    """`samples` are missing before an index from `earliest` to `latest`; where the code looks the same on both sides,
    nobody can tell. Negative: heard twice."""

    earliest: int
    latest: int
    samples: float


def coded(position: int, count: int, rate_hz: int, level: int = LEVEL) -> bytes:
    """What a device of this rate gives from `position` on: mono, 16 bit."""
    chips = (position + np.arange(count, dtype=np.int64)) * 1000 // rate_hz % CHIPS
    return np.where(_code()[0][chips], level, -level).astype("<i2").tobytes()


def heard(pcm: bytes, rate_hz: int, device_rate_hz: int | None = None) -> list[Stretch]:
    """The stretches of coded sound in mono 16-bit samples, which a device of `device_rate_hz` has given and somebody
    has converted to `rate_hz`. Whatever is no code is passed over."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    edges, high = _edges(samples)
    runs = np.clip(np.rint(np.diff(edges) * 1000 / rate_hz), 0, 2 * BITS).astype(int)
    bits = np.repeat(high, runs).astype(np.int64)
    if len(bits) < BITS:
        return []
    words = sum(bits[i : len(bits) - BITS + 1 + i] << i for i in range(BITS))
    ends = np.cumsum(runs)
    whole = ends >= BITS
    chips = _code()[1][words[ends[whole] - BITS]] + BITS
    at = edges[1:][whole]
    offsets = _boundary(chips, rate_hz, device_rate_hz or rate_hz) - at
    breaks = np.flatnonzero(np.abs(np.diff(offsets)) > _SAME_SAMPLES) + 1
    found: list[Stretch] = []
    for group in np.split(np.arange(len(at)), breaks):
        if len(group) < _EDGES:
            continue
        stretch = Stretch(float(at[group[0]]), float(at[group[-1]]), float(np.median(offsets[group])))
        if found and abs(_nearest(stretch.offset - found[-1].offset, CHIPS * rate_hz / 1000)) < _SAME_SAMPLES:
            stretch = Stretch(found.pop().first, stretch.last, stretch.offset)
        found.append(stretch)
    return found


def losses(pcm: bytes, rate_hz: int, device_rate_hz: int | None = None) -> list[Loss]:
    """What is missing between the stretches that were heard."""
    positive = np.frombuffer(pcm, "<i2") > 0
    stretches = heard(pcm, rate_hz, device_rate_hz)
    period = CHIPS * rate_hz / 1000
    # After a conversion one sample beside an edge may be on the wrong side; two in a row are not.
    in_a_row = 1 if device_rate_hz in (None, rate_hz) else 2
    found = []
    for before, after in pairwise(stretches):
        samples = _nearest(after.offset - before.offset, period)
        indexes = np.arange(int(before.last), int(after.first) + 1)
        old, new = (
            _code()[0][((indexes + side.offset) * 1000 / rate_hz + 1e-6).astype(np.int64) % CHIPS] != positive[indexes]
            for side in (before, after)
        )
        ended = np.flatnonzero(old if in_a_row == 1 else old[1:] & old[:-1])
        begun = np.flatnonzero(new if in_a_row == 1 else new[1:] & new[:-1]) + in_a_row
        latest = int(indexes[ended[0]]) if len(ended) else int(indexes[-1])
        earliest = min(int(indexes[begun[-1]]) if len(begun) and begun[-1] < len(indexes) else int(indexes[0]), latest)
        found.append(Loss(earliest, latest, round(float(samples), 2)))
    return found


def _nearest(samples: float, period: float) -> float:
    """The least distance on a circle of this length, with its sign. The code begins again after its period."""
    return (samples + period / 2) % period - period / 2


def _edges(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where chips begin, to a part of a sample, and whether each of them but the last is high."""
    high = samples > 0
    first = np.flatnonzero(high[1:] != high[:-1]) + 1
    before, after = samples[first - 1], samples[first]
    return first - 0.5 + before / (before - after), high[first[:-1]]


def _boundary(chips: np.ndarray, rate_hz: int, device_rate_hz: int) -> np.ndarray:
    """Where the first sample of each chip stands. The wave passes zero half a sample before the device's sample."""
    first = -(-chips.astype(np.int64) * device_rate_hz // 1000)
    return (first - 0.5) * rate_hz / device_rate_hz + 0.5


@cache
def _code() -> tuple[np.ndarray, np.ndarray]:
    """The chips, and the place of each group of 20; the sequence of x^20 + x^3 + 1, as device.c makes it."""
    chips, places = np.zeros(CHIPS, dtype=bool), np.zeros(1 << BITS, dtype=np.int64)
    state = 1
    for place in range(CHIPS):
        chips[place] = state & 1
        places[state] = place
        state = state >> 1 | ((state ^ state >> 3) & 1) << 19
    return chips, places
