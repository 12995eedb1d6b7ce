"""How much of a stream may be read now: a live source sets its own pace, a file is read like speech. Pure.

Nothing tells a live source from a file that somebody pipes in, except its speed. So a source may be ahead of real time
for a moment, because a program hands over what it had recorded before. If more waits all the time, it is a file.
"""

# A source is a file when it is faster than this for so long.
_FASTER = 1.1
_FASTER_FOR_S = 5.0
# So much a live source may deliver at once, when it begins and after its reader was away.
_FIRST_S = 2.0
_MOST_S = 60.0
# A file that is read late, because this process had no time, catches up by so much.
_MOST_OF_FILE_S = 1.0


class Allowance:
    """The frames that may be read from a source of `rate_hz`. `waiting`: how many waited for the first reader.

    `is_file`: the source is known to be a file, or has turned out to be faster than real time.
    """

    def __init__(self, *, rate_hz: int, waiting: int, now_ns: int, is_file: bool = False) -> None:
        self._rate_hz = rate_hz
        self._credit = _MOST_OF_FILE_S * rate_hz if is_file else _FIRST_S * rate_hz + waiting
        self._at_ns = now_ns
        self._ahead_since_ns: int | None = None
        self.is_file = is_file

    def frames(self, now_ns: int) -> int:
        """How many frames may be read now."""
        factor, most_s = (1.0, _MOST_OF_FILE_S) if self.is_file else (_FASTER, _MOST_S)
        gained = (now_ns - self._at_ns) / 1e9 * factor * self._rate_hz
        self._at_ns = now_ns
        self._credit = min(self._credit + gained, max(self._credit, most_s * self._rate_hz))
        return int(self._credit)

    def took(self, frames: int, now_ns: int, *, is_more: bool) -> bool:
        """Note a read. `is_more`: more waits than may be read. Returns whether the source has just become a file."""
        self._credit -= frames
        if not is_more:
            self._ahead_since_ns = None
            return False
        if self._ahead_since_ns is None:
            self._ahead_since_ns = now_ns
        if self.is_file or now_ns - self._ahead_since_ns < _FASTER_FOR_S * 1e9:
            return False
        self.is_file = True
        return True
