"""From the children's results to published messages: each result once, in seconds and UTC. Pure.

Recognisers repeat ranges of audio, after a replay or on their own. A result that was published already is found by its
samples (`Ledger`), or by its words where a recogniser gives no times (`Overlap`).
"""

import bisect
import difflib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from mpengine.shared import control, messages
from mpengine.supervisor.decide.actions import Acknowledge, Action, Child, Publish, Send

# One word in common proves nothing.
_LEAST_WORDS = 2
_MOST_FINALS = 100
_KEPT_ANCHORS = 1000
MOST_TRIES = 3  # of the end of a file, while no result of it comes


class Ledger:
    """Which audio is covered by published finals, and so which finals were published already.

    `acknowledged`, in samples, only moves forward. A final that ends at or before it is dropped. Of a final that
    overlaps it, the new words are kept.
    """

    def __init__(self, sample_rate: int, acknowledged: int = 0) -> None:
        self.acknowledged = self.transcribed = acknowledged
        self._rate = sample_rate
        self._published: dict[int, int] = {}  # channel -> end of its last final; several channels take turns

    def published(self, channel: int, end: int) -> None:
        """A final of `channel` that ends at sample `end` was published."""
        self._published[channel] = max(end, self._published.get(channel, 0))

    def fresh(self, result: control.Result) -> messages.Transcript | None:
        """The transcript with its new words; None without any. The result counts as published after `settle`."""
        transcript = result.transcript
        self.transcribed = max(self.transcribed, result.end)
        if not transcript.is_final or transcript.estimated:
            return transcript
        covered = max(self.acknowledged, self._published.get(transcript.channel, 0))
        if result.end <= covered + result.tolerance:
            return None
        if result.first >= covered - result.tolerance:
            return transcript
        return self._cut(transcript, covered)

    def _cut(self, transcript: messages.Transcript, covered: int) -> messages.Transcript | None:
        """`transcript` from sample `covered` on: without the words whose middle lies before it."""
        words = transcript.words
        kept = tuple(word for word in words if round((word.start_s + word.end_s) * self._rate) >= 2 * covered)
        if words and not kept:
            return None
        is_whole = len(kept) == len(words)
        text = transcript.text if is_whole else " ".join(word.punctuated_word or word.word for word in kept)
        return msgspec.structs.replace(transcript, start_s=covered / self._rate, text=text, words=kept)

    def settle(self, result: control.Result) -> int | None:
        """`result` is published. Returns the new acknowledged sample, or None if it has not moved."""
        transcript = result.transcript
        if transcript.is_final and not transcript.estimated:
            self.published(transcript.channel, result.end)
        if result.acknowledges is None or result.acknowledges <= self.acknowledged:
            return None
        self.acknowledged = result.acknowledges
        return self.acknowledged


class _Final(NamedTuple):
    connection: int
    end: int
    words: list[str]


class Overlap:
    """Finals without times that are heard again after a lost connection: the common words are published once.

    Only the words can be compared. A final of replayed audio is compared with the finals of earlier connections that
    are not acknowledged, since their audio was sent again: the longest run of common words is cut out of it. A word
    that came again once is not expected a second time.
    """

    def __init__(self) -> None:
        self._finals: list[_Final] = []

    def published(self, connection: int, end: int, text: str) -> None:
        """A final of `connection` was published. By estimate, its audio ends at sample `end`."""
        self._finals.append(_Final(connection, end, _plain(text.split())))
        del self._finals[:-_MOST_FINALS]

    def acknowledged(self, sample: int) -> None:
        """Nothing before `sample` will be sent again."""
        self._finals = [final for final in self._finals if final.end > sample]

    def cut(self, connection: int, text: str) -> str:
        """`text`, of replayed audio on `connection`, without the words that were published before."""
        earlier = [final for final in self._finals if final.connection < connection]
        before = [word for final in earlier for word in final.words]
        words = text.split()
        matcher = difflib.SequenceMatcher(None, before, _plain(words), autojunk=False)
        common = matcher.find_longest_match()
        if common.size < min(_LEAST_WORDS, len(words)) or not common.size:
            return text
        # Words come in order: the words before these have come again, or never will.
        self._forget(earlier, common.a + common.size)
        return " ".join(words[: common.b] + words[common.b + common.size :])

    def _forget(self, finals: list[_Final], count: int) -> None:
        """Take the first `count` words out of `finals`."""
        for final in finals:
            taken = min(count, len(final.words))
            del final.words[:taken]
            count -= taken


def _plain(words: list[str]) -> list[str]:
    """`words` without punctuation and case, which may differ the second time."""
    return [word.strip(".,;:!?\"'()").casefold() for word in words]


class Anchors:
    """From samples to UTC, by pairs of both that capture reports every few seconds.

    A crystal may be off by seconds a day, and a clock may be stepped. So between two anchors UTC is interpolated;
    before the first and after the last one, the nominal rate counts.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples: list[int] = []
        self._times_ns: list[int] = []

    def add(self, sample: int, utc_ns: int) -> None:
        """`sample` was captured at `utc_ns`."""
        if self._samples and sample <= self._samples[-1]:
            return
        self._samples.append(sample)
        self._times_ns.append(utc_ns)
        if len(self._samples) > _KEPT_ANCHORS:
            del self._samples[0], self._times_ns[0]

    def utc_ns(self, sample: int) -> int | None:
        """When `sample` was captured; None before the first anchor is known."""
        if not self._samples:
            return None
        after = bisect.bisect_right(self._samples, sample)
        if 0 < after < len(self._samples):
            first, end = self._samples[after - 1], self._samples[after]
            begin_ns = self._times_ns[after - 1]
            return begin_ns + (self._times_ns[after] - begin_ns) * (sample - first) // (end - first)
        nearest = max(0, after - 1)
        return self._times_ns[nearest] + (sample - self._samples[nearest]) * 1_000_000_000 // self._rate


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
    """The results of one run: what to publish, and what to acknowledge."""

    def __init__(self, *, sample_rate: int, user_name: str, acknowledged: int = 0) -> None:
        self.ledger = Ledger(sample_rate, acknowledged)
        self.anchors = Anchors(sample_rate)
        self.user_name = user_name
        self._rate = sample_rate
        self._overlap = Overlap()
        self._open_interim: messages.Transcript | None = None

    def continues(self, acknowledged: int, finals: Iterable[messages.Transcript]) -> None:
        """The run goes on where another supervisor was killed. `finals` are the last ones that it published."""
        self.ledger.acknowledged = self.ledger.transcribed = acknowledged
        for final in finals:
            end = round(final.end_s * self._rate)
            if final.estimated:
                self._overlap.published(final.connection, end, final.text)
            else:
                self.ledger.published(final.channel, end)
        self._overlap.acknowledged(acknowledged)

    def seconds(self, samples: int) -> float:
        """`samples` in seconds."""
        return samples / self._rate

    def result(self, result: control.Result) -> list[Action]:
        """Publish `result`, then acknowledge its audio: audio without a published result is sent again."""
        transcript = self._fresh(result)
        acknowledged = self.ledger.settle(result)
        actions: list[Action] = []
        if transcript is not None:
            actions.append(Publish(transcript, covers=acknowledged or 0))
        return actions if acknowledged is None else [*actions, *self.acknowledge(acknowledged)]

    def acknowledge(self, sample: int) -> list[Action]:
        """All audio before `sample` has its results: note that, then let the window forget the audio."""
        self.ledger.acknowledged = max(self.ledger.acknowledged, sample)
        self._overlap.acknowledged(sample)
        acknowledged = self.ledger.acknowledged
        return [Acknowledge(acknowledged), Send(Child.CAPTURE, control.Acknowledge(sample=acknowledged))]

    def interrupted(self) -> list[Action]:
        """The connection is gone: publish the open interim again, marked as one without a final."""
        interim, self._open_interim = self._open_interim, None
        return [] if interim is None else [Publish(msgspec.structs.replace(interim, interrupted=True))]

    def _fresh(self, result: control.Result) -> messages.Transcript | None:
        """The transcript to publish for `result`; None if its text is blank, or was published already."""
        fresh = self.ledger.fresh(result)
        if result.transcript.is_final:
            self._open_interim = None
            if fresh is not None and fresh.estimated:
                connection, text = fresh.connection, fresh.text
                text = self._overlap.cut(connection, text) if fresh.replayed else text
                self._overlap.published(connection, result.end, text)
                fresh = msgspec.structs.replace(fresh, text=text)
        if fresh is None or not fresh.text.strip():
            return None
        start_time_ns = self.anchors.utc_ns(round(fresh.start_s * self._rate))
        transcript = msgspec.structs.replace(fresh, start_time_ns=start_time_ns, user_name=self.user_name)
        if not transcript.is_final:
            self._open_interim = transcript
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
