"""The end of a connection: whether the recogniser has given all its results. Pure."""

from mpengine.dialects.base import Hypothesis, Meaning, Ready, Said, ServiceError
from mpengine.streaming.websocket.events import NO_CLOSE_CODE

# The origin engine's limit.
FINISH_LIMIT_S = 10.0
# A recogniser that says anything but finals for so long is not awaited any longer.
_NO_FINAL_LIMIT_S = 60.0
END_PING = b"mpengine end"
"""The payload of the ping that goes out after all audio."""
# Libraries send a close frame without a code by default. 1001 is not normal: the server was shut down.
_NORMAL = frozenset({1000, NO_CLOSE_CODE})


class Finishing:
    """The end of one connection: from the end mark until the recogniser has confirmed that it gave all results.

    A recogniser that can be asked for its last results (`asked`) answers with them, a last word (Metadata,
    `session_end`) and a close. A close alone confirms nothing: servers close connections unasked, too, and such a close
    may be on its way while we ask. Only finals that cover all audio sent are worth as much as the last word.
    `needs_close`: see `Dialect.fails_with_last_word`.

    `close_confirms`: the recogniser need not say a last word. Then a ping goes out after all audio, just before we ask.
    Its pong shows that the peer has read all audio, for a peer reads in order and answers no ping after its close. A
    normal close after the pong confirms the end, unless the recogniser reports an error.

    Any other recogniser is given time first: the close frame goes out only when no message has come for `hold_s`. An
    ordinary WebSocket library answers our close frame at once, and can send no result after it.
    """

    def __init__(self, *, asked: bool, needs_close: bool, close_confirms: bool, hold_s: float, now: float) -> None:
        self._asked = asked
        self._needs_close = needs_close
        self._close_confirms = close_confirms
        self._limit_s = FINISH_LIMIT_S if asked else min(hold_s, FINISH_LIMIT_S)
        self._has_last_word = self._has_read_all = self._close_sent = self._is_confirmed = False
        self.deadline = now + self._limit_s
        self._final_by = now + _NO_FINAL_LIMIT_S

    @property
    def pings(self) -> bool:
        """Whether a ping with `END_PING` goes out before the texts of `Dialect.finish`."""
        return self._asked and self._close_confirms

    def ponged(self, payload: bytes) -> None:
        """A pong came."""
        self._has_read_all = self._has_read_all or (self.pings and payload == END_PING)

    def heard(self, meaning: Meaning, now: float) -> None:
        """A message came that was understood, and more may follow. `ready` may be a proxy's heartbeat."""
        if isinstance(meaning, Ready):
            return
        if isinstance(meaning, Hypothesis) and meaning.transcript.is_final:
            self._final_by = now + _NO_FINAL_LIMIT_S
        self.deadline = min(now + self._limit_s, self._final_by)
        if self._asked and isinstance(meaning, Said) and meaning.is_last:
            self._has_last_word = True
            self._is_confirmed = not self._needs_close
        elif isinstance(meaning, ServiceError):
            self._close_confirms = self._has_read_all = False

    def may_close(self, now: float) -> bool:
        """At the deadline: True, and the close frame goes out now; False, and there is nothing left to wait for."""
        if self._asked or self._close_sent:
            return False
        self._close_sent = True
        self._limit_s = FINISH_LIMIT_S
        self.deadline = now + self._limit_s
        return True

    def closed(self, code: int) -> None:
        """The peer's close frame came. It confirms the end after a last word, or as the answer to our close frame."""
        has_heard_us = self._has_last_word or self._has_read_all if self._asked else self._close_sent
        if code in _NORMAL and has_heard_us:
            self._is_confirmed = True

    def is_confirmed(self, *, is_covered: bool) -> bool:
        """Whether all results have come, asked when the connection has ended. `is_covered`: finals cover all audio."""
        return self._is_confirmed or (self._asked and is_covered)
