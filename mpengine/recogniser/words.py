"""One utterance at a time through pocketsphinx: PCM in, words out, times in samples of the utterance.

Three properties of the decoder shape this module:

* It normalises the cepstra by a running mean. Its built-in first mean is poor: 10 of 96 words are wrong instead of 4
  with a learned mean, and 30 instead of 5 with a faint microphone. So the first seconds of speech are decoded twice:
  live for the interims, then again with the mean that the first pass has found. After that the decoder updates the
  mean itself.
* It holds the GIL for about 0.15 s for each second of audio, in blocks of 30 ms. At the end of an utterance it holds
  the GIL for a second search, at once for about 0.05 s for each second. So the length of an utterance is limited.
* Its C code logs to stderr unless both of its switches are set.
"""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pocketsphinx import Decoder, set_loglevel

SAMPLE_RATE = 16000  # Hz; the only rate of the English model
BLOCK_BYTES = 960  # 30 ms: how long the GIL is kept at a time
SAMPLES_PER_FRAME = SAMPLE_RATE // 100  # the decoder's frames have 10 ms
LEARNING_BYTES = 3 * 2 * SAMPLE_RATE  # after 3 s of speech the mean is good

PRONUNCIATION = re.compile(r"\(\d+\)$")  # "and(2)" is the second way to say "and"


class SpokenWord(NamedTuple):
    """A word. `start` and `end` are samples of the utterance; `confidence` is 0 to 1, None if unknown."""

    word: str
    start: int
    end: int
    confidence: float | None


class WordDecoder:
    """The English model (100 MB, 0.3 s to load) and the utterance in progress.

    It outlives connections and keeps what it has learned about the voice and the microphone.
    """

    def __init__(self) -> None:
        set_loglevel("FATAL")
        self._decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL", logfn=os.devnull)
        self._pcm = bytearray()
        self._mean = ""
        self._learned_bytes = 0
        self._open = False

    def new_stream(self) -> None:
        """Forget an utterance that was left open."""
        if self._open:
            self._open = False
            self._decoder.end_utt()

    def begin(self) -> None:
        """Begin an utterance."""
        self._pcm.clear()
        self._mean = self._decoder.get_cmn()
        self._open = True
        self._decoder.start_utt()

    def hear(self, pcm: bytes) -> None:
        """Decode the next audio of the utterance (16-bit mono)."""
        self._pcm += pcm
        self._decode(pcm)

    def words(self) -> list[SpokenWord]:
        """The words of the utterance so far. They may still change, so they have no confidence."""
        return [word._replace(confidence=None) for word in self._segments()]

    def end(self) -> tuple[bytes, list[SpokenWord]]:
        """End the utterance. Returns its audio and its words."""
        decoder = self._decoder
        decoder.end_utt()
        words = list(self._segments())
        if not words:
            # Noise must not change the mean that was learned from speech.
            decoder.set_cmn(self._mean)
        elif self._learned_bytes < LEARNING_BYTES:
            self._learned_bytes += len(self._pcm)
            decoder.set_cmn(decoder.get_cmn(update=True))
            decoder.start_utt()
            self._decode(self._pcm)
            decoder.end_utt()
            words = list(self._segments())
        self._open = False
        return bytes(self._pcm), _honest(words)

    def _decode(self, pcm: bytes | bytearray) -> None:
        for first in range(0, len(pcm), BLOCK_BYTES):
            self._decoder.process_raw(bytes(pcm[first : first + BLOCK_BYTES]))

    def _segments(self) -> Iterator[SpokenWord]:
        if self._decoder.hyp() is None:
            return
        for segment in self._decoder.seg():
            if segment.word[0] in "<[+":  # <s>, </s>, <sil>, [NOISE], ++COUGH++: no words
                continue
            yield SpokenWord(
                PRONUNCIATION.sub("", segment.word),
                segment.start_frame * SAMPLES_PER_FRAME,
                (segment.end_frame + 1) * SAMPLES_PER_FRAME,
                round(min(1.0, segment.prob), 4),
            )


def _honest(words: list[SpokenWord]) -> list[SpokenWord]:
    """`words` without confidences if all are 1: pocketsphinx gives 1 when it has no word lattice for posteriors."""
    if all(word.confidence == 1.0 for word in words):
        return [word._replace(confidence=None) for word in words]
    return words


def widest_gap(words: list[SpokenWord], earliest: int, length: int) -> tuple[int, int]:
    """The count of words to keep and the sample to cut at, in the widest gap after sample `earliest`.

    Of equal gaps the latest counts. Without such a gap all words and all `length` samples are kept.
    """
    gaps = [
        (right.start - left.end, count, (left.end + right.start) // 2)
        for count, (left, right) in enumerate(pairwise(words), start=1)
        if left.end >= earliest
    ]
    if not gaps:
        return len(words), length
    _, count, at = max(gaps)
    return count, at
