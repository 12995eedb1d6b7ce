"""A live source of audio for pipes: mono, 16 kHz, 16 bit; each sample says when it was due, modulo `PERIOD` samples.

As a program it writes to its standard output until it is ended. It has no device, so nothing but its end loses samples.
"""

import array
import os
import struct
import sys
import time

RATE = 16000
PERIOD = 32749
_STEP_S = 0.01


def jumps(pcm: bytes) -> list[tuple[int, int]]:
    """Where samples are missing in `pcm`: the index of the sample behind them, and how many (modulo `PERIOD`)."""
    samples = array.array("h", pcm)
    return [
        (index, (samples[index] - samples[index - 1] - 1) % PERIOD)
        for index in range(1, len(samples))
        if (samples[index] - samples[index - 1] - 1) % PERIOD
    ]


def error(told: int, missing: int) -> int:
    """How many samples too many (or too few) a gap of `told` samples has where `missing` (modulo `PERIOD`) are gone."""
    return (told - missing + PERIOD // 2) % PERIOD - PERIOD // 2


def write(fd: int) -> None:
    """Write live audio to `fd`, for ever."""
    at = int(time.monotonic() * RATE)
    while True:
        now = int(time.monotonic() * RATE)
        data = struct.pack(f"<{now - at}h", *(index % PERIOD for index in range(at, now)))
        while data:
            data = data[os.write(fd, data) :]
        at = now
        time.sleep(_STEP_S)


if __name__ == "__main__":
    write(sys.stdout.fileno())
