"""Keeps a connection open while it takes audio, decides when it is dead, and how fast audio may be sent. Pure."""

import array
import math

from mpengine.shared.deciding import NEVER
from mpengine.streaming.actions import Action, SendPing, SendText

PING_INTERVAL_S = 20.0
PONG_LIMIT_S = 10.0
# Deepgram closes a connection after 10 s without audio or text, and advises a KeepAlive every 3 to 5 s.
KEEP_ALIVE_AFTER_S = 4.0
DEAD_AFTER_S = 30.0
_LATELY_S = 2.0  # audio is examined, which costs, only when no message has come for so long
_AUDIBLE_PEAK = 328  # -40 dBFS
# Sound servers deliver audio in bursts. A second of credit lets the bursts through.
_BURST_S = 1.0


class AnswerWatch:
    """Decides whether the recogniser of one connection, which takes audio from `now` on, still answers.

    It is dead when, for 30 s and over 30 s of audible audio, no message has come.
    Quiet audio does not count, for it needs no answer; a burst leaves no time for one. The caller may leave out audio
    that is sent before `listens_from`.
    """

    def __init__(self, now: float, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._dead_after_s = dead_after_s
        self.heard(now)

    def heard(self, now: float) -> None:
        """A message of any kind came."""
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
        """When the recogniser counts as dead; NEVER while it has not been sent enough."""
        limit_s = self._dead_after_s
        return self._unanswered_since + limit_s if self._audible_s >= limit_s else NEVER


def _is_audible(pcm: bytes | memoryview) -> bool:
    samples = array.array("h")
    samples.frombytes(pcm)
    return max(samples) >= _AUDIBLE_PEAK or min(samples) <= -_AUDIBLE_PEAK


class Liveness:
    """Pings, keep-alive texts and limits of one connection, which takes audio from `now` on.

    `keep_alive`: the protocol's text, if it has one. `dead_after_s`: how much audible audio may stay unanswered.
    `last_answered_ping`: when the last ping went out that the peer has answered.
    """

    def __init__(self, *, keep_alive: str | None, now: float, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._dead_after_s = dead_after_s
        self._keep_alive = keep_alive
        self._keep_alive_at = NEVER  # not before the first audio: Deepgram does not expect it there
        self._next_ping = now + PING_INTERVAL_S
        self._pong_by = NEVER
        self._pinged_at = now
        self.last_answered_ping = -NEVER
        self._answers = AnswerWatch(now, dead_after_s)

    def sent(self, pcm: bytes | memoryview, duration_s: float, now: float) -> None:
        """Audio goes out."""
        self._keep_alive_at = NEVER if self._keep_alive is None else now + KEEP_ALIVE_AFTER_S
        if now > self._answers.listens_from:
            self._answers.sent(pcm, duration_s, now)

    def heard(self, now: float) -> None:
        """A message came. A pong is none: a proxy answers pings even when its recogniser is dead.

        A message gives an unanswered ping more time. Where a file is sent faster than the recogniser reads, the ping
        waits behind minutes of audio in the buffers of the sockets.
        """
        self._answers.heard(now)
        if self._pong_by < NEVER:
            self._pong_by = max(self._pong_by, now + PONG_LIMIT_S)

    def ponged(self) -> None:
        """The peer has answered a ping."""
        if self._pong_by < NEVER:
            self._pong_by, self.last_answered_ping = NEVER, self._pinged_at

    @property
    def deadline(self) -> float:
        """When to call `trouble` and `tick`."""
        return min(self._next_ping, self._pong_by, self._keep_alive_at, self._answers.deadline)

    def is_unanswered(self, now: float) -> bool:
        """Whether the recogniser counts as dead."""
        return now >= self._answers.deadline

    def trouble(self, now: float) -> str | None:
        """Why the connection is dead, if it is."""
        if now >= self._pong_by:
            return f"no answer to a ping within {PONG_LIMIT_S:.0f} s"
        if self.is_unanswered(now):
            return f"the recogniser has said nothing for {self._dead_after_s:.0f} s of audible audio"
        return None

    def tick(self, now: float) -> list[Action]:
        """The ping and the keep-alive text that are due."""
        actions: list[Action] = []
        if now >= self._next_ping:
            self._next_ping = now + PING_INTERVAL_S
            if self._pong_by == NEVER:  # the answer to one must not pass for that to the next
                self._pinged_at, self._pong_by = now, now + PONG_LIMIT_S
                actions.append(SendPing(b"mpengine"))
        if now >= self._keep_alive_at and self._keep_alive is not None:
            self._keep_alive_at = now + KEEP_ALIVE_AFTER_S
            actions.append(SendText(self._keep_alive))
        return actions


class Pacer:
    """Limits the speed of audio that has waited to `pace` times real time (None: no limit).

    `may_send_at` is when the next frame may go out. The pacer is a token bucket of `_BURST_S` seconds of audio; the
    moment at which it stops being empty is its whole state. Live audio comes at real time and never empties it.
    """

    def __init__(self, pace: float | None, now: float) -> None:
        self._pace = math.inf if pace is None else pace
        self._full_after_s = _BURST_S / self._pace
        self.may_send_at = now - self._full_after_s

    def sent(self, duration_s: float, now: float) -> None:
        """A frame of `duration_s` went out."""
        self.may_send_at = max(self.may_send_at, now - self._full_after_s) + duration_s / self._pace
