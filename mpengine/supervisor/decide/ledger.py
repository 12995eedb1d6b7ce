"""Which audio is covered by published finals, and so which finals were published already. Pure.

`acknowledged` only moves forward. Recognisers repeat ranges (after a replay, or on their own): what ends at or before
it is dropped, and of what overlaps it, the words that were not there yet are kept.
"""

import msgspec

from mpengine.shared.control import Heard, SampleWord


class Ledger:
    """The acknowledged position of a run, in samples."""

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
