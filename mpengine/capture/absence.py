"""When a device that is missing is tried again. Pure."""

from mpengine.shared.deciding import NEVER

# A try costs 5 ms. Nobody else is bothered, so there is no reason to wait long, or for a random time.
_WAITS_S = (0.5, 1.0, 2.0)


class Absence:
    """The time without a device; there is none at first."""

    def __init__(self) -> None:
        self._failures = 0
        self._reason: str | None = None
        self.next_try_at = NEVER
        """On the clock of `now`."""

    def failed(self, now: float) -> float:
        """The device was lost, or a try has failed. Returns the seconds until the next try."""
        wait_s = _WAITS_S[min(self._failures, len(_WAITS_S) - 1)]
        self._failures += 1
        self.next_try_at = now + wait_s
        return wait_s

    def tries(self) -> None:
        """A try begins, and may take long to succeed."""
        self.next_try_at = NEVER

    @property
    def lasts(self) -> bool:
        """Whether the device is missing."""
        return self._failures > 0

    def is_due(self, now: float) -> bool:
        """Whether to try again."""
        return now >= self.next_try_at

    def is_news(self, reason: str) -> bool:
        """Whether `reason` is another one than the last time."""
        before, self._reason = self._reason, reason
        return reason != before

    def ended(self) -> None:
        """The device is back, or is not wanted any more."""
        self._failures, self._reason = 0, None
        self.next_try_at = NEVER
