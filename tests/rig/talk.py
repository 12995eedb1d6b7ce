"""A long recording of the voice of these tests, and a recogniser that knows its words by where it hears it.

The lowest bits of its samples tell where in the recording they stand: each 64 of them spell a mark and a number. So the
recogniser says the same words at the same places, wherever a connection begins, and after lossless compression.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.rig import speech
from tests.rig.connection import Connection
from tests.rig.numeric import np

RATE = 16000
PAUSE_S = 4
_BITS = 64
_MARK = 0x5AC3_96F1
# Where in the recorded voice each sentence begins and ends, and where the pause behind it does, in seconds.
_SENTENCES = ((0.48, 2.73, 2.97), (3.69, 6.13, 6.42), (7.11, 9.14, 9.51), (10.18, 13.41, None))


class Segment(NamedTuple):
    """Samples up to `end`, with words and their samples."""

    end: int
    words: list[tuple[str, int, int]]


class Talk:
    """About so many seconds of the voice, with pauses. No two sentences are alike: each has its number."""

    def __init__(self, seconds: float) -> None:
        voice = np.frombuffer(speech.pcm(), "<i2")
        unit = np.concatenate((voice, np.zeros(PAUSE_S * RATE, "<i2")))
        times = max(1, round(seconds * RATE / len(unit)))
        self.samples = np.tile(unit, times) & ~1 | _position_bits(times * len(unit))
        self.segments = [
            _segment(4 * turn + place, turn * len(unit), len(unit), place)
            for turn in range(times)
            for place in range(len(_SENTENCES))
        ]

    @property
    def pcm(self) -> bytes:
        """Mono, 16 kHz, 16 bit."""
        return self.samples.astype("<i2").tobytes()

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / RATE

    @property
    def words(self) -> list[str]:
        """All that is said, in order."""
        return [word for segment in self.segments for word, _, _ in segment.words]


class Knowing:
    """A Responder: a final for each sentence of the `talk`, and at the end for what was said of the last one.

    most    it falls silent after so many finals of the talk; None: never
    """

    def __init__(self, talk: Talk, most: int | None = None) -> None:
        self.talk, self.most = talk, most

    def __call__(self, connection: Connection, samples: int) -> Iterator[Any]:
        memory = connection.memory
        if samples < 2 * _BITS:
            return
        if not vars(memory):
            memory.begin = memory.done = _position(connection.audio)
            memory.next = next(
                (number for number, each in enumerate(self.talk.segments) if each.end > memory.begin),
                len(self.talk.segments),
            )
        heard = memory.begin + samples
        while memory.next < len(self.talk.segments) and (self.most is None or memory.next < self.most):
            segment = self.talk.segments[memory.next]
            if segment.end > heard and not (connection.finishing and heard > memory.done):
                return
            end = min(segment.end, heard)
            words = [
                (word, first - memory.begin, last - memory.begin)
                for word, first, last in segment.words
                if first >= memory.done and last <= end
            ]
            text = " ".join(word for word, _, _ in words)
            yield connection.transcript(text, memory.done - memory.begin, end - memory.begin, words=words)
            memory.done = end
            if end == segment.end:
                memory.next += 1


def _segment(number: int, begin: int, length: int, place: int) -> Segment:
    first_s, last_s, end_s = _SENTENCES[place]
    words = [f"{number + 1}.", *speech.SENTENCES[place].split()]
    edges = [begin + round((first_s + (last_s - first_s) * at / len(words)) * RATE) for at in range(len(words) + 1)]
    end = begin + (length if end_s is None else round(end_s * RATE))
    return Segment(end, list(zip(words, edges, edges[1:], strict=False)))


def _position_bits(count: int) -> Any:
    """The lowest bit of each of `count` samples."""
    numbers = np.arange(-(-count // _BITS), dtype=np.uint64)
    spelled = (np.uint64(_MARK) << np.uint64(32)) | numbers
    return np.unpackbits(spelled.astype(">u8").view(np.uint8))[:count].astype("<i2")


def _position(pcm: bytes) -> int:
    """Where in the talk these samples begin; they are at least 128."""
    bits = np.frombuffer(bytes(pcm[: 4 * _BITS]), "<i2") & 1
    for shift in range(_BITS):
        spelled = int("".join(map(str, bits[shift : shift + _BITS])), 2)
        if spelled >> 32 == _MARK:
            return (spelled & 0xFFFF_FFFF) * _BITS - shift
    raise AssertionError("this is no part of the talk")
