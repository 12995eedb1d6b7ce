"""Places the recogniser's results on the run's sample clock. Pure.

Samples that were sent before are skipped: after a restart of capture they come a second time.
"""

import collections
import itertools
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
from mpengine.shared.deciding import NEVER
from mpengine.shared.frames import Frame
from mpengine.shared.messages import ErrorCode, ErrorKind, Published, SpeechStarted, Transcript, UtteranceEnd
from mpengine.shared.ranges import Range, Ranges
from mpengine.shared.text import of_words, spells
from mpengine.streaming.actions import Action, Mention, Tell
from mpengine.streaming.passage import Passage
from mpengine.streaming.timeline import Timeline

_STEP_S = 0.1
# Results may have times so long before the acknowledged sample, by the connection's clock: an UtteranceEnd names a word
# of an earlier final.
_LOOKED_BACK_S = 60
# So far may a time lie outside of the audio sent, by rounding.
_OFF_S = 0.25
# No final lies on both sides of a longer gap.
_WIDE_S = 1.0
_MOST_HOLES = 100
_MOST_MALFORMED = 20  # are told for each connection


class Estimate(NamedTuple):
    """A final probably belongs to samples [first, end). It covers all samples before `acknowledges`."""

    first: int
    end: int
    acknowledges: int


class UntimedFinals:
    """Guesses which samples a final without times covers, on a connection whose audio begins at `first_sample`.

    A final belongs to audio that was sent some time before. It acknowledges the samples sent `hold_s` before it came,
    but at most those sent when the final before it on its channel came. Only a proxy that is slower than `hold_s` could
    make that wrong. In all methods, `end_sample` is the end of the audio sent. `sent` need not be called before the
    monotonic second `next_step`.
    """

    def __init__(self, hold_s: float, first_sample: int) -> None:
        self._hold_s = hold_s
        self._sent: collections.deque[tuple[float, int]] = collections.deque()
        self._held = self._first = first_sample
        self._last: dict[int, tuple[int, int]] = {}  # by channel: the last final's end, and of the audio sent then
        self.next_step = 0.0

    def sent(self, end_sample: int, now: float) -> None:
        """Audio has been sent."""
        self.next_step = now + _STEP_S
        self._sent.append((now, end_sample))
        self._forget(now)

    def interim(self, channel: int, end_sample: int) -> Estimate:
        """The samples that an interim probably belongs to."""
        first, _ = self._last.get(channel, (self._first, self._first))
        return Estimate(first, end_sample, first)

    def final(self, channel: int, end_sample: int, now: float) -> Estimate:
        """A final came."""
        self._forget(now)
        first, bound = self._last.get(channel, (self._first, self._first))
        self._last[channel] = end_sample, end_sample
        return Estimate(first, end_sample, min(self._held, bound))

    def timed(self, channel: int, end: int, end_sample: int) -> None:
        """A final with times came; it ends at sample `end`."""
        self._last[channel] = end, end_sample

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - self._hold_s:
            self._held = self._sent.popleft()[1]


class Heard:
    """The finals with text of one channel of a connection, to find those whose times cannot be true.

    Recognisers' clocks stand still, go back, or begin again with each utterance. Times that lie mostly in earlier
    finals are not true.
    """

    def __init__(self) -> None:
        self._end = 0
        self._holes = Ranges()  # of which nothing was heard, before `_end`
        self._last: tuple[str, float, float] | None = None

    def repeats(self, said: Hypothesis) -> bool:
        """Whether `said` has the text and the times of the final before it. Times without a length are none."""
        last, transcript = self._last, said.transcript
        has_length = said.has_times and transcript.end_s > transcript.start_s
        self._last = (transcript.text, transcript.start_s, transcript.end_s) if has_length else None
        return has_length and self._last == last

    def is_news(self, first: int, end: int) -> bool:
        """Whether half of [first, end) or more was not heard before. If so, all of it counts as heard from now on."""
        if first == end:
            return False
        if first < self._end:
            news = max(0, end - self._end)
            news += sum(max(0, min(hole.end, end) - max(hole.first, first)) for hole in self._holes)
            if 2 * news < end - first:
                return False
            heard = Ranges([(first, end)])
            self._holes = Ranges(left for hole in self._holes for left in heard.cut(*hole))
        elif first > self._end:
            self._holes.join(self._end, first)
            if len(self._holes) > _MOST_HOLES:
                self._holes = Ranges(list(self._holes)[1:])
        self._end = max(end, self._end)
        return True


class Placing:
    """The audio sent on the current connection, and the place of each result in it.

    `sent_before`: samples before it were sent by an earlier process. `hold_s`: see `UntimedFinals`.
    """

    def __init__(self, *, sample_rate: int, sample_bytes: int, hold_s: float, sent_before: int) -> None:
        self._rate = sample_rate
        self._off = round(_OFF_S * sample_rate)
        self._sample_bytes = sample_bytes
        self.bytes_per_s = sample_bytes * sample_rate
        self.hold_s = hold_s
        self._highest_sent = sent_before
        self._replayed = 0
        self._channel_ends: dict[int, int] = {}
        self._passage = Passage(sample_rate, hold_s)
        self.connected(0)

    def connected(self, connection: int) -> None:
        """A new connection begins, and its clock at 0."""
        self._connection = connection
        self._timeline = Timeline(self._rate)
        self._untimed: UntimedFinals | None = None
        # Some servers give no count of channels: those that have spoken must be heard again.
        sent_channels = self._sample_bytes // 2
        self._channel_ends = {channel: 0 for channel in self._channel_ends if channel < sent_channels}
        self._heard: dict[int, Heard] = {}  # by channel
        self._shown: set[int] = set()  # channels with an interim that has text
        self._passage.connected()
        self._covered = self._passed = 0
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
            self._passage.sent(end, self._timeline.sent, now)
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

    def beat(self, now: float, answered_ping: float = -NEVER) -> control.StreamBeat:
        """The progress of sending, and of the recogniser. `answered_ping`: when the last answered ping was sent."""
        self._passed = max(self._passed, self._passage.end(now, answered_ping))
        return control.StreamBeat(
            sent=self.sent_until,
            highest_sent=self._highest_sent,
            replayed=self._replayed,
            passed=0 if self._shown else self._passed,  # an open interim may still get other words, also before it
        )

    def said(self, meaning: Meaning, now: float) -> list[Action]:
        """The reports to the supervisor about a message of the recogniser."""
        match meaning:
            case Hypothesis(transcript=transcript):
                return self._final(meaning, now) if transcript.is_final else self._interim(meaning, now)
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

    def _interim(self, said: Hypothesis, now: float) -> list[Action]:
        """An interim with text, or the end of one: words that the recogniser takes back."""
        transcript, channel, has_words = said.transcript, said.transcript.channel, bool(said.transcript.text.strip())
        place, words = self._places(transcript)
        is_timed = said.has_times and self._was_sent(transcript) and transcript.end_s > transcript.start_s
        answer = (channel, said.channels, place.end if is_timed else None, has_words, has_words, now)
        self._passage.answers.append(answer)
        if has_words:
            self._shown.add(channel)
        elif channel in self._shown:
            self._shown.discard(channel)
        else:
            return []
        if not is_timed:
            sent = self._highest_sent
            untimed = self._untimed
            guess = Estimate(sent, sent, 0) if untimed is None else untimed.interim(channel, self.sent_until)
            place = Range(guess.first, guess.end)
        place, words = self._settled(transcript, place, words, is_timed=is_timed)
        return [Mention(self._result(transcript, place, words, is_estimated=not is_timed))]

    def _final(self, said: Hypothesis, now: float) -> list[Action]:
        """A final. One with words on both sides of a wide gap becomes two."""
        transcript = said.transcript
        self._shown.discard(transcript.channel)
        heard, rate = self._heard.get(transcript.channel), self._rate
        if heard is None:
            heard = self._heard[transcript.channel] = Heard()
        place, words = self._places(transcript)
        if heard.repeats(said):
            return [Tell(self._result(transcript, place, words, is_repeated=True))]
        acknowledges: int | None = None
        is_timed = said.has_times and self._was_sent(transcript) and transcript.start_s < transcript.end_s
        if is_timed and transcript.text.strip():
            is_timed = heard.is_news(round(transcript.start_s * rate), round(transcript.end_s * rate))
        since: int | None = None
        if is_timed:
            acknowledges = self._acknowledges(said, self._timeline.covered(transcript.end_s))
            if self._untimed is not None:
                self._untimed.timed(transcript.channel, place.end, self._timeline.end_sample or 0)
        elif self._untimed is None:  # before the first audio
            place = Range(self._highest_sent, self._highest_sent)
        elif transcript.text.strip() or not said.has_times:
            first, end, since = self._untimed.final(transcript.channel, self.sent_until, now)
            place, acknowledges = Range(first, end), self._acknowledges(said, since)
        spoken_of, has_words = place.end if is_timed else None, bool(transcript.text.strip())
        self._passage.answers.append((transcript.channel, said.channels, spoken_of, has_words, False, now))
        place, words = self._settled(transcript, place, words, is_timed=is_timed)
        self._covered = max(self._covered, acknowledges or 0)
        if self._timeline.is_whole:
            result = self._result(transcript, place, words, since, acknowledges=acknowledges, is_estimated=not is_timed)
            return [Tell(result)]
        results = [
            self._result(part, side, of_side, since, is_estimated=not is_timed or is_guessed)
            for part, side, of_side, is_guessed in self._sides(transcript, place, words)
        ]
        results[-1] = msgspec.structs.replace(results[-1], acknowledges=acknowledges)
        return [Tell(result) for result in results]

    def _was_sent(self, transcript: Transcript) -> bool:
        """Whether its times lie in the audio that was sent."""
        sent_s = self._timeline.sent / self._rate
        return -_OFF_S <= transcript.start_s <= transcript.end_s <= sent_s + _OFF_S

    def _acknowledges(self, said: Hypothesis, end: int) -> int:
        """The sample before which finals cover all audio, after one that covers its channel before `end`.

        With several channels, each of them must have its final.
        """
        channel, timeline, ends = said.transcript.channel, self._timeline, self._channel_ends
        ends[channel] = max(ends.get(channel, 0), end)
        acknowledges = ends[channel]
        if said.channels > 1 or len(ends) > 1:  # some servers give no count of channels
            counted = range(said.channels) if said.channels > 1 else ends
            acknowledges = min([ends.get(each, 0) for each in counted])
        if not timeline.is_whole:
            timeline.forget_before(acknowledges, kept=_LOOKED_BACK_S * self._rate)
        return acknowledges

    def _places(self, transcript: Transcript) -> tuple[Range, Sequence[Range]]:
        """The samples of a transcript, and of each of its words."""
        times = [(transcript.start_s, transcript.end_s), *[(word.start_s, word.end_s) for word in transcript.words]]
        place, *words = self._timeline.spans(times)
        return Range(place.first, max(place)), words

    def _settled(
        self, transcript: Transcript, place: Range, words: Sequence[Range], *, is_timed: bool
    ) -> tuple[Range, Sequence[Range]]:
        """The samples of a transcript and of each of its words. Words far outside of a time that is true move into it.

        With estimated times, words in `place` keep theirs. Others share the last side of wide gaps evenly.
        """
        if is_timed:  # the words' clock may begin again with each utterance
            low, high = place.first - self._off, place.end + self._off
            return place, [word if low <= word.first and word.end <= high else _within(word, place) for word in words]
        have_times = any(word.end_s for word in transcript.words)
        if have_times and all(place.first <= word.first and word.end <= place.end for word in words):
            return place, words
        place = self._timeline.sides(*place, round(_WIDE_S * self._rate))[-1]
        first, end, count = *place, len(words)
        edges = [first + (end - first) * number // count for number in range(count + 1)] if count else []
        return place, [Range(*pair) for pair in itertools.pairwise(edges)]

    def _sides(
        self, transcript: Transcript, place: Range, words: Sequence[Range]
    ) -> list[tuple[Transcript, Range, Sequence[Range], bool]]:
        """The parts of a final on each side of wide gaps: text, samples, words' samples, whether that is a guess."""
        sides = self._timeline.sides(*place, round(_WIDE_S * self._rate))
        if len(sides) == 1:
            return [(transcript, place, words, False)]
        numbers = [max(range(len(sides)), key=lambda number: _common(word, sides[number])) for word in words]
        with_words = sorted(set(numbers))
        if len(with_words) < 2:
            side = sides[with_words[0] if with_words else -1]
            return [(transcript, side, [_within(word, side) for word in words], not words)]
        texts = [word.punctuated_word or word.word for word in transcript.words]
        if not spells(transcript.text, texts):  # no word can be found for each piece of the text
            return [(transcript, sides[-1], [_within(word, sides[-1]) for word in words], True)]
        parts: list[tuple[Transcript, Range, Sequence[Range], bool]] = []
        for number in with_words:
            keeps = [each == number for each in numbers]
            part = msgspec.structs.replace(
                transcript,
                text=of_words(transcript.text, texts, keeps),
                words=tuple(itertools.compress(transcript.words, keeps)),
                speech_final=transcript.speech_final and number == with_words[-1],
            )
            of_side = [_within(word, sides[number]) for word in itertools.compress(words, keeps)]
            parts.append((part, sides[number], of_side, False))
        return parts

    def _result(
        self,
        transcript: Transcript,
        place: Range,
        words: Sequence[Range],
        since: int | None = None,
        *,
        acknowledges: int | None = None,
        is_estimated: bool = False,
        is_repeated: bool = False,
    ) -> control.Result:
        """`transcript` with times of the run. `since`: the first sample that one with estimated times may be about."""
        rate = self._rate
        placed = msgspec.structs.replace(
            transcript,
            start_s=place.first / rate,
            end_s=place.end / rate,
            words=tuple(
                [
                    msgspec.structs.replace(word, start_s=first / rate, end_s=(max(first, end)) / rate)
                    for word, (first, end) in zip(transcript.words, words, strict=True)
                ]
            ),
            connection=self._connection,
            estimated=is_estimated,
            replayed=(place.first if since is None else since) < self._replayed_until,
        )
        return control.Result(
            first=place.first,
            end=place.end,
            transcript=placed,
            acknowledges=acknowledges,
            is_repeated=is_repeated,
        )


def _common(one: Range, other: Range) -> int:
    """How many samples both have; less than 0 for a distance."""
    return min(one.end, other.end) - max(one.first, other.first)


def _within(word: Range, side: Range) -> Range:
    first = min(max(word.first, side.first), side.end)
    return Range(first, min(max(word.end, first), side.end))


def _malformed(text: str) -> Action:
    return Tell(control.Fault(code=ErrorCode.MALFORMED_MESSAGE, message=text))
