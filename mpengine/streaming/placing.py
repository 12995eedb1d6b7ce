"""Places the recogniser's results on the run's sample clock. Pure.

The timeline has the audio sent on the current connection, so that seconds of the connection become samples of the run.
Samples that were sent before are skipped: after a restart of capture they come a second time.
"""

import bisect
import collections
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mpengine.dialects.base import (
    Hypothesis,
    Ignored,
    LeftOut,
    Malformed,
    Meaning,
    Ready,
    Said,
    ServiceError,
    Unknown,
)
from mpengine.shared import control
from mpengine.shared.frames import Frame
from mpengine.shared.messages import ErrorCode, ErrorKind, Published, SpeechStarted, Transcript, UtteranceEnd
from mpengine.streaming.actions import Action, Mention, Tell

_LEAST_TOLERANCE_S = 0.001
_STEP_S = 0.1
# Results may have times so long before the acknowledged sample: an UtteranceEnd names a word of an earlier final.
_LOOKED_BACK_S = 60
_MOST_MALFORMED = 20  # are told for each connection


class Timeline:
    """The map from a connection's seconds to the run's samples, exact to the sample.

    A recogniser's clock starts at 0 with every connection and counts only the audio sent. That audio is a row of
    pieces, and samples of the run are missing between two pieces. Their border is a seam. A start
    on a seam belongs to the piece after it, an end to the piece before it.

    `sent` samples were sent; they end before `end_sample` of the run (None: nothing sent).
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._begins: list[int] = []  # each piece's first sample, by the count of samples sent
        self._firsts: list[int] = []  # the same sample on the run's clock
        self.sent = 0
        self.end_sample: int | None = None

    def sent_samples(self, first_sample: int, count: int) -> None:
        """`count` samples from `first_sample` on were sent, after all others."""
        if first_sample != self.end_sample:
            self._begins.append(self.sent)
            self._firsts.append(first_sample)
        self.sent += count
        self.end_sample = first_sample + count

    def start(self, seconds: float) -> int:
        """The sample that starts at `seconds`."""
        return self.spans([(seconds, seconds)])[0][0]

    def end(self, seconds: float) -> int:
        """The sample before which a piece of audio ends that ends at `seconds`."""
        return self.spans([(seconds, seconds)])[0][1]

    def spans(self, times: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
        """Samples [first, end) for each start and end in seconds. The first pair is a message's; its words' follow."""
        begins, firsts = self._begins, self._firsts
        if not begins:
            return [(0, 0)] * len(times)
        tolerance = self.tolerance(max(times[0][1], times[-1][1]))
        found = []
        for start_s, end_s in times:
            start, end = self._position(start_s, tolerance), self._position(end_s, tolerance)
            after = max(0, bisect.bisect_right(begins, start) - 1)
            before = max(0, bisect.bisect_left(begins, end) - 1)
            found.append((firsts[after] + max(0, start - begins[after]), firsts[before] + max(0, end - begins[before])))
        return found

    def covered(self, seconds: float) -> int:
        """The end of the samples that lie before `seconds`, rounded down: no sample is covered too early.

        A time just after a seam means the seam. A time just before it does not: the samples between would be
        acknowledged, although no final covers them.
        """
        begins = self._begins
        if not begins:
            return 0
        exact = max(0.0, min(seconds * self._rate, self.sent))
        piece = bisect.bisect_right(begins, exact) - 1
        is_seam = piece >= 0 and exact - begins[piece] <= self.tolerance(seconds)
        position = begins[piece] if is_seam else math.floor(exact)
        before = max(0, bisect.bisect_left(begins, position) - 1)
        return self._firsts[before] + max(0, position - begins[before])

    def tolerance(self, seconds: float) -> int:
        """How many samples a time near `seconds` may be wrong, rounded up.

        Results have float32 seconds. One step is 4 samples of 16 kHz after an hour, and 62 after ten hours.
        """
        _, exponent = math.frexp(max(0.0, min(seconds, self.sent / self._rate)))
        return math.ceil(max(_LEAST_TOLERANCE_S, math.ldexp(1.0, exponent - 24)) * self._rate)

    def forget_before(self, sample: int) -> None:
        """Drop the pieces that end at or before `sample`. No later result has a time in them."""
        while len(self._begins) > 1 and self._firsts[0] + self._begins[1] - self._begins[0] <= sample:
            del self._begins[0], self._firsts[0]

    def _position(self, seconds: float, tolerance: int) -> int:
        """`seconds` as a count of samples sent, at most all of them; on the seam if one is near."""
        exact = max(0.0, min(seconds * self._rate, self.sent))
        nearest = bisect.bisect_left(self._begins, exact)
        for seam in (*self._begins[max(0, nearest - 1) : nearest + 1], self.sent):
            if abs(seam - exact) <= tolerance:
                return seam
        return round(exact)


class Estimate(NamedTuple):
    """A final probably belongs to samples [first, end). It covers all samples before `acknowledges`."""

    first: int
    end: int
    acknowledges: int


class UntimedFinals:
    """Guesses which samples a final without times covers, on a connection whose audio begins at `first_sample`.

    A final belongs to audio that was sent some time before. It acknowledges the samples sent `hold_s` before it came,
    but at most those sent when the final before it came. Only a proxy that is slower than `hold_s` could make that
    wrong. In all methods, `end_sample` is the end of the audio sent. `sent` need not be called before the monotonic
    second `next_step`.
    """

    def __init__(self, hold_s: float, first_sample: int) -> None:
        self._hold_s = hold_s
        self._sent: collections.deque[tuple[float, int]] = collections.deque()
        self._held = first_sample
        self._at_last_final = first_sample
        self.next_step = 0.0

    def sent(self, end_sample: int, now: float) -> None:
        """Audio has been sent."""
        self.next_step = now + _STEP_S
        self._sent.append((now, end_sample))
        self._forget(now)

    def interim(self, end_sample: int) -> Estimate:
        """The samples that an interim probably belongs to."""
        return Estimate(self._at_last_final, end_sample, self._at_last_final)

    def final(self, end_sample: int, now: float) -> Estimate:
        """A final came."""
        self._forget(now)
        first, self._at_last_final = self._at_last_final, end_sample
        return Estimate(first, end_sample, min(self._held, first))

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - self._hold_s:
            self._held = self._sent.popleft()[1]


class Placing:
    """The audio sent on the current connection, and the place of each result in it.

    `sent_before`: samples before it were sent by an earlier process. `hold_s`: see `UntimedFinals`.
    """

    def __init__(self, *, sample_rate: int, sample_bytes: int, hold_s: float, sent_before: int) -> None:
        self._rate = sample_rate
        self._sample_bytes = sample_bytes
        self.bytes_per_s = sample_bytes * sample_rate
        self.hold_s = hold_s
        self._highest_sent = sent_before
        self._replayed = 0
        self.connected(0)

    def connected(self, connection: int) -> None:
        """A new connection begins, and its clock at 0."""
        self._connection = connection
        self._timeline = Timeline(self._rate)
        self._untimed: UntimedFinals | None = None
        self._channel_ends: dict[int, int] = {}
        self._covered = 0
        self._replayed_until = self._highest_sent  # on this connection, samples before it are sent again
        self._malformed = 0  # reported ones
        self._has_reported_left_out = False

    def sending(self, frame: Frame, now: float) -> bytes | memoryview:
        """The samples of `frame` that were not sent on this connection yet. They count as sent from now on."""
        first, pcm = frame.first_sample, frame.pcm
        sent_until = self._timeline.end_sample
        if sent_until is not None and first < sent_until:
            skipped = sent_until - first
            first, pcm = sent_until, pcm[skipped * self._sample_bytes :]
        if not pcm:
            return b""
        count = len(pcm) // self._sample_bytes
        end = first + count
        if self._untimed is None:
            self._untimed = UntimedFinals(self.hold_s, first)
        self._timeline.sent_samples(first, count)
        if now >= self._untimed.next_step:
            self._untimed.sent(end, now)
        if first < self._replayed_until:
            self._replayed += min(end, self._replayed_until) - first
        self._highest_sent = max(self._highest_sent, end)
        return pcm

    @property
    def sent_until(self) -> int:
        """Where the audio of this connection ends; 0 before its first."""
        return self._timeline.end_sample or 0

    @property
    def is_covered(self) -> bool:
        """Whether finals cover all audio of this connection, within the accuracy of their times."""
        return self._covered + self._timeline.tolerance(self._timeline.sent / self._rate) >= self.sent_until

    def beat(self) -> control.StreamBeat:
        """The progress of sending."""
        return control.StreamBeat(sent=self.sent_until, highest_sent=self._highest_sent, replayed=self._replayed)

    def said(self, meaning: Meaning, now: float) -> list[Action]:
        """The reports to the supervisor about a message of the recogniser."""
        match meaning:
            case Hypothesis(transcript=transcript):
                if not transcript.text.strip() and not transcript.is_final:
                    return []
                result = self._timed(meaning) if meaning.has_times else self._guessed(transcript, now)
                self._covered = max(self._covered, result.acknowledges or 0)
                return [Tell(result) if transcript.is_final else Mention(result)]
            case Said(message=message):
                return [Tell(control.Said(connection=self._connection, message=self._placed(message)))]
            case ServiceError(code=code, message=message):
                return [Tell(control.Fault(code=code, message=message, kind=ErrorKind.SERVICE))]
            case LeftOut(why=why):
                if self._has_reported_left_out:
                    return []
                self._has_reported_left_out = True
                text = f"left out what does not fit in a message of type {why}; its text and all other fields are kept"
                return [_malformed(text)]
            case Malformed():
                return self._lost(meaning)
            case Ready() | Ignored() | Unknown():
                return []

    def _lost(self, malformed: Malformed) -> list[Action]:
        """A message cannot be used. Each final is told, with its place: a later final acknowledges its audio."""
        if self._malformed >= (_MOST_MALFORMED if malformed.is_final else 1):
            return []
        self._malformed += 1
        text = f"dropped a message of type {malformed.why}"
        if malformed.is_final and malformed.span_s is not None:
            ((first, end),) = self._timeline.spans([malformed.span_s])
            text += f"; the words from {first / self._rate:.2f} to {end / self._rate:.2f} s are lost"
        elif malformed.is_final:
            text += "; the words of a final are lost"
        if self._malformed == _MOST_MALFORMED:
            text += "; further ones on this connection are not told"
        return [_malformed(text)]

    def _placed(self, message: Published) -> Published:
        match message:
            case SpeechStarted(at_s=at_s):
                return msgspec.structs.replace(message, at_s=self._timeline.start(at_s) / self._rate)
            case UtteranceEnd(at_s=at_s):
                return msgspec.structs.replace(message, at_s=self._timeline.end(at_s) / self._rate)
        return message

    def _timed(self, said: Hypothesis) -> control.Result:
        transcript, timeline = said.transcript, self._timeline
        tolerance = timeline.tolerance(transcript.end_s)
        if not transcript.is_final:
            return self._result(transcript, None, tolerance=tolerance)
        # With several channels, audio is covered once each of them has its final. Some servers give no count of them.
        ends = self._channel_ends
        ends[transcript.channel] = timeline.covered(transcript.end_s)
        counted = range(said.channels) if said.channels > 1 else ends
        acknowledges = min([ends.get(channel, 0) for channel in counted])
        result = self._result(transcript, acknowledges, tolerance=tolerance)
        timeline.forget_before(acknowledges - _LOOKED_BACK_S * self._rate)
        return result

    def _guessed(self, transcript: Transcript, now: float) -> control.Result:
        """The result of a recogniser that gives no times."""
        if self._untimed is None:  # before the first audio
            return self._result(transcript, None, guess=Estimate(self._highest_sent, self._highest_sent, 0))
        if not transcript.is_final:
            return self._result(transcript, None, guess=self._untimed.interim(self.sent_until))
        guess = self._untimed.final(self.sent_until, now)
        return self._result(transcript, guess.acknowledges, guess=guess)

    def _result(
        self, transcript: Transcript, acknowledges: int | None, *, guess: Estimate | None = None, tolerance: int = 0
    ) -> control.Result:
        """`transcript` with times of the run: of the timeline, or of `guess`. Its words always have the timeline's."""
        rate = self._rate
        times = [(transcript.start_s, transcript.end_s), *[(word.start_s, word.end_s) for word in transcript.words]]
        (first, end), *places = self._timeline.spans(times)
        end = max(first, end)
        if guess is not None:
            first, end, _ = guess
            if not any(word.end_s for word in transcript.words):  # none of its words has a time
                places = _shares(first, end, len(places))
        words = [
            msgspec.structs.replace(word, start_s=word_first / rate, end_s=word_end / rate)
            for word, (word_first, word_end) in zip(transcript.words, places, strict=True)
        ]
        placed = msgspec.structs.replace(
            transcript,
            start_s=first / rate,
            end_s=end / rate,
            words=tuple(words),
            connection=self._connection,
            estimated=guess is not None,
            replayed=first < self._replayed_until,
        )
        return control.Result(first=first, end=end, transcript=placed, acknowledges=acknowledges, tolerance=tolerance)


def _malformed(text: str) -> Action:
    return Tell(control.Fault(code=ErrorCode.MALFORMED_MESSAGE, message=text))


def _shares(first: int, end: int, count: int) -> list[tuple[int, int]]:
    """The samples [first, end) in `count` equal parts."""
    edges = [first + (end - first) * number // count for number in range(count + 1)] if count else []
    return list(itertools.pairwise(edges))
