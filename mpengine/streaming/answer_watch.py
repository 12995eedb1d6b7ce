"""Whether the recogniser still answers what it hears. Pure.

A quiet room is no reason for it to speak, and a burst gives it no time to: it is dead when half a minute of audible
audio went out, over half a minute at least, without any message from it.
"""

import array

DEAD_AFTER_S = 30.0
_LATELY_S = 2.0  # audio is looked at only when nothing came for so long: listening costs
_AUDIBLE_PEAK = 328  # -40 dBFS
_NEVER = float("inf")


class AnswerWatch:
    """For one connection, which takes audio from `now` on. What is sent until `listens_from` it need not know."""

    def __init__(self, now: float, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._dead_after_s = dead_after_s
        self.heard(now)

    def heard(self, now: float) -> None:
        """A message came, of whatever kind."""
        self.listens_from = now + _LATELY_S
        self._audible_s = 0.0
        self._unanswered_since = _NEVER

    def sent(self, pcm: bytes | memoryview, duration_s: float, now: float) -> None:
        """Audio goes out: int16, whole samples."""
        if _is_audible(pcm):
            self._audible_s += duration_s
            self._unanswered_since = min(self._unanswered_since, now)

    @property
    def dead_at(self) -> float:
        """When it must be given up; infinity as long as it has not been sent enough."""
        limit_s = self._dead_after_s
        return self._unanswered_since + limit_s if self._audible_s >= limit_s else _NEVER


def _is_audible(pcm: bytes | memoryview) -> bool:
    samples = array.array("h")
    samples.frombytes(pcm)
    return max(samples) >= _AUDIBLE_PEAK or min(samples) <= -_AUDIBLE_PEAK
