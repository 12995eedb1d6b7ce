"""The simplest recogniser: counts the audio and says "words N", in results that tile the timeline."""

import struct
from collections.abc import Iterator
from typing import Any

from tests.rig.connection import Connection


class Echo:
    """A Responder: an interim every `interim_s` of audio, a final every `final_s`, the rest at the end.

    N counts the finals of this Echo, over all connections, so that no two finals have the same text."""

    def __init__(self, interim_s: float = 0.5, final_s: float = 2.0) -> None:
        self.interim_s, self.final_s = interim_s, final_s
        self.finals = 0

    def __call__(self, connection: Connection, samples: int) -> Iterator[Any]:
        done = connection.memory
        if not vars(done):
            done.final = done.heard = 0
        step, whole = (int(s * connection.sample_rate) for s in (self.interim_s, self.final_s))
        while done.heard + step <= samples:
            done.heard += step
            final = done.heard - done.final >= whole
            yield self._result(connection, done.final, done.heard, final=final)
            if final:
                done.final = done.heard
        if connection.finishing and samples > done.final:
            yield self._result(connection, done.final, samples, final=True)
            done.final = done.heard = samples

    def _result(self, connection: Connection, start: int, end: int, *, final: bool) -> Any:
        number = str(self.finals + 1)
        self.finals += final
        middle = (start + end) // 2
        words = [("words", start, middle), (number, middle, end)]
        return connection.transcript(f"words {number}", start, end, final=final, words=words, speech_final=final)


def float32(value: float) -> float:
    """What the real service writes: a single-precision number in its shortest digits (2.3, 17.0400013...)."""
    single: float = struct.unpack("f", struct.pack("f", value))[0]
    for digits in range(6, 10):
        shortest = float(f"{single:.{digits}g}")
        if struct.pack("f", shortest) == struct.pack("f", single):
            return shortest
    return single
