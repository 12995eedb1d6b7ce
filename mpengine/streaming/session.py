"""The session: the decisions of streaming. Pure. The work loop gives it events and performs its actions.

    WAITING ──due──> CONNECTING ──opened──> GREETING ──ready──> READY ──end mark──> FINISHING ──confirmed──> ENDED
       ^                 │         (no greeting: at once)         │                     │
       └─────────────────┴──────── any other failure ─────────────┴─────────────────────┘

A refusal that ends the process (`outage`) leads from any state to ENDED. Every connection has its own number, which
its grant and its frames have, too; frames of an older connection are dropped. While no audio can come (`expect`), the
session stays in WAITING: services close a connection that gets no audio, and each new one would be closed, too.

The session rests in a long silence: when the silence gate has been closed for `Dialect.close_after_s`, the connection
is ended as at the end of a stream, and the session goes to WAITING until audio is expected. A connection that the peer
closes or loses in such a silence is no fault either.
"""

import enum
from collections.abc import Callable

from mpengine.dialects import causes
from mpengine.dialects.base import Dialect, Hypothesis, Meaning, Ready, ServiceError, Unknown
from mpengine.dialects.causes import Cause
from mpengine.shared import control
from mpengine.shared.deciding import NEVER, follows, impossible
from mpengine.shared.errors import ExitCode
from mpengine.shared.frames import Frame, FrameSequence
from mpengine.shared.messages import ErrorKind
from mpengine.shared.secret import StrikeOut
from mpengine.streaming.actions import (
    Action,
    Connect,
    Drop,
    Leave,
    Mention,
    Note,
    SendClose,
    SendPing,
    SendPong,
    SendText,
    Tell,
)
from mpengine.streaming.finishing import END_PING, Finishing
from mpengine.streaming.liveness import DEAD_AFTER_S, Liveness, Pacer
from mpengine.streaming.outage import Outage
from mpengine.streaming.placing import Placing
from mpengine.streaming.websocket.events import (
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

# The origin engine's limits.
CONNECT_LIMIT_S = 15.0
READY_LIMIT_S = 15.0
_BEAT_S = 1.0
# How many kinds of unknown messages are logged for each connection.
_MOST_KINDS = 20
_MOST_KINDS_NAMED = 3
_LONGEST_KIND = 100
# A connection that is younger was refused, though it was ready; one that has lived longer was accepted, and then lost.
_REFUSED_WITHIN_S = 1.0
_ACCEPTED_AFTER_S = 10.0
# The waits after connections that were lost in a silence: the first one, and the longest.
_IDLE_WAIT_S, _LONGEST_IDLE_WAIT_S = 0.5, 10.0
# A shorter piece of a secret may be a word that somebody says. It is not removed from results, or words would be lost.
_SPEAKABLE_CHARS = 12


class State(enum.Enum):
    """See the drawing above."""

    WAITING = enum.auto()
    CONNECTING = enum.auto()
    GREETING = enum.auto()
    READY = enum.auto()
    FINISHING = enum.auto()
    ENDED = enum.auto()


_FOLLOWS = {
    State.WAITING: frozenset({State.CONNECTING}),
    State.CONNECTING: frozenset({State.GREETING, State.READY, State.WAITING, State.ENDED}),
    State.GREETING: frozenset({State.READY, State.WAITING, State.ENDED}),
    State.READY: frozenset({State.FINISHING, State.WAITING, State.ENDED}),
    State.FINISHING: frozenset({State.WAITING, State.ENDED}),
    State.ENDED: frozenset[State](),
}
# The possible events of a connection. In the other states, an event is late: its connection has been dropped.
_WHILE_CONNECTING = (Opened, Refused, Failed)
_WHILE_OPEN = (Received, PingReceived, PongReceived, CloseReceived, Failed)


class Session:
    """The life of the stream across connections. `chance` gives random numbers in [0, 1).

    `refusals_end`: whether a refusal ends the process, see `Outage`.
    """

    def __init__(
        self,
        *,
        dialect: Dialect,
        placing: Placing,
        pace: float | None,
        first_connection: int,
        expects_audio: bool,
        chance: Callable[[], float],
        now: float,
        refusals_end: bool = True,
    ) -> None:
        self.state = State.WAITING
        self.connection = first_connection - 1
        self._use(dialect)
        self._placing = placing
        self._pace = pace
        self._pacer = Pacer(pace, now)
        self._liveness = Liveness(keep_alive=None, now=now)
        self._dead_after_s = DEAD_AFTER_S
        self._finishing: Finishing | None = None
        self._outage = Outage(chance, refusals_end=refusals_end)
        self._expects_audio = expects_audio
        self._request_id: str | None = None
        self._ready_at = NEVER  # the connection of now
        self._complaint: ServiceError | None = None  # the last one on this connection, if no result followed
        self._unknown_kinds: set[str] = set()  # of this connection
        self._deadline = now  # of the state: when to connect, or when to give up
        self._next_beat = now
        self._close_sent = False
        self._sequence = FrameSequence()
        self._missed_attempt = -1  # the last one of which frames were missing
        self._quiet_since = NEVER  # when the silence gate closed; NEVER while it is open
        self._is_resting = False  # FINISHING in a silence
        self._may_rest = True  # the peer has confirmed the end when it was asked to
        self._idle_wait_s = _IDLE_WAIT_S

    # Questions

    def takes_audio(self, now: float) -> bool:
        """Whether a frame may be taken from PULL now: the recogniser is ready, and the pace allows it."""
        return self.state is State.READY and now >= self._pacer.may_send_at

    def deadline(self, now: float) -> float:
        """When to call `tick`."""
        deadline = min(self._state_deadline, self._next_beat)
        if self.state is State.READY:
            deadline = min(deadline, self._liveness.deadline, self._rest_at)
            if now < self._pacer.may_send_at:
                deadline = min(deadline, self._pacer.may_send_at)
        return deadline

    @property
    def is_about_to_connect(self) -> bool:
        """Whether the next step is a connection: then the secret may still be replaced, see `renew`."""
        return self.state is State.WAITING and self._expects_audio

    @property
    def _rest_at(self) -> float:
        """When the silence has lasted long enough to end the connection."""
        return self._quiet_since + self._dialect.close_after_s if self._may_rest else NEVER

    @property
    def _state_deadline(self) -> float:
        """When `_state_expired` is due. Waiting for audio has no limit."""
        return NEVER if self.state is State.WAITING and not self._expects_audio else self._deadline

    # What happens

    def expect(self, *, audio: bool) -> None:
        """Whether audio can come. If it cannot, an open connection stays open, but no new one is opened."""
        self._expects_audio = audio

    def renew(self, dialect: Dialect, now: float) -> None:
        """The secret is another one, and `dialect` has it: the next connection is made at once."""
        self._use(dialect)
        self._outage.renewed()
        self._deadline = min(self._deadline, now)

    def _use(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._in_reports = StrikeOut(dialect.secret)
        self._in_results = StrikeOut(dialect.secret, least_chars=_SPEAKABLE_CHARS, spares_short=True)

    def audio(self, frame: Frame, now: float) -> bytes | memoryview:
        """A frame came from capture. Returns the bytes to send now, empty if there are none.

        A frame of an older grant is dropped, and samples that went out on this connection are skipped.

        Every other input is answered with actions. Audio is not: frames come 25 to 50 times a second, and a list of
        actions for each of them costs measurable processor time.
        """
        if self.state is not State.READY or frame.grant != self.connection:
            return b""
        fresh = self._placing.sending(frame, now)
        if fresh:
            duration_s = len(fresh) / self._placing.bytes_per_s
            self._quiet_since = NEVER
            self._pacer.sent(duration_s, now)
            self._liveness.sent(fresh, duration_s, now)
        return fresh

    def follows(self, frame: Frame) -> bool:
        """Whether to take `frame`, an end mark included: no frame is missing before it. To be asked once a frame.

        If not, see `missed_frames`.
        """
        return frame.grant == self.connection and self._sequence.takes(frame)

    def missed_frames(self) -> list[Action]:
        """Where frames went astray: ask, once an attempt, for another one from the first sample that is missing."""
        if self.state is not State.READY or not self._sequence.is_broken:
            return []
        if self._missed_attempt == self._sequence.attempt:
            return []
        self._missed_attempt = self._sequence.attempt
        sample = self._placing.sent_until
        return [Tell(control.FramesMissed(connection=self.connection, attempt=self._missed_attempt, sample=sample))]

    def quiet(self, mark: Frame, now: float) -> list[Action]:
        """The quiet mark came: no audio follows before somebody speaks. That of an older grant is dropped."""
        if self.state is not State.READY or mark.grant != self.connection:
            return []
        self._quiet_since = now
        return [SendText(text) for text in self._dialect.flush()] if self._placing.sent_until else []

    def end(self, mark: Frame, now: float) -> list[Action]:
        """The end mark came from capture. That of an older grant is dropped."""
        return self.finish(now) if mark.grant == self.connection else []

    def finish(self, now: float) -> list[Action]:
        """The end mark has come, or capture cannot send one: ask for the last results."""
        if self.state is not State.READY:
            return []
        return [Tell(control.EndTaken()), *self._ask_for_last_results(self._placing.hold_s, now)]

    def _rest(self, now: float) -> list[Action]:
        """The silence has lasted: end the connection. A recogniser that gets no audio has had time for its results."""
        self._is_resting = True
        return self._ask_for_last_results(max(0.0, self._placing.hold_s - (now - self._quiet_since)), now)

    def _ask_for_last_results(self, hold_s: float, now: float) -> list[Action]:
        """Ask for the last results; where nobody can be asked, they get `hold_s`."""
        self._enter(State.FINISHING)
        texts = self._dialect.finish()
        self._finishing = Finishing(
            asked=bool(texts),
            needs_close=self._dialect.fails_with_last_word,
            close_confirms=self._dialect.close_confirms,
            hold_s=hold_s,
            now=now,
        )
        self._deadline = self._finishing.deadline
        pings = [SendPing(END_PING)] if self._finishing.pings else []
        return [*pings, *(SendText(text) for text in texts)]

    def event(self, event: Event, now: float) -> list[Action]:
        """An event came from the connection. Our secret is removed from reports about it."""
        return [self._redacted(action) for action in self._answer(event, now)]

    def _answer(self, event: Event, now: float) -> list[Action]:
        if self.state in {State.WAITING, State.ENDED}:  # late: its connection has been dropped
            return []
        possible = _WHILE_CONNECTING if self.state is State.CONNECTING else _WHILE_OPEN
        if not isinstance(event, possible):
            impossible(f"{type(event).__name__} while {self.state.name}")
        match event:
            case Opened(headers=headers):
                return self._opened(self._dialect.request_id(headers), now)
            case Received(text=text):
                meanings = self._dialect.decode(text)
                return [action for meaning in meanings for action in self._said(meaning, now)]
            case PingReceived(payload=payload):
                return [] if self._close_sent else [SendPong(payload)]
            case PongReceived(payload=payload):
                return self._ponged(payload)
            case CloseReceived(code=code, reason=reason):
                return self._closed(code, reason, now)
            case Refused(status=status, phrase=phrase, body=body, headers=headers, retry_after_s=wait_s):
                cause = self._dialect.refused(status, phrase, body, headers)
                return self._failed(cause._replace(retry_after_s=wait_s), now)
            case Failed(reason=reason):
                return self._failed(causes.lost(reason), now)

    def tick(self, now: float) -> list[Action]:
        """Beat, end a state that lasts too long, ping and keep alive, where due at `now` (monotonic seconds)."""
        actions: list[Action] = []
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_S
            ping = self._liveness.last_answered_ping if not self._dialect.answers_silence else -NEVER
            actions.append(Mention(self._placing.beat(now, ping)))
        if now >= self._state_deadline:
            actions += self._state_expired(now)
        elif self.state is State.READY:
            trouble = self._liveness.trouble(now)
            if self._liveness.is_unanswered(now):
                # A recogniser may have no result for a noise. It must not be sent the same noise again and again.
                self._dead_after_s *= 2
                if self._unknown_kinds:  # a server of another protocol, perhaps
                    kinds = ", ".join(sorted(self._unknown_kinds)[:_MOST_KINDS_NAMED])
                    trouble = f"{trouble}; not understood: {kinds}"
            if trouble is not None:
                actions += self._failed(causes.lost(trouble), now)
            else:
                actions += self._liveness.tick(now) if now < self._rest_at else self._rest(now)
        return actions

    # The states

    def _enter(self, state: State) -> None:
        self.state = follows(_FOLLOWS, self.state, state)

    def _state_expired(self, now: float) -> list[Action]:
        """The state's deadline has passed."""
        kind = ErrorKind.CONNECTION
        match self.state:
            case State.WAITING:
                return self._connect(now)
            case State.FINISHING if self._finishing is not None and self._finishing.may_close(now):
                self._deadline = self._finishing.deadline
                self._close_sent = True
                return [SendClose(1000)]
            case State.FINISHING:
                reason = "the last results did not come in time"
            case State.GREETING:
                kind = ErrorKind.HANDSHAKE
                reason = "Timed out waiting for proxy ready message"
            case _:
                reason = f"no connection within {CONNECT_LIMIT_S:.0f} s"
        return self._failed(causes.lost(reason, kind), now)

    def _connect(self, now: float) -> list[Action]:
        self._enter(State.CONNECTING)
        self.connection += 1
        self._deadline = now + CONNECT_LIMIT_S
        self._request_id = self._complaint = None
        self._ready_at = NEVER
        self._close_sent = False
        self._unknown_kinds.clear()
        self._finishing, self._is_resting, self._quiet_since = None, False, NEVER
        self._placing.connected(self.connection)
        return [
            Tell(control.Connecting(connection=self.connection, endpoint=self._dialect.endpoint)),
            Connect(self.connection),
        ]

    def _opened(self, request_id: str | None, now: float) -> list[Action]:
        self._request_id = request_id
        self._dialect.opened()
        greeting = self._dialect.greeting
        if greeting is None:
            return self._ready(now)
        self._enter(State.GREETING)
        self._deadline = now + READY_LIMIT_S
        return [SendText(greeting)]

    def _ready(self, now: float) -> list[Action]:
        self._enter(State.READY)
        self._ready_at = now
        self._deadline = NEVER
        self._pacer = Pacer(self._pace, now)
        self._liveness = Liveness(keep_alive=self._dialect.keep_alive, now=now, dead_after_s=self._dead_after_s)
        ready = control.ConnectionReady(
            connection=self.connection, endpoint=self._dialect.endpoint, request_id=self._request_id
        )
        return [Tell(ready)]

    def _said(self, meaning: Meaning, now: float) -> list[Action]:
        if self.state is State.GREETING:
            return self._greeted(meaning, now)
        if self.state in {State.WAITING, State.ENDED}:  # an earlier meaning of this message has ended the connection
            return []
        if isinstance(meaning, Unknown):  # no sign of life: a server of another protocol never gives a result
            return self._noted(meaning.kind)
        self._liveness.heard(now)
        self._dead_after_s = DEAD_AFTER_S
        if self._finishing is not None:
            self._finishing.heard(meaning, now)
            self._deadline = self._finishing.deadline
        if isinstance(meaning, Hypothesis):  # the recogniser works
            self._complaint = None
            self._idle_wait_s = _IDLE_WAIT_S
            if self._outage.awaits_result:
                self._outage.heard(is_final=meaning.transcript.is_final)
        elif isinstance(meaning, ServiceError):
            self._complaint = meaning
            if not self._outage.complains():
                return []
        return self._placing.said(meaning, now)

    def _greeted(self, meaning: Meaning, now: float) -> list[Action]:
        match meaning:
            case Ready():
                return self._ready(now)
            case ServiceError():
                return self._failed(self._dialect.turned_away(meaning), now)
            case _:
                return self._failed(causes.lost(f"unexpected handshake message: {type(meaning).__name__}"), now)

    def _ponged(self, payload: bytes) -> list[Action]:
        self._liveness.ponged()
        if self._finishing is not None:
            self._finishing.ponged(payload)
        return []

    def _noted(self, kind: str) -> list[Action]:
        """A message was not understood. Each kind is logged once for each connection, and so many of them at most."""
        kind = self._in_reports(kind)[:_LONGEST_KIND]
        if kind in self._unknown_kinds or len(self._unknown_kinds) > _MOST_KINDS:
            return []
        self._unknown_kinds.add(kind)
        return [Note(kind if len(self._unknown_kinds) <= _MOST_KINDS else "any other")]

    def _closed(self, code: int, reason: str, now: float) -> list[Action]:
        """The peer's close frame."""
        answer: list[Action] = [] if self._close_sent else [SendClose(1000 if code == NO_CLOSE_CODE else code)]
        self._close_sent = True
        if self.state in {State.READY, State.FINISHING}:
            answer += [action for said in self._dialect.ended() for action in self._said(said, now)]
        if self._finishing is not None:
            self._finishing.closed(code)
        cause = self._dialect.closed(code, reason, self._request_id)
        is_young = now <= self._ready_at + _REFUSED_WITHIN_S
        if self._complaint is not None:
            error, words = self._complaint
            cause = causes.complained(cause, code, error, words, is_young=is_young)
        elif is_young and reason and code >= causes.FIRST_PRIVATE:
            cause = causes.complained(cause, code, "", reason, is_young=True)
        return [*answer, *self._failed(cause, now)]

    def _failed(self, cause: Cause, now: float) -> list[Action]:
        """The connection is over. Wait and try again, unless all results have come, or a refusal ends the process."""
        if self._finishing is not None and self._finishing.is_confirmed(is_covered=self._placing.is_covered):
            if self._is_resting:
                return self._rested(now)
            return self._ended(control.StreamEnded(sent=self._placing.sent_until), ExitCode.OK)
        self._may_rest = self._may_rest and not self._is_resting
        if self._quiet_since < NEVER and self.state is State.READY and not (cause.exit_code and self._is_young(now)):
            return self._lost_while_idle(cause, now)
        verdict = self._outage.failed(cause, is_young=self._is_young(now), is_told=self._complaint is not None)
        fault = control.Fault(
            code=cause.code,
            message=cause.reason,
            request_id=cause.request_id,
            exit_code=cause.exit_code if verdict.ends else None,
            kind=cause.kind,
        )
        if verdict.ends and cause.exit_code is not None:
            return self._ended(fault, cause.exit_code)
        self._enter(State.WAITING)
        self._deadline = now + verdict.wait_s
        down = control.ConnectionDown(
            connection=self.connection,
            reason=cause.reason,
            next_try_in_s=verdict.wait_s,
            is_refusal=cause.exit_code is not None and self._is_young(now),
        )
        return [Drop(), Tell(fault), Tell(down)] if verdict.is_news else [Drop(), Tell(down)]

    def _rested(self, now: float) -> list[Action]:
        """The connection has ended in order, and the next one is made when somebody speaks."""
        self._enter(State.WAITING)
        self._deadline, self._expects_audio = now, False
        return [Drop(), Tell(control.Rested(connection=self.connection, sent=self._placing.sent_until))]

    def _lost_while_idle(self, cause: Cause, now: float) -> list[Action]:
        """The connection is gone in a silence. Many services close a connection that gets no audio: it is no fault."""
        self._enter(State.WAITING)
        wait_s, self._idle_wait_s = self._idle_wait_s, min(2 * self._idle_wait_s, _LONGEST_IDLE_WAIT_S)
        self._deadline = now + wait_s
        down = control.ConnectionDown(
            connection=self.connection, reason=cause.reason, next_try_in_s=wait_s, in_silence=True
        )
        return [Drop(), Tell(down)]

    def _is_young(self, now: float) -> bool:
        """Whether the connection was not ready for so long that the recogniser had accepted it."""
        return now <= self._ready_at + _ACCEPTED_AFTER_S

    def _ended(self, last_words: control.Up, exit_code: ExitCode) -> list[Action]:
        self._enter(State.ENDED)
        self._deadline = NEVER
        return [Drop(), Tell(last_words), Leave(exit_code)]

    def _redacted(self, action: Action) -> Action:
        """`action`, without our secret if it is a report: a peer's words may repeat it ("invalid token ...")."""
        match action:
            case Tell(message=message) | Mention(message=message):
                strike_out = self._in_results if isinstance(message, control.Result) else self._in_reports
                # msgpack does not escape text, so a search in the bytes decides for nearly every message.
                data = control.encode(message)
                for part in strike_out.parts:
                    if part in data:
                        return type(action)(strike_out.everywhere_in(message))
        return action
