"""Places what the recogniser says on the run's sample clock. Pure.

It knows what was sent on the current connection (the timeline), so that seconds of that connection become samples of
the run, and it skips samples that were sent already: after a restart of capture they come a second time.
"""

import collections
from typing import NamedTuple

from mpengine.dialects.base import (
    Hypothesis,
    Ignored,
    Malformed,
    Note,
    Ready,
    Said,
    ServiceError,
    SpeechStart,
    SpokenWord,
    UtteranceStop,
)
from mpengine.shared import control
from mpengine.shared.control import Heard, SampleWord
from mpengine.shared.frames import Frame
from mpengine.shared.messages import ErrorKind
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


class Hearing:
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

    @staticmethod
    def is_final(said: Said) -> bool:
        """Whether it proves that the recogniser works."""
        return isinstance(said, Hypothesis) and said.is_final

    def said(self, said: Said, now: float) -> list[Action]:
        """What to tell the supervisor of a message."""
        match said:
            case Hypothesis():
                return self._heard(said, now)
            case SpeechStart(at_s=at_s):
                return [Tell(control.SpeechBegan(connection=self._connection, sample=self._timeline.start(at_s)))]
            case UtteranceStop(at_s=at_s):
                return [Tell(control.UtteranceEnded(connection=self._connection, sample=self._timeline.end(at_s)))]
            case ServiceError(code=code, message=message):
                return [Tell(control.Fault(code=code, message=message, kind=ErrorKind.SERVICE))]
            case Note(kind=kind, data=data):
                return [Tell(control.ServiceNote(connection=self._connection, kind=kind, data=data))]
            case Malformed(why=why):
                if self._told_malformed:
                    return []
                self._told_malformed = True
                return [Tell(control.Fault(code="malformed_message", message=f"dropped a message of type {why}"))]
            case Ready() | Ignored():
                return []

    def _heard(self, said: Hypothesis, now: float) -> list[Action]:
        if not said.text.strip() and not said.is_final:
            return []
        if said.start_s is None or said.duration_s is None:
            heard = self._estimated(said, now)
        else:
            heard = self._timed(said, said.start_s, said.duration_s)
        self._covered = max(self._covered, heard.acknowledges or 0)
        return [Tell(heard) if said.is_final else Mention(heard)]

    def _timed(self, said: Hypothesis, start_s: float, duration_s: float) -> Heard:
        end_s = start_s + duration_s
        first, end = self._timeline.start(start_s), self._timeline.end(end_s)
        acknowledges = None
        if said.is_final:
            # With several channels, audio is covered once each of them has its final.
            self._channel_ends[said.channel] = self._timeline.covered(end_s)
            acknowledges = min(self._channel_ends.get(channel, 0) for channel in range(max(1, said.channels)))
            self._timeline.forget_before(acknowledges - _LOOKED_BACK_S * self._rate)
        tolerance = self._timeline.tolerance(end_s)
        return self._message(said, first, max(first, end), acknowledges, estimated=False, tolerance=tolerance)

    def _estimated(self, said: Hypothesis, now: float) -> Heard:
        if self._untimed is None:  # it speaks before it has heard anything
            return self._message(said, self._highest_sent, self._highest_sent, None, estimated=True)
        end = self.sent_until
        guess = self._untimed.final(end, now) if said.is_final else self._untimed.interim(end)
        return self._message(
            said, guess.first, guess.end, guess.acknowledges if said.is_final else None, estimated=True
        )

    def _message(
        self,
        said: Hypothesis,
        first: int,
        end: int,
        acknowledges: int | None,
        *,
        estimated: bool,
        tolerance: int = 0,
    ) -> Heard:
        return Heard(
            connection=self._connection,
            first=first,
            end=end,
            text=said.text,
            is_final=said.is_final,
            speech_final=said.speech_final,
            acknowledges=acknowledges,
            confidence=said.confidence,
            words=tuple(self._word(word) for word in said.words),
            channel=said.channel,
            language=said.language,
            estimated=estimated,
            replayed=first < self._replayed_until,
            tolerance=tolerance,
        )

    def _word(self, word: SpokenWord) -> SampleWord:
        return SampleWord(
            word=word.word,
            first=self._timeline.start(word.start_s),
            end=self._timeline.end(word.end_s),
            confidence=word.confidence,
            punctuated_word=word.punctuated_word,
            speaker=word.speaker,
        )
