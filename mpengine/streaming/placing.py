"""Places what the recogniser says on the run's sample clock. Pure.

It knows what was sent on the current connection (the timeline), so that seconds of that connection become samples of
the run, and it skips samples that were sent already: after a restart of capture they come a second time.
"""

import collections
from typing import NamedTuple

import msgspec

from mpengine.dialects.base import Hypothesis, Ignored, Malformed, Meaning, Ready, Said, ServiceError
from mpengine.shared import control
from mpengine.shared.frames import Frame
from mpengine.shared.messages import ErrorCode, ErrorKind, Published, SpeechStarted, Transcript, UtteranceEnd, Word
from mpengine.streaming.actions import Action, Mention, Tell
from mpengine.streaming.timeline import Timeline

_STEP_S = 0.1
# How far back of what is acknowledged times may still lie: an UtteranceEnd names a word of some finals ago.
_LOOKED_BACK_S = 60


class Estimate(NamedTuple):
    """Samples [first, end) that the final probably tells of; all before `acknowledges` is covered."""

    first: int
    end: int
    acknowledges: int


class UntimedFinals:
    """What a final without times covers: a guess from what had been sent and when, on a connection from `first_sample`.

    A final tells of audio that was sent a while before it. It acknowledges what had been sent `hold_s` before it came,
    and never more than had been sent when the final before it came: that much is behind it for certain, unless the
    proxy is slower than `hold_s`. What is sent before second `next_step` it need not know. `end_sample` is the end of
    all that has been sent.
    """

    def __init__(self, hold_s: float, first_sample: int) -> None:
        self._hold_s = hold_s
        self._sent: collections.deque[tuple[float, int]] = collections.deque()
        self._held = first_sample
        self._at_last_final = first_sample
        self.next_step = 0.0

    def sent(self, end_sample: int, now: float) -> None:
        """Everything before `end_sample` has been sent."""
        self.next_step = now + _STEP_S
        self._sent.append((now, end_sample))
        self._forget(now)

    def interim(self, end_sample: int) -> Estimate:
        """Where an interim probably belongs."""
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
    """What was sent, and where what was heard of it belongs."""

    def __init__(self, *, sample_rate: int, sample_bytes: int, hold_s: float, sent_before: int) -> None:
        self._rate = sample_rate
        self._sample_bytes = sample_bytes
        self.bytes_per_s = sample_bytes * sample_rate
        self.hold_s = hold_s
        self._highest_sent = sent_before
        self._replayed_until = sent_before  # what is sent before it on this connection is sent again
        self._replayed = 0
        self._connection = 0
        self._timeline = Timeline(sample_rate)
        self._untimed: UntimedFinals | None = None
        self._channel_ends: dict[int, int] = {}
        self._covered = 0
        self._told_malformed = False

    def connected(self, connection: int) -> None:
        """A new connection: its clock begins at 0."""
        self._connection = connection
        self._timeline = Timeline(self._rate)
        self._untimed = None
        self._channel_ends = {}
        self._covered = 0
        self._replayed_until = self._highest_sent
        self._told_malformed = False

    def sending(self, frame: Frame, now: float) -> bytes | memoryview:
        """What of `frame` was not sent on this connection yet; it counts as sent from now on."""
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
        """Whether finals cover all audio of this connection, as far as times can tell."""
        return self._covered + self._timeline.tolerance(self._timeline.sent / self._rate) >= self.sent_until

    def beat(self) -> control.StreamBeat:
        """How far sending has come."""
        return control.StreamBeat(sent=self.sent_until, highest_sent=self._highest_sent, replayed=self._replayed)

    def said(self, meaning: Meaning, now: float) -> list[Action]:
        """What to tell the supervisor of a message."""
        match meaning:
            case Hypothesis(transcript=transcript):
                if not transcript.text.strip() and not transcript.is_final:
                    return []
                result = self._timed(meaning) if meaning.has_times else self._untimed_result(transcript, now)
                self._covered = max(self._covered, result.acknowledges or 0)
                return [Tell(result) if transcript.is_final else Mention(result)]
            case Said(message=message):
                return [Tell(control.Said(connection=self._connection, message=self._placed(message)))]
            case ServiceError(code=code, message=message):
                return [Tell(control.Fault(code=code, message=message, kind=ErrorKind.SERVICE))]
            case Malformed(why=why):
                if self._told_malformed:
                    return []
                self._told_malformed = True
                return [
                    Tell(control.Fault(code=ErrorCode.MALFORMED_MESSAGE, message=f"dropped a message of type {why}"))
                ]
            case Ready() | Ignored():
                return []

    def _placed(self, message: Published) -> Published:
        match message:
            case SpeechStarted(at_s=at_s):
                return SpeechStarted(at_s=self._timeline.start(at_s) / self._rate)
            case UtteranceEnd(at_s=at_s):
                return UtteranceEnd(at_s=self._timeline.end(at_s) / self._rate)
        return message

    def _timed(self, said: Hypothesis) -> control.Result:
        transcript, timeline = said.transcript, self._timeline
        first, end, words = self._spans(transcript)
        tolerance = timeline.tolerance(transcript.end_s)
        acknowledges = None
        if transcript.is_final:
            # With several channels, audio is covered once each of them has its final.
            self._channel_ends[transcript.channel] = timeline.covered(transcript.end_s)
            acknowledges = min([self._channel_ends.get(channel, 0) for channel in range(max(1, said.channels))])
            timeline.forget_before(acknowledges - _LOOKED_BACK_S * self._rate)
        return self._result(transcript, first, end, words, acknowledges, tolerance=tolerance)

    def _spans(self, transcript: Transcript) -> tuple[int, int, tuple[Word, ...]]:
        """Where the transcript and its words belong."""
        rate = self._rate
        times = [(transcript.start_s, transcript.end_s), *[(word.start_s, word.end_s) for word in transcript.words]]
        (first, end), *places = self._timeline.spans(times)
        words = [
            msgspec.structs.replace(word, start_s=word_first / rate, end_s=word_end / rate)
            for word, (word_first, word_end) in zip(transcript.words, places, strict=True)
        ]
        return first, max(first, end), tuple(words)

    def _untimed_result(self, transcript: Transcript, now: float) -> control.Result:
        """A guess, since the recogniser tells no times."""
        _, _, words = self._spans(transcript)
        if self._untimed is None:  # it speaks before it has heard anything
            return self._result(transcript, self._highest_sent, self._highest_sent, words, None, estimated=True)
        end = self.sent_until
        guess = self._untimed.final(end, now) if transcript.is_final else self._untimed.interim(end)
        acknowledges = guess.acknowledges if transcript.is_final else None
        return self._result(transcript, guess.first, guess.end, words, acknowledges, estimated=True)

    def _result(
        self,
        transcript: Transcript,
        first: int,
        end: int,
        words: tuple[Word, ...],
        acknowledges: int | None,
        *,
        tolerance: int = 0,
        estimated: bool = False,
    ) -> control.Result:
        placed = msgspec.structs.replace(
            transcript,
            start_s=first / self._rate,
            end_s=end / self._rate,
            words=words,
            connection=self._connection,
            estimated=estimated,
            replayed=first < self._replayed_until,
        )
        return control.Result(first=first, end=end, transcript=placed, acknowledges=acknowledges, tolerance=tolerance)
