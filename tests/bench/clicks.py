"""Clicks that are played into a microphone, and found again in what came out."""

import array
import bisect
import itertools
import random
from pathlib import Path
from typing import Literal, NamedTuple

RATE = 16000
LOUD = 20000
CLICK_SAMPLES = 80
LEAST_PAUSE_S = 0.25


class Arrival(NamedTuple):
    """A click: at which sample it began, and when the frame with that sample came (monotonic ns)."""

    sample: int
    at_ns: int


def train(count: int, seed: int) -> bytes:
    """PCM with so many clicks, at distances that fit no block, and a second of silence behind them."""
    chance = random.Random(seed)
    click = (LOUD).to_bytes(2, "little", signed=True) * CLICK_SAMPLES
    pauses = (int(RATE * (LEAST_PAUSE_S + chance.uniform(0, 0.1))) for _ in range(count))
    return b"".join(bytes(2 * pause) + click for pause in pauses) + bytes(2 * RATE)


def arrivals(stem: Path) -> list[Arrival]:
    """The clicks in what a server saved under that name."""
    loud = [at for at, sample in enumerate(_numbers(stem.with_suffix(".pcm"), "h")) if sample > LOUD // 2]
    begins = [at for before, at in itertools.pairwise([-RATE, *loud]) if at - before > RATE * LEAST_PAUSE_S / 2]
    times = _numbers(stem.with_suffix(".times"), "q")
    came_ns, samples = times[::2], times[1::2]
    return [Arrival(at, came_ns[bisect.bisect_right(samples, at)]) for at in begins]


def differences_ms(later: list[Arrival], earlier: list[Arrival]) -> list[float]:
    """How much later each click came to the one than to the other. Raises ValueError if they are not the same."""
    if len(later) != len(earlier) or not later:
        raise ValueError(f"{len(later)} clicks against {len(earlier)}")
    offsets = [a.sample - b.sample for a, b in zip(later, earlier, strict=True)]
    if max(offsets) - min(offsets) > 1:
        raise ValueError(f"audio is missing: distances differ by {max(offsets) - min(offsets)} samples")
    return [(a.at_ns - b.at_ns) / 1e6 for a, b in zip(later, earlier, strict=True)]


def frame_times_ns(stem: Path) -> list[int]:
    """When each frame came that a server saved under that name."""
    return _numbers(stem.with_suffix(".times"), "q")[::2].tolist()


def _numbers(file: Path, code: Literal["h", "q"]) -> "array.array[int]":
    numbers = array.array(code)
    numbers.frombytes(file.read_bytes())
    return numbers
