"""What keeps a connection open while it takes audio, how fast that may be sent, and when it is dead. Pure."""

import array
import math

from mpengine.shared.waiting import NEVER
from mpengine.streaming.actions import Action, SendPing, SendText

PING_INTERVAL_S = 20.0
PONG_LIMIT_S = 10.0
# The service closes after 10 s without audio or text; it advises a KeepAlive every 3 to 5.
KEEP_ALIVE_AFTER_S = 4.0
DEAD_AFTER_S = 30.0
_LATELY_S = 2.0  # audio is looked at only when nothing came for so long: listening costs
_AUDIBLE_PEAK = 328  # -40 dBFS
# Sound servers hand over audio in bursts; a second of credit lets them through.
_BURST_S = 1.0


class AnswerWatch:
    """Whether the recogniser still answers what it hears, on one connection, which takes audio from `now` on.

    A quiet room is no reason for it to speak, and a burst gives it no time to: it is dead when half a minute of audible
    audio went out, over half a minute at least, without any message from it. What is sent until `listens_from` need not
    be known here.
    """

    def __init__(self, now: float, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._dead_after_s = dead_after_s
        self.heard(now)

    def heard(self, now: float) -> None:
        """A message came, of whatever kind."""
        self.listens_from = now + _LATELY_S
        self._audible_s = 0.0
        self._unanswered_since = NEVER

    def sent(self, pcm: bytes | memoryview, duration_s: float, now: float) -> None:
        """Audio goes out: int16, whole samples."""
        if _is_audible(pcm):
            self._audible_s += duration_s
            self._unanswered_since = min(self._unanswered_since, now)

    @property
    def deadline(self) -> float:
        """When it must be given up; infinity as long as it has not been sent enough."""
        limit_s = self._dead_after_s
        return self._unanswered_since + limit_s if self._audible_s >= limit_s else NEVER


def _is_audible(pcm: bytes | memoryview) -> bool:
    samples = array.array("h")
    samples.frombytes(pcm)
    return max(samples) >= _AUDIBLE_PEAK or min(samples) <= -_AUDIBLE_PEAK


class Liveness:
    """For one connection, which takes audio from `now` on.

    `keep_alive`: the protocol's text for that, if any. `dead_after_s`: how much audible audio may go unanswered.
    """

    def __init__(self, *, keep_alive: str | None, now: float, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._dead_after_s = dead_after_s
        self._keep_alive = keep_alive
        self._keep_alive_at = NEVER  # not before the first audio: the service would take it amiss
        self._next_ping = now + PING_INTERVAL_S
        self._pong_by = NEVER
        self._answers = AnswerWatch(now, dead_after_s)

    def sent(self, pcm: bytes | memoryview, duration_s: float, now: float) -> None:
        """Audio goes out."""
        self._keep_alive_at = NEVER if self._keep_alive is None else now + KEEP_ALIVE_AFTER_S
        if now > self._answers.listens_from:
            self._answers.sent(pcm, duration_s, now)

    def heard(self, now: float) -> None:
        """A message came. Pongs are none: a proxy answers pings while the recogniser behind it is dead."""
        self._answers.heard(now)

    def ponged(self) -> None:
        """The peer has answered a ping."""
        self._pong_by = NEVER

    @property
    def deadline(self) -> float:
        """When `tick` or `trouble` has something to say."""
        return min(self._next_ping, self._pong_by, self._keep_alive_at, self._answers.deadline)

    def is_unanswered(self, now: float) -> bool:
        """Whether the recogniser is taken for dead."""
        return now >= self._answers.deadline

    def trouble(self, now: float) -> str | None:
        """Why the connection is dead, if it is."""
        if now >= self._pong_by:
            return f"no answer to a ping within {PONG_LIMIT_S:.0f} s"
        if self.is_unanswered(now):
            return f"the recogniser has said nothing for {self._dead_after_s:.0f} s of audible audio"
        return None

    def tick(self, now: float) -> list[Action]:
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


class Pacer:
    """How fast audio may be sent: as it comes, and audio that waited at most `pace` times real time (None: no limit).

    A token bucket of `_BURST_S` seconds of audio, kept as the one moment from which on it is not empty. Live audio
    never empties it: it arrives at 1.0. `may_send_at`: when the next frame may go out.
    """

    def __init__(self, pace: float | None, now: float) -> None:
        self._pace = math.inf if pace is None else pace
        self._full_after_s = _BURST_S / self._pace
        self.may_send_at = now - self._full_after_s

    def sent(self, duration_s: float, now: float) -> None:
        """A frame of `duration_s` went out."""
        self.may_send_at = max(self.may_send_at, now - self._full_after_s) + duration_s / self._pace
