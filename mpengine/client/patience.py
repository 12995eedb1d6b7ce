"""How long somebody has waited who looks only now and then. Pure."""

# A time without a look counts for so long at most. A program that looks as often as its screen is drawn waits no longer
# than one that waits inside a look; one that looks every other second is given as many looks.
_LONGEST_ABSENCE_S = 0.1


class Patience:
    """Measures time that nearly stands still while nobody looks: what came meanwhile is not late."""

    def __init__(self, now: float) -> None:
        self._left_at = now
        self._missed_s = 0.0

    def back(self, now: float) -> None:
        """A look begins."""
        self._missed_s += max(0.0, now - self._left_at - _LONGEST_ABSENCE_S)
        self._left_at = now

    def leave(self, now: float) -> None:
        """A look is over."""
        self._left_at = now

    def waited(self, now: float) -> float:
        """The time of a clock, as it is measured here."""
        return now - self._missed_s

    def clock(self, waited: float) -> float:
        """When it will be so late, as long as somebody looks."""
        return waited + self._missed_s
