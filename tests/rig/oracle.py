"""Audio that carries its own position, and a recogniser that answers with the positions it heard.

Position p lasts a tenth of a second: half of it at level p + 1000, half at -(p + 1000). The step in the middle is the
point that is "spoken": a word "p" whose time is known to the sample. Everything on the way is bit-exact, so whatever
was lost, heard twice, or put in the wrong place shows in what is published.
"""

import array
import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

from tests.rig.connection import Connection
from tests.rig.position_code import heard

RATE = 16000
SAMPLES = RATE // 10
_OFFSET = 1000
_HALF_WORD = 80


def speech(positions: int, first: int = 0) -> bytes:
    """PCM of `positions` positions from `first` on."""
    half = SAMPLES // 2
    pcm = array.array("h")
    for position in range(first, first + positions):
        level = position + _OFFSET
        pcm.extend(array.array("h", [level]) * half)
        pcm.extend(array.array("h", [-level]) * half)
    return pcm.tobytes()


class Oracle:
    """A responder: finals of one to three seconds (random, so that no boundary is a round number), interims between.

    `blank_finals` come where nothing was spoken, as the real service sends them.
    """

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def __call__(self, connection: Connection, samples: int) -> Iterator[Any]:
        """Answer what has come since the last call."""
        memory = connection.memory
        if not hasattr(memory, "heard"):
            memory.heard = memory.final_until = memory.interim_at = 0
            memory.level = 0
            memory.words = []
            memory.next_final = self._length()
        self._hear(connection, samples)
        while samples >= memory.next_final:
            yield self._transcript(connection, self._between_points(memory), final=True)
            memory.next_final = memory.final_until + self._length()
        if connection.finishing:
            yield self._transcript(connection, samples, final=True)
        elif samples - memory.interim_at >= RATE // 2 and samples > memory.final_until:
            memory.interim_at = samples
            yield self._transcript(connection, samples, final=False)

    def _length(self) -> int:
        return self._random.randrange(RATE, 3 * RATE)

    @staticmethod
    def _between_points(memory: Any) -> int:
        """Where to end the final: no recogniser ends one in the middle of a word."""
        end: int = memory.next_final
        for _, at in memory.words:
            if abs(at - end) < 2 * _HALF_WORD:
                end = at - 2 * _HALF_WORD
        return end

    def _hear(self, connection: Connection, samples: int) -> None:
        memory = connection.memory
        pcm = array.array("h", connection.pcm(memory.heard, samples))
        at = memory.heard
        for level, run in itertools.groupby(pcm):
            if level < -_OFFSET // 2 and memory.level == -level:
                memory.words.append((-level - _OFFSET, at))
            memory.level = level
            at += sum(1 for _ in run)
        memory.heard = samples

    def _transcript(self, connection: Connection, end: int, *, final: bool) -> Any:
        memory = connection.memory
        start = memory.final_until
        # A point on the border belongs to the final before it: a connection that begins there cannot see its step.
        spoken = [word for word in memory.words if start < word[1] <= end]
        if final:
            memory.final_until = end
            memory.words = [word for word in memory.words if word[1] > end]
        # A word of 10 ms around its point: its middle is the point.
        words = [(str(position), max(0, at - _HALF_WORD), at + _HALF_WORD) for position, at in spoken]
        return connection.transcript(" ".join(word for word, _, _ in words), start, end, final=final, words=words)


class CodeOracle(Oracle):
    """Answers with the positions on a pretended device's clock, see `tests.rig.position_code`: a word for each quarter
    of a second, whose middle is that sample.
    """

    def _hear(self, connection: Connection, samples: int) -> None:
        memory = connection.memory
        if samples - memory.heard < RATE // 4:
            return
        for each in heard(connection.pcm(memory.heard, samples), RATE):
            memory.words.append((round(each.first + each.offset), memory.heard + round(each.first)))
        memory.heard = samples


def spoken_positions(finals: Iterable[dict[str, Any]]) -> list[tuple[int, float]]:
    """What finals say: (position, its time in seconds on the run's clock), in order."""
    return [(int(word["word"]), (word["start_s"] + word["end_s"]) / 2) for final in finals for word in final["words"]]
