"""When a device that delivers nothing is lost, and when one that is missing is tried again. Pure."""

from mpengine.shared.deciding import NEVER

# A try costs 5 ms. Nobody else is bothered, so there is no reason to wait long, or for a random time.
_WAITS_S = (0.5, 1.0, 2.0)
# An open device that delivers nothing for so long is lost: a card that goes may say 0 without an error. PulseAudio at
# rest hands over two seconds at a time.
LOST_AFTER_S = 3.0
# A process that was stopped has heard nothing either. So the time between two looks counts no more than this.
_LONGEST_LOOK_S = 1.0


class Patience:
    """How long a device has delivered nothing, while this process was there to hear it."""

    def __init__(self, now_s: float) -> None:
        self._looked_at_s = now_s
        self._silent_s = 0.0

    def is_over(self, now_s: float, *, has_come: bool) -> bool:
        """Take a look; `has_come` says whether it brought samples. Returns whether the device is lost."""
        since_s, self._looked_at_s = now_s - self._looked_at_s, now_s
        self._silent_s = 0.0 if has_come else self._silent_s + min(since_s, _LONGEST_LOOK_S)
        return self._silent_s >= LOST_AFTER_S


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
