"""What children tell of the audio, as what is published: samples become seconds and UTC. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from mpengine.shared import control, messages
from mpengine.shared.messages import Message
from mpengine.supervisor.decide.ledger import Ledger
from mpengine.supervisor.decide.overlap import Overlap
from mpengine.supervisor.decide.utc import Anchors


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
