"""From the children's results to published messages: each result once, in seconds and UTC. Pure.

A recogniser hears audio again after a lost connection. So a final of replayed audio is compared with finals of earlier
connections, and with nothing else: on one connection, every final with text is news, whatever its times are.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from mpengine.shared import control, messages
from mpengine.shared.clocks import Clocks
from mpengine.shared.messages import Transcript
from mpengine.shared.ranges import Range, Ranges
from mpengine.shared.text import of_words, spells
from mpengine.supervisor.decide.actions import Acknowledge, Action, Child, Log, Publish, Send
from mpengine.supervisor.decide.common_run import Run, longest_common_run
from mpengine.supervisor.decide.silence import Silence

# Without times only the words can be compared, and one word in common proves nothing.
_LEAST_WORDS = 2
# Comparing takes time for each pair of words.
_MOST_WORDS = 500
# So many letters of a word are compared: 500 words of 100 kB would be remembered otherwise.
_LONGEST_WORD = 100
# So far may the times of one word differ on two connections. Where only the final has times, those of its words are
# guessed.
_SLACK_S, _GUESSED_SLACK_S = 0.25, 1.0
# Of a final that ends so shortly after the acknowledged sample, no word is heard again.
_NEAR_S = 0.01
_PUNCTUATION = ".,;:!?\"'()\u2026\u3001\u3002\u300c\u300d\uff01\uff0c\uff1f"
_MOST_RANGES = 100
_KEPT_ANCHORS = 1000
# The anchors of so long tell the rate of a device, though each may be wrong by half a millisecond at first. What is
# further off is no crystal.
_RATE_NS = 20_000_000_000
_MOST_OFF = 300e-6
MOST_TRIES = 3  # of the end of a file, while no result of it comes


class _Word(msgspec.Struct):
    """The beginning of one word of a final, without punctuation and case, which may differ the second time.

    `connection` is the last one that brought the word. The final ends at sample `until`; it is `estimated` where the
    recogniser gave no times. Otherwise the word's times may be off by `slack_s`.
    """

    text: str
    start_s: float
    end_s: float
    until: int
    channel: int
    connection: int
    estimated: bool
    slack_s: float


class News(NamedTuple):
    """The new part of a final, None without any, and the words that were published before."""

    transcript: Transcript | None
    withheld: tuple[str, ...] = ()


class Ledger:
    """The samples that have their finals, and the published words whose audio may be heard again.

    All samples before `acknowledged` have theirs; others are covered out of order.
    """

    def __init__(self, sample_rate: int, acknowledged: int = 0) -> None:
        self._rate = sample_rate
        self._near = round(_NEAR_S * sample_rate)
        self._words: list[_Word] = []  # published, and perhaps heard again
        self.continues(acknowledged)

    def continues(self, acknowledged: int, finals: Iterable[Transcript] = ()) -> None:
        """All samples before `acknowledged` have their finals. `finals` are the last published ones of the run."""
        self._beyond: Ranges | None = None  # what is covered out of order
        self.acknowledged = self.transcribed = self._granted = acknowledged
        for final in finals:
            self._words += _words_of(final, round(final.end_s * self._rate))
        self._forget()

    def granted(self) -> int:
        """A connection begins. Returns the sample from which on it gets the audio."""
        self._granted = self.acknowledged
        return self.acknowledged

    def news(self, result: control.Result) -> News:
        """The part of `result` that was not published before. It counts as published after `settle`."""
        transcript = result.transcript
        self.transcribed = max(self.transcribed, result.end)
        if not transcript.is_final or not transcript.text.strip():
            return News(transcript)
        if result.is_repeated:
            return News(None, tuple(_texts(transcript)))
        connection, channel = transcript.connection, transcript.channel
        earlier = [word for word in self._words if word.connection < connection and word.channel == channel]
        if not (earlier and transcript.replayed):
            return News(transcript)
        has_begun = any(word.connection == connection and word.channel == channel for word in self._words)
        heard = _words_of(transcript, result.end)[:_MOST_WORDS]
        return _without(transcript, _known(earlier, heard, has_begun=has_begun))

    def settle(self, result: control.Result, published: Transcript | None) -> int | None:
        """`published`, of `result`, is published. Returns the new acknowledged sample, None if it has not moved."""
        moved = None if result.acknowledges is None else self.acknowledge(result.acknowledges)
        if published is not None and published.is_final and result.end > self.acknowledged + self._near:
            self._insert(published, result.end)
        return moved

    def _insert(self, final: Transcript, until: int) -> None:
        """Put its words in order: after those of its channel that its connection has brought, or brought again."""
        words, at = self._words, len(self._words)
        for number, word in enumerate(words, 1):
            if word.connection == final.connection and word.channel == final.channel:
                at = number
        words[at:at] = _words_of(final, until)
        del words[:-_MOST_WORDS]

    def acknowledge(self, sample: int) -> int | None:
        """The audio of the current connection before `sample` has its finals. Returns the same as `settle`."""
        return self.cover(self._granted, sample)

    def cover(self, first: int, end: int) -> int | None:
        """The samples [first, end) need no further final. Returns the same as `settle`."""
        if end <= max(first, self.acknowledged):
            return None
        if first > self.acknowledged:
            self._beyond = self._beyond or Ranges()
            self._beyond.join(first, end)
            if len(self._beyond) > _MOST_RANGES:
                self._beyond.forget_before(self.covered[1].end)
            return None
        self.acknowledged = end
        if self._beyond is not None:
            self.acknowledged = self._beyond.end_of(end)
            self._beyond.forget_before(self.acknowledged)
        if self._words:
            self._forget()
        return self.acknowledged

    @property
    def covered(self) -> list[Range]:
        """The samples that need no further final."""
        return [Range(0, self.acknowledged), *(self._beyond or ())]

    def uncovered(self, first: int, end: int) -> list[Range]:
        """The parts of [first, end) that still need a final."""
        return (self._beyond or Ranges()).cut(max(first, self.acknowledged), end)

    @property
    def words(self) -> Iterator[Range]:
        """The samples of published words that may be heard again."""
        return (Range(round(word.start_s * self._rate), word.until) for word in self._words)

    def _forget(self) -> None:
        """Audio with its finals is not sent again."""
        least = self.acknowledged + self._near
        self._words = [word for word in self._words[-_MOST_WORDS:] if word.until > least]


def _spelling(transcript: Transcript) -> list[str]:
    """Its words as they stand in the text; none if the text has other words."""
    texts = [word.punctuated_word or word.word for word in transcript.words]
    return texts if spells(transcript.text, texts) else []


def _texts(transcript: Transcript) -> list[str]:
    """The words of the text."""
    return _spelling(transcript) or transcript.text.split()


def _words_of(transcript: Transcript, until: int) -> list[_Word]:
    """The words of its text. Those without times share the time of the transcript evenly."""
    if _spelling(transcript):
        slack_s, places = _SLACK_S, [(word.word, word.start_s, word.end_s) for word in transcript.words]
    else:
        texts, begin_s = transcript.text.split(), transcript.start_s
        step_s = (transcript.end_s - begin_s) / max(1, len(texts))
        places = [(text, begin_s + n * step_s, begin_s + (n + 1) * step_s) for n, text in enumerate(texts)]
        slack_s = _GUESSED_SLACK_S
    return [
        _Word(
            text=text.strip(_PUNCTUATION)[:_LONGEST_WORD].casefold(),
            start_s=start_s,
            end_s=end_s,
            until=until,
            channel=transcript.channel,
            connection=transcript.connection,
            estimated=transcript.estimated,
            slack_s=slack_s,
        )
        for text, start_s, end_s in places
    ]


def _known(earlier: list[_Word], heard: list[_Word], *, has_begun: bool) -> set[int]:
    """The numbers of the words `heard`, of one final, that `earlier` has, too. Times count where both have them.

    `has_begun`: their connection has brought words before these.
    """
    if heard[0].estimated:
        return _longest_run(earlier, heard, has_begun=has_begun)
    known = _same_times([word for word in earlier if not word.estimated], heard)
    guessed = [word for word in earlier if word.estimated]
    left = [number for number in range(len(heard)) if number not in known]
    if guessed and len(left) >= min(_LEAST_WORDS, len(heard)):
        run = _longest_run(guessed, [heard[number] for number in left], has_begun=has_begun)
        known |= {left[number] for number in run}
    return known


def _longest_run(earlier: list[_Word], heard: list[_Word], *, has_begun: bool) -> set[int]:
    """The numbers of the words `heard` that are the longest run of words which `earlier` has, too.

    Words come in order: those before the run in `earlier` have come again on this connection, or never will. So, once
    the connection `has_begun`, a single word counts that is the next one in order.
    """
    common = longest_common_run([word.text for word in earlier], [word.text for word in heard])
    if common.size < min(_LEAST_WORDS, len(heard)):
        if not (has_begun and earlier[0].text == heard[0].text):
            return set()
        common = Run(0, 0, 1)
    for word in earlier[: common.first_a + common.size]:
        word.connection = heard[0].connection
    return set(range(common.first_b, common.first_b + common.size))


def _same_times(earlier: list[_Word], heard: list[_Word]) -> set[int]:
    """The numbers of the words `heard` that `earlier` has with the same text and time. Each counts once."""
    known = set()
    for number, word in enumerate(heard):
        for same in earlier:
            if same.connection < word.connection and same.text == word.text and _agree(same, word):
                same.connection = word.connection
                known.add(number)
                break
    return known


def _agree(one: _Word, other: _Word) -> bool:
    slack_s = max(one.slack_s, other.slack_s)
    return one.start_s < other.end_s + slack_s and other.start_s < one.end_s + slack_s


def _without(transcript: Transcript, known: set[int]) -> News:
    """`transcript` without its words with the numbers `known`."""
    texts = _texts(transcript)
    withheld = tuple(text for number, text in enumerate(texts) if number in known)
    if not known:
        return News(transcript)
    if len(known) == len(texts):
        return News(None, withheld)
    keeps = [number not in known for number in range(len(texts))]
    words = tuple(itertools.compress(transcript.words, keeps)) if _spelling(transcript) else ()
    start_s = words[0].start_s if words and not keeps[0] and not transcript.estimated else transcript.start_s
    text = of_words(transcript.text, texts, keeps)
    return News(msgspec.structs.replace(transcript, text=text, words=words, start_s=start_s), withheld)


class Anchors:
    """From samples to UTC, by pairs of both that capture reports every few seconds, and soon after a clock has jumped.

    A crystal may be off by seconds a day, so between two anchors UTC is interpolated. After the last one, the rate of
    the last anchors counts, or the nominal one where that is not known. The nominal rate also counts before the first
    anchor, and up to an anchor before which the machine was suspended.

    UTC is always that of the wall clock as it stands now: a step of it moves all anchors, so that nothing is
    interpolated across one.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples: list[int] = []
        self._times_ns: list[int] = []  # by the wall clock before all steps
        self._has_jumped: list[bool] = []  # since the anchor before
        self._steps_ns = 0  # the sum of all steps
        self._slower = 0.0  # how much slower than the nominal rate the last anchors are
        self._clocks: Clocks | None = None

    def add(self, sample: int, utc_ns: int, clocks: Clocks) -> int:
        """`sample` was captured at `utc_ns`; `clocks` were read then.

        Returns by how many nanoseconds the wall clock was set since the last anchor, 0 if it was not.
        """
        before, self._clocks = self._clocks or clocks, clocks
        step_ns = clocks.stepped_since(before)
        self._steps_ns += step_ns
        if not self._samples or sample > self._samples[-1]:
            self._samples.append(sample)
            self._times_ns.append(utc_ns - self._steps_ns)
            self._has_jumped.append(clocks.suspended_since(before) != 0)
            if len(self._samples) > _KEPT_ANCHORS:
                del self._samples[0], self._times_ns[0], self._has_jumped[0]
            self._slower = self._found_slower()
        return step_ns

    def utc_ns(self, sample: int) -> int | None:
        """When `sample` was captured; None before the first anchor is known."""
        if not self._samples:
            return None
        after = bisect.bisect_right(self._samples, sample)
        nearest = max(0, after - 1)
        first, begin_ns = self._samples[nearest], self._times_ns[nearest] + self._steps_ns
        nominal_ns = begin_ns + (sample - first) * 1_000_000_000 // self._rate
        if after == len(self._samples):
            return nominal_ns + round((nominal_ns - begin_ns) * self._slower)
        if not after:
            return nominal_ns
        end, end_ns = self._samples[after], self._times_ns[after] + self._steps_ns
        if self._has_jumped[after]:
            return min(nominal_ns, end_ns)
        return begin_ns + (end_ns - begin_ns) * (sample - first) // (end - first)

    def _found_slower(self) -> float:
        """By the anchors of the last `_RATE_NS`; 0 if they tell nothing: a gap, a pause or a suspension is no rate."""
        before = len(self._samples) - 1
        while before > 0 and self._times_ns[-1] - self._times_ns[before] < _RATE_NS:
            if self._has_jumped[before]:
                return 0.0
            before -= 1
        took_ns = self._times_ns[-1] - self._times_ns[before]
        if took_ns < _RATE_NS:
            return 0.0
        nominal_ns = (self._samples[-1] - self._samples[before]) * 1_000_000_000 / self._rate
        slower = took_ns / nominal_ns - 1
        return slower if abs(slower) <= _MOST_OFF else 0.0


class EndTries:
    """How often the end of a file is sent again to a recogniser that never confirms it.

    It counts the tries in a row that brought nothing: each replays audio, which may be billed.
    """

    def __init__(self) -> None:
        self._tries = 0
        self._acknowledged = -1

    @property
    def may_try_again(self) -> bool:
        """Whether another try is worth it."""
        return self._tries < MOST_TRIES

    def sent(self, acknowledged: int) -> None:
        """The end went out once more. A recogniser that has moved `acknowledged` since the last try is merely slow."""
        self._tries = self._tries + 1 if acknowledged == self._acknowledged else 1
        self._acknowledged = acknowledged


class Results:
    """The results of one run: what to publish, and what to acknowledge.

    `withheld`: how many finals were not published, or not whole, because their words were published before. `finals`:
    how many were published. `hang_over_s`: so long is the silence that the silence gate lets pass before it closes.
    """

    def __init__(self, *, sample_rate: int, user_name: str, acknowledged: int = 0, hang_over_s: float = 1.0) -> None:
        self.sample_rate = sample_rate
        self.ledger = Ledger(sample_rate, acknowledged)
        self.anchors = Anchors(sample_rate)
        self.silence = Silence(sample_rate)
        self.user_name = user_name
        self.withheld = self.finals = 0
        self._hang_over = round(hang_over_s * sample_rate)
        self._quiet = Ranges()  # what the silence gate kept back, with the silence before that
        self._interims: dict[int, Transcript] = {}  # the open one of each channel

    def seconds(self, samples: int) -> float:
        """`samples` in seconds."""
        return samples / self.sample_rate

    def result(self, result: control.Result) -> list[Action]:
        """Publish `result`, then acknowledge its audio: audio without a published result is sent again."""
        news = self.ledger.news(result)
        transcript = self._complete(news.transcript)
        acknowledged = self.ledger.settle(result, transcript)
        actions: list[Action] = []
        if news.withheld:
            self.withheld += 1
            why = "repeated" if result.is_repeated else "published before the connection was lost"
            actions.append(Log("info", "withheld", {"words": " ".join(news.withheld), "reason": why}))
        if transcript is not None:
            if transcript.is_final:
                self.finals += 1
                self.silence.finals.append((round(transcript.start_s * self.sample_rate), result.end))
            actions.append(Publish(transcript, covers=acknowledged or 0))
        elif (interim := self._interims.pop(result.transcript.channel, None)) is not None:
            # The recogniser has taken back the words that people see.
            self._without_final(interim)
            actions.append(Publish(msgspec.structs.replace(interim, text="", words=())))
        return actions if acknowledged is None else [*actions, *self._acknowledged(acknowledged)]

    def acknowledge(self, sample: int) -> list[Action]:
        """All audio of the current connection before `sample` has its results."""
        acknowledged = self.ledger.acknowledge(sample)
        return [] if acknowledged is None else self._acknowledged(acknowledged)

    def passed(self, sample: int) -> list[Action]:
        """The recogniser is done with the audio of the current connection before `sample`: silence needs no final."""
        ledger, acknowledged = self.ledger, None
        self.silence.forget_before(ledger.acknowledged)
        for first, end in self.silence.before(sample, ledger.words):
            acknowledged = ledger.cover(first, end) or acknowledged
        return [] if acknowledged is None else self._acknowledged(acknowledged)

    def gated(self, first: int, end: int) -> list[Action]:
        """The samples [first, end) are silence that nobody is sent: they need no final.

        No word is in them: the gate had heard nothing for the whole hang-over before them.
        """
        self._quiet.forget_before(self.ledger.acknowledged)
        self._quiet.join(first - self._hang_over, end)
        if len(self._quiet) > _MOST_RANGES:
            self._quiet.forget_before(next(iter(self._quiet)).end)
        acknowledged = self.ledger.cover(first, end)
        return [] if acknowledged is None else self._acknowledged(acknowledged)

    @property
    def unheard(self) -> Iterator[Range]:
        """The audio before the last gated sample in which somebody may be heard, and that has no final."""
        *_, (_, until) = (Range(0, 0), *self._quiet)
        for first, end in self.ledger.uncovered(0, until):
            yield from self._quiet.cut(first, end)

    def _acknowledged(self, sample: int) -> list[Action]:
        """Note that all audio before `sample` has its results, then let the window forget the audio."""
        return [Acknowledge(sample), Send(Child.CAPTURE, control.Acknowledge(sample=sample))]

    def interrupted(self) -> list[Action]:
        """The connection is gone: publish the open interims again, marked as those without a final."""
        interims, self._interims = self._interims, {}
        for interim in interims.values():
            self._without_final(interim)
        return [Publish(msgspec.structs.replace(interim, interrupted=True)) for interim in interims.values()]

    def _without_final(self, interim: Transcript) -> None:
        """Some words of `interim` are in no final yet, and perhaps never will be."""
        self.silence.spoken(round(interim.start_s * self.sample_rate), round(interim.end_s * self.sample_rate))

    def _complete(self, news: Transcript | None) -> Transcript | None:
        """`news` with the speaker's name and the time of day; None if its text is blank."""
        if news is None or not news.text.strip():
            return None
        start_time_ns = self.anchors.utc_ns(round(news.start_s * self.sample_rate))
        transcript = msgspec.structs.replace(news, start_time_ns=start_time_ns, user_name=self.user_name)
        if transcript.is_final:
            interim = self._interims.pop(transcript.channel, None)
            if interim is not None and interim.end_s > transcript.end_s:
                self._without_final(interim)
        else:
            self._interims[transcript.channel] = transcript
        return transcript

    def gap(self, missing: control.SamplesMissing) -> messages.Gap:
        """The gap to publish for `missing` samples."""
        return messages.Gap(
            start_s=self.seconds(missing.first),
            end_s=self.seconds(missing.end),
            samples=missing.end - missing.first,
            reason=missing.reason,
            uncertainty_s=self.seconds(missing.uncertainty),
        )
