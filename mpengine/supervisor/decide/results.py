"""What children tell of the audio, as what is published: once, in seconds and UTC. Pure.

Recognisers repeat ranges, after a replay or on their own: what was published already is found here by its samples
(`Ledger`), or by its words where a recogniser gives no times (`Overlap`).
"""

import bisect
import difflib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from mpengine.shared import control, messages
from mpengine.supervisor.decide.actions import Acknowledge, Action, Child, Publish, Send

# One word in common says nothing.
_LEAST_WORDS = 2
_MOST_FINALS = 100
_KEPT_ANCHORS = 1000
MOST_TRIES = 3  # of the end of a file, while no result of it comes


class Ledger:
    """Which audio is covered by published finals, and so which finals were published already.

    `acknowledged`, in samples, only moves forward: what ends at or before it is dropped, and of what overlaps it, the
    words that were not there yet are kept.
    """

    def __init__(self, sample_rate: int, acknowledged: int = 0) -> None:
        self.acknowledged = self.transcribed = acknowledged
        self._rate = sample_rate
        self._published: dict[int, int] = {}  # channel -> end of its last final: with several, they come one by one

    def published(self, channel: int, end: int) -> None:
        """A final of `channel` that ends at `end` went out."""
        self._published[channel] = max(end, self._published.get(channel, 0))

    def fresh(self, result: control.Result) -> messages.Transcript | None:
        """What of a transcript is news; None when nothing is. The result counts as published from `settle` on."""
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
        """`transcript` without the words whose middle lies before `covered`; without words its start is clamped."""
        words = transcript.words
        kept = tuple(word for word in words if round((word.start_s + word.end_s) * self._rate) >= 2 * covered)
        if words and not kept:
            return None
        is_whole = len(kept) == len(words)
        text = transcript.text if is_whole else " ".join(word.punctuated_word or word.word for word in kept)
        return msgspec.structs.replace(transcript, start_s=covered / self._rate, text=text, words=kept)

    def settle(self, result: control.Result) -> int | None:
        """`result` is published: the new acknowledged position, if it moved."""
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
    """Finals without times that are heard again after a drop: the words both have are kept once.

    Only the words themselves tell: of a final of replayed audio, the longest run of words that it shares with the
    finals of connections before its own (as far as they are not acknowledged, and so were sent again) is cut. A word
    that was heard again once is not expected a second time.
    """

    def __init__(self) -> None:
        self._finals: list[_Final] = []

    def published(self, connection: int, end: int, text: str) -> None:
        """A final of `connection` whose audio ends (by estimate) at `end` was published."""
        self._finals.append(_Final(connection, end, _plain(text.split())))
        del self._finals[:-_MOST_FINALS]

    def acknowledged(self, sample: int) -> None:
        """Nothing before `sample` will be sent again."""
        self._finals = [final for final in self._finals if final.end > sample]

    def cut(self, connection: int, text: str) -> str:
        """`text`, heard on `connection` of replayed audio, without what was published before."""
        earlier = [final for final in self._finals if final.connection < connection]
        before = [word for final in earlier for word in final.words]
        words = text.split()
        matcher = difflib.SequenceMatcher(None, before, _plain(words), autojunk=False)
        common = matcher.find_longest_match()
        if common.size < min(_LEAST_WORDS, len(words)) or not common.size:
            return text
        # In order: what was said before the words that came again has come again, or will not.
        self._forget(earlier, common.a + common.size)
        return " ".join(words[: common.b] + words[common.b + common.size :])

    def _forget(self, finals: list[_Final], count: int) -> None:
        """Take the first `count` words out of `finals`."""
        for final in finals:
            taken = min(count, len(final.words))
            del final.words[:taken]
            count -= taken


def _plain(words: list[str]) -> list[str]:
    """`words` as they compare: punctuation and case may come out differently the second time."""
    return [word.strip(".,;:!?\"'()").casefold() for word in words]


class Anchors:
    """From samples to UTC: pairs of both, in order, which capture renews every few seconds.

    A crystal may be off by seconds a day, and a clock may be stepped: between two anchors the line between them counts,
    outside of them the nominal rate.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples: list[int] = []
        self._times_ns: list[int] = []

    def add(self, sample: int, utc_ns: int) -> None:
        """`sample` was captured at `utc_ns`; older anchors beyond a bound are forgotten."""
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
    """What streaming tells of one run, as what is published and acknowledged."""

    def __init__(self, *, sample_rate: int, user_name: str, acknowledged: int = 0) -> None:
        self.ledger = Ledger(sample_rate, acknowledged)
        self.anchors = Anchors(sample_rate)
        self.user_name = user_name
        self._rate = sample_rate
        self._overlap = Overlap()
        self._open_interim: messages.Transcript | None = None

    def continues(self, acknowledged: int, finals: Iterable[messages.Transcript]) -> None:
        """The run goes on where another supervisor was killed, which had published `finals` last."""
        self.ledger.acknowledged = self.ledger.transcribed = acknowledged
        for final in finals:
            end = round(final.end_s * self._rate)
            if final.estimated:
                self._overlap.published(final.connection, end, final.text)
            else:
                self.ledger.published(final.channel, end)
        self._overlap.acknowledged(acknowledged)

    def seconds(self, samples: int) -> float:
        """A position on the run's clock, in seconds."""
        return samples / self._rate

    def result(self, result: control.Result) -> list[Action]:
        """Journal, publish, then acknowledge: what is not published is sent again."""
        transcript = self._fresh(result)
        acknowledged = self.ledger.settle(result)
        actions: list[Action] = []
        if transcript is not None:
            actions.append(Publish(transcript, covers=acknowledged or 0))
        return actions if acknowledged is None else [*actions, *self.acknowledge(acknowledged)]

    def acknowledge(self, sample: int) -> list[Action]:
        """Everything before `sample` has its results: note it, then let the window forget it."""
        self.ledger.acknowledged = max(self.ledger.acknowledged, sample)
        self._overlap.acknowledged(sample)
        acknowledged = self.ledger.acknowledged
        return [Acknowledge(acknowledged), Send(Child.CAPTURE, control.Acknowledge(sample=acknowledged))]

    def interrupted(self) -> list[Action]:
        """The connection is gone: the open interim, marked, so that nobody waits for its final."""
        interim, self._open_interim = self._open_interim, None
        return [] if interim is None else [Publish(msgspec.structs.replace(interim, interrupted=True))]

    def _fresh(self, result: control.Result) -> messages.Transcript | None:
        """What to publish of a result: None if its text is blank, or was published already."""
        fresh = self.ledger.fresh(result)
        if result.transcript.is_final:
            self._open_interim = None
            if fresh is not None and fresh.estimated:
                fresh = self._untimed(fresh, result.end)
        if fresh is None or not fresh.text.strip():
            return None
        start_time_ns = self.anchors.utc_ns(round(fresh.start_s * self._rate))
        transcript = msgspec.structs.replace(fresh, start_time_ns=start_time_ns, user_name=self.user_name)
        if not transcript.is_final:
            self._open_interim = transcript
        return transcript

    def _untimed(self, final: messages.Transcript, end: int) -> messages.Transcript:
        """A final that only its words place: what was published before the drop is cut."""
        text = self._overlap.cut(final.connection, final.text) if final.replayed else final.text
        self._overlap.published(final.connection, end, text)
        return msgspec.structs.replace(final, text=text)

    def gap(self, missing: control.SamplesMissing) -> messages.Gap:
        """Samples that nobody will hear."""
        return messages.Gap(
            start_s=self.seconds(missing.first),
            end_s=self.seconds(missing.end),
            samples=missing.end - missing.first,
            reason=missing.reason,
            uncertainty_s=self.seconds(missing.uncertainty),
        )
