"""What keeps a connection open while it takes audio, and tells when it is dead. Pure."""

from mpengine.streaming.actions import Action, SendPing, SendText
from mpengine.streaming.answer_watch import DEAD_AFTER_S, AnswerWatch

PING_INTERVAL_S = 20.0
PONG_LIMIT_S = 10.0
# The service closes after 10 s without audio or text; it advises a KeepAlive every 3 to 5.
KEEP_ALIVE_AFTER_S = 4.0
_NEVER = float("inf")


class Upkeep:
    """For one connection, which takes audio from `now` on.

    `keep_alive`: the protocol's text for that, if any. `dead_after_s`: how much audible audio may go unanswered.
    """

    def __init__(self, *, keep_alive: str | None, now: float, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._dead_after_s = dead_after_s
        self._keep_alive = keep_alive
        self._keep_alive_at = _NEVER  # not before the first audio: the service would take it amiss
        self._next_ping = now + PING_INTERVAL_S
        self._pong_by = _NEVER
        self._answers = AnswerWatch(now, dead_after_s)

    def sent(self, pcm: bytes | memoryview, duration_s: float, now: float) -> None:
        """Audio goes out."""
        self._keep_alive_at = _NEVER if self._keep_alive is None else now + KEEP_ALIVE_AFTER_S
        if now > self._answers.listens_from:
            self._answers.sent(pcm, duration_s, now)

    def heard(self, now: float) -> None:
        """A message came. Pongs are none: a proxy answers pings while the recogniser behind it is dead."""
        self._answers.heard(now)

    def ponged(self) -> None:
        """The peer has answered a ping."""
        self._pong_by = _NEVER

    @property
    def deadline(self) -> float:
        """When `due` or `trouble` has something to say."""
        return min(self._next_ping, self._pong_by, self._keep_alive_at, self._answers.dead_at)

    def is_unanswered(self, now: float) -> bool:
        """Whether the recogniser is taken for dead."""
        return now >= self._answers.dead_at

    def trouble(self, now: float) -> str | None:
        """Why the connection is dead, if it is."""
        if now >= self._pong_by:
            return f"no answer to a ping within {PONG_LIMIT_S:.0f} s"
        if self.is_unanswered(now):
            return f"the recogniser has said nothing for {self._dead_after_s:.0f} s of audible audio"
        return None

    def due(self, now: float) -> list[Action]:
        """What is to be sent now."""
        actions: list[Action] = []
        if now >= self._next_ping:
            self._next_ping = now + PING_INTERVAL_S
            self._pong_by = now + PONG_LIMIT_S
            actions.append(SendPing(b"mpengine"))
        if now >= self._keep_alive_at and self._keep_alive is not None:
            self._keep_alive_at = now + KEEP_ALIVE_AFTER_S
            actions.append(SendText(self._keep_alive))
        return actions
