"""Speech to words: PCM in, results out. No socket, no thread, no clock: time is the count of samples.

The finals tile the timeline: each begins exactly where the one before it ended, and none ends after the audio received.
So a client may forget all audio that finals have covered:

    |-- blank --|-- blank --|--- "go forward" ---|-- blank --|--- "and stop" ---|
                             ^ a blank final ends HOLD before the newest audio: it has no word's first sound

Of pocketsphinx's Endpointer only the voice detector is used. The rest of it begins speech only after 0.3 s of
uninterrupted voice, without the sound before, and cuts a sentence at every silence of 0.3 s. At the end of a stream it
drops all audio after the first 30 ms without voice.
"""

from collections import deque

import msgspec
from pocketsphinx import Vad

from mpengine.recogniser.words import SAMPLE_RATE, SpokenWord, WordDecoder, widest_gap

# All counts are in frames of 30 ms, the longest block that the voice detector takes.
FRAME = 480  # samples
ONSET, ONSET_VOICED = 10, 7  # speech begins when 7 of the last 10 are voiced: a "no" is long enough, a click is not
LEAD = 15  # the decoder gets so many from before: soft consonants are not "voice"
SILENCE, TAIL = 15, 5  # 15 unvoiced in a row end an utterance; 5 of them still belong to its final
INTERIM = 10  # frames between two interims
BLANK, HOLD = 100, 18  # a blank final covers 3 s and ends 0.54 s before the newest audio; HOLD > LEAD
LONGEST, EARLIEST_CUT = 500, 250  # an utterance of 15 s is cut at its widest gap between words after 7.5 s
FEWEST_VOICED = 2  # at the end of the stream, so many may be a word


class HeardWord(msgspec.Struct, frozen=True):
    """One word, in seconds since the first sample. `confidence` is its posterior, 0 to 1, None if unknown."""

    word: str
    start: float
    end: float
    confidence: float | None = None


class Heard(msgspec.Struct, frozen=True):
    """The speech in `duration_s` seconds from `start_s` on. An interim may still change, a final never.

    `confidence` is the mean of the words' posteriors; None for an interim, a blank, or unknown posteriors.
    """

    text: str
    is_final: bool
    start_s: float
    duration_s: float
    words: list[HeardWord]
    confidence: float | None = None

    @property
    def end_s(self) -> float:
        """Seconds since the first sample."""
        return self.start_s + self.duration_s


class SpeechRecogniser:
    """Recognises one stream of 16-bit mono audio. `decoder` may have learned from an earlier stream."""

    def __init__(self, sample_rate: int = SAMPLE_RATE, decoder: WordDecoder | None = None) -> None:
        if sample_rate != SAMPLE_RATE:
            raise ValueError(f"the English model hears {SAMPLE_RATE} Hz, not {sample_rate}")
        self._decoder = decoder or WordDecoder()
        self._decoder.new_stream()
        # The looser modes report voice for 0.8 s after its end; the strictest mode misses faint speakers.
        self._vad = Vad(Vad.MEDIUM_STRICT, SAMPLE_RATE, FRAME / SAMPLE_RATE)
        self._rest = bytearray()  # less than a frame
        self._position = 0  # samples that have left `_rest`
        self._covered = 0  # the end of the last final, in samples
        self._recent: deque[bytes] = deque(maxlen=LEAD)
        self._voiced: deque[bool] = deque(maxlen=ONSET)
        self._utterance: int | None = None  # the first sample of the open utterance
        self._unvoiced = 0  # frames in a row
        self._next_look = 0  # samples
        self._said = ""

    def feed(self, pcm: bytes) -> list[Heard]:
        """Take the next whole samples. Returns the new results."""
        if len(pcm) % 2:
            raise ValueError("half a sample at the end of the audio")
        rest, heard = self._rest, []
        rest += pcm
        whole = len(rest) - len(rest) % (2 * FRAME)
        for first in range(0, whole, 2 * FRAME):
            heard += self._hear(bytes(rest[first : first + 2 * FRAME]))
        del rest[:whole]
        return heard

    def finish(self) -> list[Heard]:
        """End the stream. Returns the last finals, which end with the last sample; none if all samples are covered."""
        last = bytes(self._rest)
        self._rest.clear()
        self._position += len(last) // 2
        if self._utterance is not None:
            self._decoder.hear(last)
        else:
            self._recent.append(last)
            if sum(self._voiced) >= FEWEST_VOICED:
                self._begin()
        heard = [] if self._utterance is None else self._end(self._position)
        if self._covered < self._position:
            heard.append(self._final([], self._position))
        self._recent.clear()
        return heard

    def _hear(self, frame: bytes) -> list[Heard]:
        """Take one frame. This is the whole state machine, between silence and speech."""
        voiced = self._vad.is_speech(frame)
        self._position += FRAME
        self._recent.append(frame)
        self._unvoiced = 0 if voiced else self._unvoiced + 1
        if self._utterance is None:
            self._voiced.append(voiced)
            if sum(self._voiced) >= ONSET_VOICED:
                self._begin()
            elif self._position - self._covered >= (BLANK + HOLD) * FRAME:
                return [self._final([], self._covered + BLANK * FRAME)]
            return []
        self._decoder.hear(frame)
        if self._unvoiced >= SILENCE:
            return self._end(self._position - (SILENCE - TAIL) * FRAME)
        if self._position - self._utterance >= LONGEST * FRAME:
            return self._cut(self._utterance)
        return self._interim(self._utterance)

    def _begin(self) -> None:
        """Begin an utterance with the recent audio that no final has covered."""
        recent = b"".join(self._recent)
        first = max(self._position - len(recent) // 2, self._covered)
        self._decoder.begin()
        self._decoder.hear(recent[len(recent) - 2 * (self._position - first) :])
        self._utterance, self._next_look, self._said = first, self._position, ""

    def _interim(self, first: int) -> list[Heard]:
        if self._position < self._next_look:
            return []
        self._next_look = self._position + INTERIM * FRAME
        words = self._decoder.words()
        heard = self._heard(words, first, self._position, is_final=False)
        if heard.text in ("", self._said):
            return []
        self._said = heard.text
        return [heard]

    def _end(self, end: int) -> list[Heard]:
        """End the utterance with a final up to sample `end`."""
        _, words = self._decoder.end()
        heard = [self._final(words, end)]
        self._utterance = None
        self._voiced.clear()
        return heard

    def _cut(self, first: int) -> list[Heard]:
        """End a long utterance where its words are furthest apart. The rest begins the next utterance."""
        pcm, words = self._decoder.end()
        count, at = widest_gap(words, EARLIEST_CUT * FRAME, len(pcm) // 2)
        heard = [self._final(words[:count], first + at)]
        self._utterance, self._next_look, self._said = first + at, self._position, ""
        self._decoder.begin()
        self._decoder.hear(pcm[2 * at :])
        return heard

    def _final(self, words: list[SpokenWord], end: int) -> Heard:
        first = self._covered if self._utterance is None else self._utterance
        heard = self._heard(words, first, end, is_final=True)
        self._covered = end
        return heard

    def _heard(self, words: list[SpokenWord], first: int, end: int, *, is_final: bool) -> Heard:
        """The result, in seconds. The words count their samples from `first`."""
        known = [word.confidence for word in words if word.confidence is not None]
        return Heard(
            text=" ".join(word.word for word in words),
            is_final=is_final,
            start_s=self._covered / SAMPLE_RATE,
            duration_s=(end - self._covered) / SAMPLE_RATE,
            words=[
                HeardWord(
                    word.word,
                    min(first + word.start, end) / SAMPLE_RATE,
                    min(first + word.end, end) / SAMPLE_RATE,
                    word.confidence,
                )
                for word in words
            ],
            confidence=round(sum(known) / len(known), 4) if known else None,
        )
