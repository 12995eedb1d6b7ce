"""From the end mark to an end that the recogniser has confirmed. Pure.

A recogniser that can be asked for its last results (`asked`) answers with them, a last word (Metadata, `session_end`)
and a close. The close alone confirms nothing: servers close connections unasked, too. Only finals that cover all that
was sent say as much as the last word.

Any other recogniser is given time first: an ordinary WebSocket library answers our close frame at once and can send
nothing behind it, so the close frame goes out only when nothing has come for `hold_s`. A proxy that still has words
then sends them before it answers.
"""

from mpengine.dialects.base import Ignored, Note, Ready, Said
from mpengine.streaming.websocket.events import NO_CLOSE_CODE

FINISH_LIMIT_S = 10.0
# A close frame without a code is what a library sends that was told none. 1001 is a server that is shut down.
_NORMAL = frozenset({1000, NO_CLOSE_CODE})


class Finishing:
    """For one connection, behind whose last audio stands the end mark. `needs_close`: see `fails_with_last_word`."""

    def __init__(self, *, asked: bool, needs_close: bool, hold_s: float, now: float) -> None:
        self._asked = asked
        self._needs_close = needs_close
        self._patience_s = FINISH_LIMIT_S if asked else min(hold_s, FINISH_LIMIT_S)
        self._close_sent = self._has_last_word = self._is_confirmed = False
        self.deadline = now + self._patience_s

    def heard(self, said: Said, now: float) -> None:
        """A message came: where that one was, more may follow. What has no meaning may be a proxy's heartbeat."""
        if isinstance(said, (Ignored, Ready)):
            return
        self.deadline = now + self._patience_s
        if self._asked and isinstance(said, Note) and said.is_last:
            self._has_last_word = True
            self._is_confirmed = not self._needs_close

    def may_close(self, now: float) -> bool:
        """Whether the deadline is one for the close frame, which goes out now; else there is no hope any more."""
        if self._asked or self._close_sent:
            return False
        self._close_sent = True
        self._patience_s = FINISH_LIMIT_S
        self.deadline = now + self._patience_s
        return True

    def closed(self, code: int) -> None:
        """The peer's close frame came: a confirmation behind its last word, or if it answers ours."""
        if code in _NORMAL and (self._has_last_word if self._asked else self._close_sent):
            self._is_confirmed = True

    def is_confirmed(self, *, is_covered: bool) -> bool:
        """Whether nothing is missing, now that the connection has ended. `is_covered`: finals cover all of it."""
        return self._is_confirmed or (self._asked and is_covered)
