"""The session: what streaming does next. Pure; the work loop feeds it and performs what it answers.

    WAITING ──due──> CONNECTING ──opened──> GREETING ──ready──> READY ──end mark──> FINISHING ──closed──> ENDED
       ^                 │         (byok: at once, HTTP 101)      │                     │
       └─────────────────┴──────── any transient cause ───────────┴─────────────────────┘

A permanent cause ends it from anywhere. Every attempt has a number of its own, and frames carry the number for which
they were sent: what belongs to an older one is dropped.
"""

import enum
from collections.abc import Callable

from mpengine.shared import control
from mpengine.shared.backoff import full_jitter_s
from mpengine.shared.errors import ExitCode
from mpengine.shared.frames import Frame
from mpengine.streaming import causes
from mpengine.streaming.actions import (
    Action,
    Connect,
    Drop,
    Leave,
    Mention,
    SendAudio,
    SendClose,
    SendPing,
    SendPong,
    SendText,
    Tell,
)
from mpengine.streaming.causes import Cause
from mpengine.streaming.connection_events import (
    NO_CLOSE_CODE,
    CloseReceived,
    Event,
    Failed,
    Opened,
    PingReceived,
    PongReceived,
    Received,
    Refused,
)
from mpengine.streaming.dialect import Dialect, Ready, Said, ServiceError
from mpengine.streaming.hearing import Hearing
from mpengine.streaming.pacer import Pacer

# The origin engine's limits.
CONNECT_LIMIT_S = 15.0
READY_LIMIT_S = 15.0
PING_INTERVAL_S = 20.0
PONG_LIMIT_S = 10.0
# The service closes after 10 s without audio or text; it advises a KeepAlive every 3 to 5.
KEEP_ALIVE_AFTER_S = 4.0
FINISH_LIMIT_S = 10.0
_BEAT_S = 1.0
_BACKOFF_S, _CEILING_S = 0.5, 10.0
_SLOW_BACKOFF_S, _SLOW_CEILING_S = 2.0, 30.0
_FOREVER = float("inf")


class State(enum.Enum):
    """See the drawing above."""

    WAITING = enum.auto()
    CONNECTING = enum.auto()
    GREETING = enum.auto()
    READY = enum.auto()
    FINISHING = enum.auto()
    ENDED = enum.auto()


class Session:
    """The life of the stream across connections. `chance` gives random numbers in [0, 1)."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        hearing: Hearing,
        pace: float | None,
        first_connection: int,
        chance: Callable[[], float],
        now: float,
    ) -> None:
        self.state = State.WAITING
        self.connection = first_connection - 1
        self._dialect = dialect
        self._hearing = hearing
        self._pace = pace
        self._pacer = Pacer(pace, now)
        self._chance = chance
        self._attempt = 0
        self._request_id: str | None = None
        self._can_finalize = False
        self._deadline = now  # of the state: when to connect, or when to lose patience
        self._next_beat = now
        self._next_ping = self._pong_by = self._keep_alive_at = _FOREVER
        self._close_sent = False

    # Questions

    def takes_audio(self, now: float) -> bool:
        """Whether a frame may be taken from PULL now: nothing is before the recogniser is ready."""
        return self.state is State.READY and self._pacer.may_send(now)

    def next_deadline(self, now: float) -> float:
        """When `tick` has something to do."""
        deadline = min(self._deadline, self._next_beat)
        if self.state is State.READY:
            deadline = min(deadline, self._next_ping, self._pong_by, self._keep_alive_at)
            if not self._pacer.may_send(now):
                deadline = min(deadline, self._pacer.due(now))
        return deadline

    # What happens

    def audio(self, frame: Frame, now: float) -> list[Action]:
        """A frame came from capture. Frames of an older grant and samples that went out already are skipped."""
        if self.state is not State.READY or frame.session != self.connection:
            return []
        if frame.is_last:
            return self._finish(now)
        fresh = self._hearing.sending(frame, now)
        if not fresh:
            return []
        self._pacer.sent(self._hearing.duration_s(fresh), now)
        if self._dialect.keep_alive is not None:
            self._keep_alive_at = now + KEEP_ALIVE_AFTER_S
        return [SendAudio(fresh)]

    def event(self, event: Event, now: float) -> list[Action]:
        """Something came from the connection."""
        match event:
            case Opened(request_id=request_id):
                return self._opened(request_id, now)
            case Received(text=text):
                return self._said(self._dialect.decode(text), now)
            case PingReceived(payload=payload):
                return [SendPong(payload)]
            case PongReceived():
                self._pong_by = _FOREVER
                return []
            case CloseReceived(code=code, reason=reason):
                return self._closed(code, reason, now)
            case Refused(status=status, error=error, body=body, request_id=request_id):
                return self._failed(causes.refused(status, error, body, request_id), now)
            case Failed(reason=reason):
                return self._failed(causes.lost(reason), now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        actions: list[Action] = []
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_S
            actions.append(Mention(self._hearing.beat()))
        if now >= self._deadline:
            match self.state:
                case State.WAITING:
                    actions += self._connect(now)
                case State.CONNECTING:
                    actions += self._failed(causes.lost(f"no connection within {CONNECT_LIMIT_S:.0f} s"), now)
                case State.GREETING:
                    actions += self._failed(causes.lost("Timed out waiting for proxy ready message"), now)
                case State.FINISHING:
                    actions += self._failed(causes.lost(f"last results did not come in {FINISH_LIMIT_S:.0f} s"), now)
        elif self.state is State.READY:
            actions += self._keep_up(now)
        return actions

    # How it goes on

    def _connect(self, now: float) -> list[Action]:
        self.state = State.CONNECTING
        self.connection += 1
        self._deadline = now + CONNECT_LIMIT_S
        self._request_id = None
        self._close_sent = self._can_finalize = False
        self._hearing.connected(self.connection)
        return [
            Tell(control.Connecting(connection=self.connection, endpoint=self._dialect.endpoint)),
            Connect(self.connection),
        ]

    def _opened(self, request_id: str | None, now: float) -> list[Action]:
        self._request_id = request_id
        greeting = self._dialect.greeting
        if greeting is None:
            return self._ready(now)
        self.state = State.GREETING
        self._deadline = now + READY_LIMIT_S
        return [SendText(greeting)]

    def _ready(self, now: float) -> list[Action]:
        self.state = State.READY
        self._deadline = self._pong_by = self._keep_alive_at = _FOREVER
        self._next_ping = now + PING_INTERVAL_S
        self._pacer = Pacer(self._pace, now)
        ready = control.ConnectionReady(
            connection=self.connection, endpoint=self._dialect.endpoint, request_id=self._request_id
        )
        return [Tell(ready)]

    def _said(self, said: Said, now: float) -> list[Action]:
        if self.state is State.GREETING:
            return self._greeted(said, now)
        if self._hearing.is_final(said):
            self._attempt = 0
        return self._hearing.said(said, now)

    def _greeted(self, said: Said, now: float) -> list[Action]:
        match said:
            case Ready(can_finalize=can_finalize):
                self._can_finalize = can_finalize
                return self._ready(now)
            case ServiceError(code=code, message=message):
                return self._failed(causes.handshake_refused(code, message), now)
            case _:
                return self._failed(causes.lost(f"unexpected handshake message: {type(said).__name__}"), now)

    def _keep_up(self, now: float) -> list[Action]:
        if now >= self._pong_by:
            return self._failed(causes.lost(f"no answer to a ping within {PONG_LIMIT_S:.0f} s"), now)
        actions: list[Action] = []
        if now >= self._next_ping:
            self._next_ping = now + PING_INTERVAL_S
            self._pong_by = now + PONG_LIMIT_S
            actions.append(SendPing(b"mpengine"))
        if now >= self._keep_alive_at and self._dialect.keep_alive is not None:
            self._keep_alive_at = now + KEEP_ALIVE_AFTER_S
            actions.append(SendText(self._dialect.keep_alive))
        return actions

    def _finish(self, now: float) -> list[Action]:
        """The end mark has come: everything before it is sent. Ask for what is still to be heard."""
        self.state = State.FINISHING
        self._deadline = now + FINISH_LIMIT_S
        texts = self._dialect.finish(can_finalize=self._can_finalize)
        actions: list[Action] = [Tell(control.EndTaken(session=self.connection))]
        actions += [SendText(text) for text in texts]
        if not texts:
            self._close_sent = True
            actions.append(SendClose(1000))
        return actions

    def _closed(self, code: int, reason: str, now: float) -> list[Action]:
        """The peer's close frame: the end, if we asked for it, and it says so."""
        answer: list[Action] = [] if self._close_sent else [SendClose(1000 if code == NO_CLOSE_CODE else code)]
        self._close_sent = True
        if self.state is State.FINISHING and code in {1000, 1001, NO_CLOSE_CODE}:
            self.state = State.ENDED
            self._deadline = _FOREVER
            return [*answer, Drop(), Tell(control.StreamEnded(is_clean=True)), Leave(ExitCode.OK)]
        return [*answer, *self._failed(causes.closed(code, reason, self._request_id), now)]

    def _failed(self, cause: Cause, now: float) -> list[Action]:
        """This attempt is over. Wait and try again, or give up where trying cannot help."""
        if self.state in {State.WAITING, State.ENDED}:
            return []
        actions: list[Action] = [Drop()]
        fault = control.Fault(code=cause.code, message=cause.reason, request_id=cause.request_id)
        if cause.exit_code is not None:
            self.state = State.ENDED
            self._deadline = _FOREVER
            fatal = control.Fault(
                code=cause.code, message=cause.reason, request_id=cause.request_id, exit_code=cause.exit_code
            )
            return [*actions, Tell(fatal), Leave(cause.exit_code)]
        self._attempt += 1
        if self._attempt == 1:  # one error for an outage; the status tells of every further try
            actions.append(Tell(fault))
        wait_s = full_jitter_s(
            self._attempt,
            base_s=_SLOW_BACKOFF_S if cause.slow else _BACKOFF_S,
            ceiling_s=_SLOW_CEILING_S if cause.slow else _CEILING_S,
            chance=self._chance(),
        )
        self.state = State.WAITING
        self._deadline = now + wait_s
        down = control.ConnectionDown(connection=self.connection, reason=cause.reason, next_try_in_s=wait_s)
        return [*actions, Tell(down)]
