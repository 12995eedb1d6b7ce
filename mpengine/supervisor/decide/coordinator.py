"""The coordinator decides what the supervisor does next. Pure: the loop reports events and performs the actions.

It owns the lives of the children, the current connection, and the way to a clean stop:

    WORKING ──the file is over──> FILE_ENDED ──┐
      │ │                            │ stop    ├──last results, or no hope of them──> LEAVING ──all gone──> DONE
      │ └───────────stop────────> DRAINING ────┘                                         │
      └──────────stop without a connection, or the end of a child that ends the engine───┘

DRAINING is bounded by `supervisor.stop_limit_s` and never waits for a new connection: audio that is not acknowledged
stays in the window. FILE_ENDED lasts until all results are there.
"""

import enum
from collections.abc import Callable, Iterable

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.deciding import NEVER, follows
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorCode, GapReason
from mpengine.supervisor.decide.actions import (
    Action,
    Child,
    Exit,
    Kill,
    Log,
    Publish,
    Send,
    Terminate,
    report,
)
from mpengine.supervisor.decide.child_life import ChildState, Life, Lives, error
from mpengine.supervisor.decide.reports import ROUTINE, Reports
from mpengine.supervisor.decide.results import MOST_TRIES, EndTries, Results
from mpengine.supervisor.decide.status import Situation

CONNECT_LIMIT_S = 15.0
_LEAVE_LIMIT_S = 3.0
_KILLED_LIMIT_S = 2.0
# A shorter backlog may only wait for the next turn of a loop.
_LEAST_BACKLOG_S = 2.0


class Phase(enum.Enum):
    """As in the drawing above."""

    WORKING = enum.auto()
    FILE_ENDED = enum.auto()
    DRAINING = enum.auto()
    LEAVING = enum.auto()
    DONE = enum.auto()


_FOLLOWS = {
    Phase.WORKING: frozenset({Phase.FILE_ENDED, Phase.DRAINING, Phase.LEAVING, Phase.DONE}),
    Phase.FILE_ENDED: frozenset({Phase.DRAINING, Phase.LEAVING, Phase.DONE}),
    Phase.DRAINING: frozenset({Phase.LEAVING, Phase.DONE}),
    Phase.LEAVING: frozenset({Phase.DONE}),
    Phase.DONE: frozenset({Phase.DONE}),  # "stop at once" may be asked for twice
}


class Coordinator:
    """All decisions of the supervisor.

    `chance` gives random numbers in [0, 1). `now` is the monotonic time, in seconds. Each event is one call; it returns
    the actions to perform, in order.
    """

    def __init__(self, config: Config, *, chance: Callable[[], float], now: float) -> None:
        self.config = config
        self.results = Results(
            sample_rate=config.audio.sample_rate,
            user_name=config.engine.user_name,
            hang_over_s=config.remote.hang_over_s,
        )
        self.situation = Situation(config, self.results, now)
        self.phase = Phase.WORKING
        names = [Child.CAPTURE, Child.STREAMING]
        if config.remote.starts_recogniser:
            names.insert(0, Child.RECOGNISER)
        self.lives = Lives(names, config.supervisor, chance=chance, now=now)
        self.has_news = True  # since the last `tick`: the status may have changed, and something may be due
        self._exit_code = ExitCode.OK
        self._deadline = NEVER  # of the phase
        self._has_killed = False  # the children that did not leave in time
        self._connect_by = NEVER
        self._reports = Reports(self.results, self.situation)
        self._end_tries = EndTries()
        self._attempt = 0  # of the last grant
        self._missed_in = 0  # the connection in which frames were last missing
        self.situation.streaming_expects_audio = self.expects_audio

    def continues(
        self,
        *,
        acknowledged: int,
        captured: int,
        sent: int,
        connection: int,
        gaps: Iterable[tuple[int, int]] = (),
        finals: Iterable[messages.Transcript] = (),
        device: str = "",
    ) -> None:
        """The run goes on where another supervisor was killed. All arguments come from its journal."""
        self._reports.continues(gaps)
        finals = tuple(finals)
        self.results.ledger.continues(acknowledged, finals)
        rate = self.config.audio.sample_rate
        heard = max((round(final.end_s * rate) for final in finals), default=0)
        self.situation.captured, self.situation.last_connection = captured, connection
        self.situation.remembered = device
        self.lives[Child.CAPTURE].has_worked = bool(captured or device)
        self.situation.highest_sent = max(sent, heard)  # the journal's `sent` may be old
        if acknowledged or finals:
            self.lives.keep_on()
        self.situation.lost_reason = GapReason.STOPPED

    @property
    def is_stopping(self) -> bool:
        """Whether the engine is ending, in bounded time. FILE_ENDED has no bound, and does not count."""
        return not (self.phase is Phase.WORKING or self.phase is Phase.FILE_ENDED)

    @property
    def may_open_device(self) -> bool:
        """Whether capture may open the device now."""
        waits = self.config.audio.start == "connected" and not self.situation.was_connected
        return not self.situation.is_paused and not waits and self.phase is Phase.WORKING

    @property
    def expects_audio(self) -> bool:
        """Whether audio can come. Streaming connects only then: the recogniser closes a connection that gets no audio.

        So each connection is made behind the first audio of the open device; only with `audio.start = "connected"` the
        first one comes before it. One that confirms the end of a file is always wanted. Without an open device (in a
        pause, or when it is lost), audio comes only from the window, and only while a capture process runs.
        """
        situation = self.situation
        comes_first = self.config.audio.start == "connected" and not situation.was_connected
        if comes_first or self.phase is not Phase.WORKING:
            return True
        if situation.has_audio and not situation.is_paused:
            rests = situation.is_gated and situation.was_connected
            return not rests or self._reports.has_unheard
        return situation.unacknowledged > 0 and self.lives[Child.CAPTURE].state is ChildState.RUNNING

    @property
    def waits_for_device(self) -> bool:
        """Whether a missing device is waited for. Otherwise it ends the engine."""
        return not self.lives[Child.CAPTURE].is_permanent(ExitCode.DEVICE)

    @property
    def deadline(self) -> float:
        """The time of the next `tick`, if there is no news before."""
        return min(self._deadline, self._connect_by, self.lives.deadline)

    # Time

    def tick(self, now: float) -> list[Action]:
        """Spawn the children that are due, look at silent ones, end those that hang, give up what takes too long."""
        self.has_news = False
        if self.phase is Phase.DONE:
            return []
        self._note_progress(now)
        self._limit_first_connection(now)
        actions = [*self.lives.tick(now), *self._reports.tick(now)]
        if now >= self._connect_by:
            self._connect_by = NEVER
            if not self.situation.is_refused(now):  # that has been told
                actions += self._reports.connect_timed_out(CONNECT_LIMIT_S)
        if now >= self._deadline:
            if self.phase is Phase.DRAINING:
                actions += self._leave(now)
            else:
                actions += self._force(now)
        return actions

    def _limit_first_connection(self, now: float) -> None:
        """Have the limit of the first connection run only while there is audio to connect for."""
        is_over = self.situation.was_connected or self.situation.connect_timed_out or self.is_stopping
        if is_over or not self.expects_audio:
            self._connect_by = NEVER
        elif self._connect_by == NEVER:
            self._connect_by = now + CONNECT_LIMIT_S

    def _force(self, now: float) -> list[Action]:
        """Kill the children that did not leave in time. One that survives that (its driver hangs) must not keep us."""
        alive = self.lives.alive
        self._deadline = now + _KILLED_LIMIT_S
        if not self._has_killed:
            self._has_killed = True
            return [Kill(child) for child in alive]
        self._enter(Phase.DONE, NEVER)
        names = ", ".join(alive)
        return [Log("error", "cannot_be_killed", {"children": names}), Exit(self._exit_code or ExitCode.CRASH)]

    def overslept(self, now: float, missed_s: float) -> None:
        """The supervisor was not awake for `missed_s`: the children's silence does not count, and no limit ran."""
        self.lives.overslept(now)
        self._deadline += missed_s
        self._connect_by += missed_s

    def _note_progress(self, now: float) -> None:
        """Note the progress of each child, and whether any is expected: of an open device, or of audio that waits."""
        situation, capture, streaming = self.situation, self.lives[Child.CAPTURE], self.lives[Child.STREAMING]
        # A source that waits for its reader may stand still.
        is_open = situation.device is not None and not situation.capture_waits and self.phase is Phase.WORKING
        must_capture = is_open and not self.config.audio.kind.waits
        is_first = situation.captured <= situation.captured_at_open
        capture.progress(
            situation.captured,
            now,
            is_expected=must_capture,
            may_be_slow=is_first,
            # It closes the device, or looks for a lost one: the sound server must answer.
            may_wait=situation.is_lost
            or (situation.device is not None and (situation.is_paused or self.phase is not Phase.WORKING)),
        )
        backlog_s = self.results.seconds(situation.backlog)
        must_send = situation.is_connected and capture.state is ChildState.RUNNING and backlog_s > _LEAST_BACKLOG_S
        streaming.progress(situation.sent, now, is_expected=must_send)
        if recogniser := self.lives.get(Child.RECOGNISER):
            recogniser.progress(situation.decoded, now, is_expected=situation.is_decoding)

    # Processes

    def spawned(self, child: Child, pid: int, now: float) -> None:
        """A process was started; of capture, it has not said yet where its audio ends."""
        self.lives[child].spawned(pid, now)
        if child is Child.CAPTURE:
            self.situation.has_last_word = False

    def exited(self, child: Child, status: int, now: float) -> list[Action]:
        """A process has ended, and all its messages are read. `status`: as in `subprocess`."""
        life = self.lives[child]
        actions: list[Action] = []
        if child is Child.CAPTURE and status == ExitCode.DEVICE and not life.has_complained:
            actions += self._device_hangs(life, now)
        said_why = life.has_complained
        ended = self.lives.exited(child, status, now)
        if child is Child.STREAMING:
            actions += self._disconnected("the streaming process ended")
        elif child is Child.CAPTURE:
            self.situation.capture_ended(status)
        if self.phase is Phase.LEAVING:
            return actions + self._all_gone()
        if ended.exit_code is not None:
            if not said_why:
                actions.append(error(child, ErrorCode.CRASH, f"{child} ended: {ended.how}", fatal=True))
            self._exit_code = ended.exit_code
            self.situation.fatal_reason = life.reason
            return actions + self._leave(now)
        if life.state is ChildState.STOPPED:
            return actions
        if not said_why:
            verb = "was" if status < 0 else "ended with"
            actions.append(error(child, ErrorCode.CRASH, f"{child} {verb} {ended.how}; restarting"))
        fields = {"child": child, "how": ended.how, "reason": life.reason, "next_try_in_s": life.spawn_at - now}
        actions.append(Log("warning", "child_ended", fields))
        if self.phase is Phase.DRAINING:
            actions += self._drain_without_capture(now) if child is Child.CAPTURE else self._leave(now)
        return actions

    def _device_hangs(self, life: Life, now: float) -> list[Action]:
        """Capture ended itself, because a call to the audio system did not come back. A loss is told once."""
        text = (
            "the audio device does not answer: a call of the audio system did not come back; unplug the microphone "
            "and plug it in again, or restart the sound server"
        )
        if self.situation.is_lost:
            life.complained(self.situation.lost_why or text)
            return []
        fault = control.Fault(code=ErrorCode.DEVICE, message=text, exit_code=int(ExitCode.DEVICE))
        return self._reports.fault(Child.CAPTURE, fault, life, now)

    def _drain_without_capture(self, now: float) -> list[Action]:
        """No capture process will send an end mark: streaming has to end the stream after the audio that it has."""
        return [Send(Child.STREAMING, control.Finish())] if self.situation.is_connected else self._leave(now)

    # Requests

    def stop(self, now: float, why: str) -> list[Action]:
        """End cleanly: close the device, send the window, await the last results, all in bounded time."""
        if self.is_stopping:
            return []
        was_working, situation, capture = self.phase is Phase.WORKING, self.situation, self.lives[Child.CAPTURE]
        situation.stop_reason = why
        self._connect_by = NEVER
        limit_s = self.config.supervisor.stop_limit_s - _LEAVE_LIMIT_S - _KILLED_LIMIT_S
        self._enter(Phase.DRAINING, now + max(1.0, limit_s))
        actions: list[Action] = [Log("info", "stopping", {"reason": why})]
        may_connect = situation.is_connecting and situation.unacknowledged > 0
        if not (situation.is_connected or may_connect):  # no results can come
            return actions + self._leave(now)
        if not was_working:  # the file is over already
            return actions
        if not capture.is_alive:
            capture.stopping()
            return actions + self._drain_without_capture(now)
        return [*actions, Send(Child.CAPTURE, control.Finish())]

    def unreachable(self, now: float, why: str) -> list[Action]:
        """End cleanly, with exit code 1: nobody can reach the engine, and another start may mend that."""
        if self.is_stopping:
            return []
        self._exit_code = ExitCode.CRASH
        self.situation.fatal_reason = why
        said = messages.Error(source="supervisor", code=ErrorCode.UNREACHABLE_ENGINE, message=why, fatal=True)
        return [*report(said, "error"), *self.stop(now, why)]

    def stop_at_once(self, why: str) -> list[Action]:
        """End without waiting for anything, at a second request. The audio in the window stays there."""
        self._enter(Phase.DONE, NEVER)
        self._exit_code = ExitCode.CRASH
        self.situation.fatal_reason = why
        return [*(Kill(child) for child in self.lives.alive), Exit(self._exit_code)]

    def pause(self) -> list[Action]:
        """Close the device. The connection stays as long as the recogniser allows."""
        if self.situation.is_paused:
            return []
        self.situation.is_paused = True
        if self.situation.is_lost:
            self.situation.closed()  # nobody waits for it now
        return [Log("info", "paused", {}), Send(Child.CAPTURE, control.CloseDevice()), *self._expectation()]

    def resume(self) -> list[Action]:
        """Open the device again."""
        if not self.situation.is_paused:
            return []
        self.situation.is_paused = False
        opening = [self._open()] if self.may_open_device else []
        return [Log("info", "resumed", {}), *opening, *self._expectation()]

    def _expectation(self) -> list[Action]:
        """Tell streaming when it has changed whether audio can come."""
        if self.is_stopping or self.expects_audio == self.situation.streaming_expects_audio:
            return []
        return [self._expect()]

    def _expect(self) -> Action:
        self.has_news = True
        self.situation.streaming_expects_audio = self.expects_audio
        return Send(Child.STREAMING, control.Expect(audio=self.expects_audio))

    # Messages of the children

    def heard(self, child: Child, message: control.Up, now: float) -> list[Action]:
        """The current process of `child` sent a message."""
        life = self.lives[child]
        if life.state is not ChildState.RUNNING or type(message) not in ROUTINE:
            self.has_news = True
        elif isinstance(message, control.LevelHeard):  # most messages are levels, and no level changes a decision
            life.heard(now)
            return self._reports.level(message, now)
        return [*self._heard(child, life, message, now), *self._expectation()]

    def _heard(self, child: Child, life: Life, message: control.Up, now: float) -> list[Action]:
        match message:
            case control.Hello():
                life.began(now)
                return self._hello(child, now)
            case control.Fault():
                life.began(now)
                return self._reports.fault(child, message, life, now)
        life.heard(now)
        match message:
            case control.CaptureBeat() | control.StreamBeat() | control.RecogniserBeat():
                self.situation.beat(message)
                if isinstance(message, control.StreamBeat) and self.situation.is_connected:
                    return self.results.passed(message.passed)
                return []
        return self._from_capture(message, now) if child is Child.CAPTURE else self._from_streaming(message, now)

    def _hello(self, child: Child, now: float) -> list[Action]:
        if child is Child.RECOGNISER:
            self.lives[child].worked(now)
        # Messages that were sent before the child could hear are lost: it gets the state of things again.
        if child is Child.STREAMING:
            return [self._expect()]
        if child is not Child.CAPTURE:
            return []
        actions = [self._open() if self.may_open_device else Send(child, control.CloseDevice())]
        acknowledged = self.results.ledger.acknowledged
        if acknowledged:
            actions.append(Send(child, control.Acknowledge(sample=acknowledged)))
        if self.situation.is_connected:
            actions.append(self._grant())
        if self.phase is Phase.DRAINING or self.phase is Phase.FILE_ENDED:
            actions.append(Send(child, control.Finish()))
        return actions

    def _open(self) -> Action:
        self.lives[Child.CAPTURE].opening()
        return Send(Child.CAPTURE, control.OpenDevice())

    def _grant(self, least: int = 0) -> Action:
        """Have capture send what needs a result, of the samples from `least` on."""
        ledger = self.results.ledger
        sample, (_, *skipped) = max(ledger.granted(), least), ledger.covered
        self._attempt += 1
        grant = control.Grant(
            connection=self.situation.connection, sample=sample, skipped=skipped, attempt=self._attempt
        )
        return Send(Child.CAPTURE, grant)

    def _frames_missed(self, missed: control.FramesMissed) -> list[Action]:
        """Another program has read frames of audio. Capture sends them again; this is told once a connection."""
        if missed.attempt != self._attempt or not self.situation.is_connected:
            return []  # another attempt is on its way already
        grant = self._grant(missed.sample)
        if self._missed_in == missed.connection:
            return [grant]
        self._missed_in = missed.connection
        text = (
            "audio on its way to the recogniser went astray and is sent again: another program reads from the socket "
            "`frames` in the runtime directory"
        )
        return [grant, error(Child.STREAMING, ErrorCode.FRAMES_MISSED, text), Log("warning", "frames_missed", {})]

    def _from_capture(self, message: control.Up, now: float) -> list[Action]:
        match message:
            case control.DeviceOpened():
                self.lives[Child.CAPTURE].worked(now)
            case control.DeviceLost():
                if self.situation.is_paused or self.phase is not Phase.WORKING:
                    return []  # it was told to close the device meanwhile
                self.lives[Child.CAPTURE].waits()
            case control.SourceEnded(end=end):
                self.situation.captured, self.situation.has_last_word = end, True
                if self.phase is Phase.WORKING:
                    self._enter(Phase.FILE_ENDED, NEVER)
                    self.situation.stop_reason = "the file is over"
                    if self.situation.has_rested and self.situation.is_done:
                        return self._leave(now)
                elif self.phase is Phase.DRAINING and not self.situation.unacknowledged:
                    return self._leave(now)  # everything has its result already
        return self._reports.from_capture(message, now)

    def _from_streaming(self, message: control.Up, now: float) -> list[Action]:  # noqa: C901  one case a message
        match message:
            case control.Connecting(connection=connection, endpoint=endpoint):
                self.situation.connecting(connection, endpoint)
            case control.FramesMissed(connection=connection) if connection == self.situation.connection:
                return self._frames_missed(message)
            case control.EndTaken():
                self._end_tries.sent(self.results.ledger.acknowledged)
            case control.Rested(connection=connection, sent=sent) if connection == self.situation.connection:
                return self._rested(sent, now)
            case control.StreamEnded(sent=sent):
                # The recogniser confirmed that it has the results of all audio.
                return [*self.results.acknowledge(sent), *self._leave(now)]
            case control.ConnectionReady(connection=connection) if connection == self.situation.connection:
                return self._ready(message, now)
            case control.ConnectionDown(connection=connection) if connection == self.situation.connection:
                return self._down(message, now)
            case control.Result(transcript=transcript) if transcript.connection == self.situation.connection:
                self.situation.refused_since, self.situation.has_result = None, True
                if self.lives.gives_up:
                    self.lives.keep_on()
                return self.results.result(message)
            case control.Said(connection=connection, message=said) if connection == self.situation.connection:
                return [Publish(said)]
        return []

    def _ready(self, ready: control.ConnectionReady, now: float) -> list[Action]:
        self._connect_by = NEVER
        self.lives[Child.STREAMING].worked(now)
        self._reports.works(Child.STREAMING)
        opens = not self.situation.was_connected and self.config.audio.start == "connected"
        self.situation.connected(now)
        fields = {"endpoint": ready.endpoint, "connection": ready.connection, "request_id": ready.request_id}
        actions: list[Action] = [Log("info", "connected", fields)]
        if opens and self.may_open_device:
            actions.append(self._open())
        return [*actions, self._grant()]

    def _down(self, down: control.ConnectionDown, now: float) -> list[Action]:
        if down.in_silence and self.phase is Phase.WORKING:
            self.situation.rested(now + down.next_try_in_s)
            fields = {"reason": down.reason, "connection": down.connection}
            return [Log("info", "closed_in_silence", fields), *self.results.interrupted()]
        is_news = down.reason != self.situation.connection_reason
        if down.is_refusal:
            self.situation.refused(down.reason, now)
        self.lives[Child.STREAMING].reason = ""  # why a process before it ended is not the trouble any more
        actions = self._disconnected(down.reason, now + down.next_try_in_s)
        if is_news:
            is_told = self._reports.has_told(Child.STREAMING, down.reason)  # on the line before, as a fault
            fields = {"reason": None if is_told else down.reason, "next_try_in_s": down.next_try_in_s}
            actions.append(Log("info" if is_told else "warning", "connection_down", fields))
        if self.phase is Phase.FILE_ENDED and not self._end_tries.may_try_again:
            text = f"the recogniser did not confirm the end of the file in {MOST_TRIES} tries: {down.reason}"
            actions.append(error(Child.STREAMING, ErrorCode.UNCONFIRMED_END, text, fatal=True))
            self._exit_code = ExitCode.CRASH
            self.situation.fatal_reason = text
            return actions + self._leave(now)
        return actions + self._leave(now) if self.phase is Phase.DRAINING else actions

    def _rested(self, sent: int, now: float) -> list[Action]:
        """The connection was ended in a silence; the recogniser has given all results before `sent`."""
        self.situation.rested()
        self.situation.streaming_expects_audio = False  # streaming thinks so itself
        fields = {"connection": self.situation.connection}
        actions = [Log("info", "resting", fields), *self.results.acknowledge(sent), *self.results.interrupted()]
        is_over = self.phase is Phase.DRAINING or (self.phase is Phase.FILE_ENDED and self.situation.is_done)
        return actions + self._leave(now) if is_over else actions

    def _disconnected(self, reason: str, next_try_at: float | None = None) -> list[Action]:
        self.situation.disconnected(reason, next_try_at)
        return self.results.interrupted()

    # The end

    def _enter(self, phase: Phase, deadline: float) -> None:
        """Begin `phase`, which may last until `deadline`."""
        self.phase, self._deadline = follows(_FOLLOWS, self.phase, phase), deadline

    def _leave(self, now: float) -> list[Action]:
        """Have all children end now. `_force` kills those that are too slow."""
        if self.phase in {Phase.LEAVING, Phase.DONE}:
            return []
        self._enter(Phase.LEAVING, now + _LEAVE_LIMIT_S)
        self._connect_by = NEVER
        alive = self.lives.alive
        self.lives.stopping()
        return [*self._reports.rest(now), *(Terminate(child) for child in alive), *self._all_gone()]

    def _all_gone(self) -> list[Action]:
        if self.lives.alive:
            return []
        self._enter(Phase.DONE, NEVER)
        return [Exit(self._exit_code)]
