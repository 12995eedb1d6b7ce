"""What children tell of the audio, as what is published: once, in seconds and UTC. Pure.

Recognisers repeat ranges, after a replay or on their own: what was published already is found here by its samples
(`Ledger`), or by its words where a recogniser gives no times (`Overlap`).
"""

import bisect
import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from mpengine.shared import control, messages
from mpengine.shared.control import Heard, SampleWord
from mpengine.shared.messages import Message

# One word in common says nothing.
_LEAST_WORDS = 2
_MOST_FINALS = 100
_KEPT_ANCHORS = 1000


class Ledger:
    """Which audio is covered by published finals, and so which finals were published already.

    `acknowledged`, in samples, only moves forward: what ends at or before it is dropped, and of what overlaps it, the
    words that were not there yet are kept.
    """

    def __init__(self, acknowledged: int = 0) -> None:
        self.acknowledged = self.transcribed = acknowledged
        self._published: dict[int, int] = {}  # channel -> end of its last final: with several, they come one by one

    def published(self, channel: int, end: int) -> None:
        """A final of `channel` that ends at `end` went out."""
        self._published[channel] = max(end, self._published.get(channel, 0))

    def fresh(self, heard: Heard) -> Heard | None:
        """What of a transcript is news; None when nothing is. It counts as published from `settle` on."""
        self.transcribed = max(self.transcribed, heard.end)
        if not heard.is_final or heard.estimated:
            return heard
        covered = max(self.acknowledged, self._published.get(heard.channel, 0))
        if heard.end <= covered + heard.tolerance:
            return None
        if heard.first >= covered - heard.tolerance:
            return heard
        return _cut(heard, covered)

    def settle(self, heard: Heard) -> int | None:
        """`heard` is published: the new acknowledged position, if it moved."""
        if heard.is_final and not heard.estimated:
            self.published(heard.channel, heard.end)
        if heard.acknowledges is None or heard.acknowledges <= self.acknowledged:
            return None
        self.acknowledged = heard.acknowledges
        return self.acknowledged


def _cut(heard: Heard, acknowledged: int) -> Heard | None:
    """`heard` without the words whose middle lies before `acknowledged`; without words its start is clamped."""
    words = heard.words
    kept = tuple(word for word in words if word.first + word.end >= 2 * acknowledged)
    if words and not kept:
        return None
    text = heard.text if len(kept) == len(words) else " ".join(_shown(word) for word in kept)
    return msgspec.structs.replace(heard, first=acknowledged, text=text, words=kept)


def _shown(word: SampleWord) -> str:
    return word.punctuated_word or word.word


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


class Results:
    """Turns the children's reports into messages, for one run."""

    def __init__(self, *, sample_rate: int, user_name: str, acknowledged: int = 0) -> None:
        self.ledger = Ledger(acknowledged)
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

    def transcript(self, heard: control.Heard) -> messages.Transcript | None:
        """What to publish of a transcript: nothing if it is blank, or was published already."""
        if heard.is_final:
            self._open_interim = None
        fresh = self.ledger.fresh(heard)
        if fresh is not None and fresh.is_final and fresh.estimated:
            fresh = self._untimed(fresh)
        if fresh is None or not fresh.text.strip():
            return None
        transcript = messages.Transcript(
            text=fresh.text,
            is_final=fresh.is_final,
            speech_final=fresh.speech_final,
            start_s=self.seconds(fresh.first),
            end_s=self.seconds(fresh.end),
            start_time_ns=self.anchors.utc_ns(fresh.first),
            confidence=fresh.confidence,
            words=tuple(self._word(word) for word in fresh.words),
            channel=fresh.channel,
            language=fresh.language,
            user_name=self.user_name,
            connection=fresh.connection,
            estimated=fresh.estimated,
            replayed=fresh.replayed,
        )
        if not fresh.is_final:
            self._open_interim = transcript
        return transcript

    def settle(self, heard: control.Heard) -> int | None:
        """`heard` is dealt with: the new acknowledged position, if it moved."""
        acknowledged = self.ledger.settle(heard)
        if acknowledged is not None:
            self._overlap.acknowledged(acknowledged)
        return acknowledged

    def _untimed(self, heard: control.Heard) -> control.Heard:
        """A final that only its words place: what was published before the drop is cut."""
        text = self._overlap.cut(heard.connection, heard.text) if heard.replayed else heard.text
        self._overlap.published(heard.connection, heard.end, text)
        return msgspec.structs.replace(heard, text=text)

    def interrupted(self) -> messages.Transcript | None:
        """The connection is gone: the interim in flight, marked, so that nobody waits for its final."""
        interim, self._open_interim = self._open_interim, None
        return None if interim is None else msgspec.structs.replace(interim, interrupted=True)

    def gap(self, missing: control.SamplesMissing) -> messages.Gap:
        """Samples that nobody will hear."""
        return messages.Gap(
            start_s=self.seconds(missing.first),
            end_s=self.seconds(missing.end),
            samples=missing.end - missing.first,
            reason=missing.reason,
            uncertainty_s=self.seconds(missing.uncertainty),
        )

    def _word(self, word: control.SampleWord) -> messages.Word:
        return messages.Word(
            word=word.word,
            start_s=self.seconds(word.first),
            end_s=self.seconds(word.end),
            confidence=word.confidence,
            punctuated_word=word.punctuated_word,
            speaker=word.speaker,
        )


def note(kind: str, data: dict[str, Any]) -> Message:
    """A note of the service."""
    match kind:
        case "credits_low":
            return messages.CreditsLow(seconds_remaining=data["seconds_remaining"])
        case "session_end":
            return messages.SessionEnd(seconds_used=data["seconds_used"])
        case _:
            return messages.Metadata(data=data)
