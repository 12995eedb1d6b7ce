"""How fast audio may be sent: as it comes, and audio that waited at most `pace` times real time. Pure.

A token bucket of `_BURST_S` seconds of audio, kept as the one moment from which on it is not empty. Live audio never
empties it: it arrives at 1.0.
"""

import math

# Sound servers hand over audio in bursts; a second of credit lets them through.
_BURST_S = 1.0


class Pacer:
    """Allows `pace` seconds of audio a second; None allows everything. `due`: when the next frame may go out."""

    def __init__(self, pace: float | None, now: float) -> None:
        self._pace = math.inf if pace is None else pace
        self._full_after_s = _BURST_S / self._pace
        self.due = now - self._full_after_s

    def sent(self, duration_s: float, now: float) -> None:
        """A frame of `duration_s` went out."""
        self.due = max(self.due, now - self._full_after_s) + duration_s / self._pace
