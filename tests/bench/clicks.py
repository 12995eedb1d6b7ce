"""Clicks that are played into a microphone, and found again in what came out."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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
    audio: Any = np.fromfile(stem.with_suffix(".pcm"), dtype="<i2")
    times: Any = np.fromfile(stem.with_suffix(".times"), dtype="<i8").reshape(-1, 2)  # (ns, samples until then)
    loud = np.flatnonzero(audio > LOUD // 2)
    first = np.concatenate(([True], np.diff(loud) > RATE * LEAST_PAUSE_S / 2)) if len(loud) else np.zeros(0, bool)
    begins = loud[first]
    frames = np.searchsorted(times[:, 1], begins, side="right")
    return [Arrival(int(sample), int(times[frame, 0])) for sample, frame in zip(begins, frames, strict=True)]


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
    times: list[int] = np.fromfile(stem.with_suffix(".times"), dtype="<i8")[::2].tolist()
    return times
