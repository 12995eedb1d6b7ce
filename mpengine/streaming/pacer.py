"""How fast audio may be sent: as it comes, and audio that waited at most `pace` times real time. Pure.

A token bucket in seconds of audio. Live audio never empties it: it arrives at 1.0.
"""

# Sound servers hand over audio in bursts; a second of credit lets them through.
_BURST_S = 1.0


class Pacer:
    """Allows `pace` seconds of audio a second; None allows everything."""

    def __init__(self, pace: float | None, now: float) -> None:
        self._pace = pace
        self._credit_s = _BURST_S
        self._updated = now

    def may_send(self, now: float) -> bool:
        """Whether a frame may go out now."""
        if self._pace is None or self._credit_s > 0:
            return True
        self._refill(now)
        return self._credit_s > 0

    def sent(self, duration_s: float, now: float) -> None:
        """A frame of `duration_s` went out."""
        self._refill(now)
        self._credit_s -= duration_s

    def due(self, now: float) -> float:
        """When the next frame may go out."""
        if self._pace is None or self._credit_s > 0:
            return now
        return self._updated - self._credit_s / self._pace + 1e-6

    def _refill(self, now: float) -> None:
        if self._pace is not None:
            self._credit_s = min(_BURST_S, self._credit_s + (now - self._updated) * self._pace)
        self._updated = now
