"""The engine as others see it: its status and its positions. Pure."""

from collections.abc import Mapping

import msgspec

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import NO_LOSS, ChildAnswer, ChildMetrics, ChildStatus, EngineState, GapReason
from mpengine.shared.ranges import total
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.child_life import ChildState, Life
from mpengine.supervisor.decide.results import Results

# A recogniser that refuses a connection after it was ready has done so by then.
_ACCEPTED_AFTER_S = 10.0
# Levels come four times a second. An older one says nothing of now.
_LEVEL_LASTS_S = 1.5


class Situation:
    """What is known of device, connection and progress. Positions are samples on the run's clock."""

    def __init__(self, config: Config, results: Results, now: float) -> None:
        self._config = config
        self._results = results
        self._started_at = now
        self.device: str | None = None
        self.source_samples = 0  # of a file in all; 0: not known, or without end
        self.has_audio = False  # of the open device
        self.fed_by = ""  # the sound server's source of the open device, if that may be any
        self.remembered = ""  # the identity of the device that was open last
        self.lost_why = ""  # why capture has no device, by its last `DeviceLost`
        self._lost_at: float | None = None
        self._device_try_at: float | None = None
        self._level: messages.Level | None = None  # the last one of the open device
        self._level_at = now
        self.endpoint: str | None = None
        self.connection = 0  # the current one, or the last one
        self.last_connection = 0  # the highest number ever used in this run
        self.connection_reason = ""
        self.was_connected = False
        self.is_connecting = False
        self.is_connected = False
        self.is_paused = False
        self.is_gated = False  # the silence gate is closed
        self.has_rested = False  # the last connection ended in a silence, and no attempt has failed since
        self.streaming_expects_audio = True  # by the last message to it
        self.last_disconnect = ""  # why a connection was last lost; stays when there is another one
        self.connect_timed_out = False
        self.has_result = False  # of the last connection
        self.refused_since: float | None = None  # see `is_refused`; a result ends it
        self.stop_reason = ""
        self.fatal_reason = ""
        self.captured = self.captured_at_open = 0
        self.has_last_word = False  # of capture: nothing comes after `captured`
        self.lost_reason = GapReason.CAPTURE_RESTART  # of samples that are missing before the next capture's first
        self.capture_waits = False  # for the window's disk
        self.decoded, self.is_decoding = 0, False  # by the local recogniser
        self.highest_sent = 0  # on all connections; `sent` is on the current one
        self._sent = 0
        self._replayed = self._replayed_before = self._dropped = self._reconnects = 0
        self._gated = self._gated_until = 0
        self._was_running = False
        self._not_running_since: float | None = now
        self._refusal, self._refused_when_open = "", False
        self._connected_at = now
        self._next_try_at: float | None = None
        self._disconnected_at: float | None = None

    # What happens

    def opened(self, opened: control.DeviceOpened, now: float) -> float | None:
        """The device is open. Returns for how long it was lost; None if it was not."""
        away_s = None if self._lost_at is None else now - self._lost_at
        self.closed()
        self.device = opened.name
        self.source_samples = opened.samples
        self.captured_at_open = self.captured
        self.lost_reason = GapReason.CAPTURE_RESTART
        return away_s

    def closed(self) -> None:
        """No device is open, and none is wanted."""
        self._no_device()
        self._lost_at, self.lost_why = None, ""

    def lost(self, lost: control.DeviceLost, now: float) -> None:
        """Capture has no device, though one is wanted. That begins once for each loss."""
        self._no_device()
        self.lost_why, self._device_try_at = lost.reason, now + lost.next_try_in_s
        if self._lost_at is None:
            self._lost_at = now

    def _no_device(self) -> None:
        self.device = self._level = self._device_try_at = None
        self.is_gated = self.has_audio = False
        self.fed_by = ""

    @property
    def is_lost(self) -> bool:
        """Whether a device was lost, or missing from the start, and is not back."""
        return self._lost_at is not None

    def heard(self, level: messages.Level, now: float) -> None:
        """A level of the open device."""
        self._level, self._level_at = level, now

    def level(self, now: float) -> messages.Level | None:
        """How loud it is; None when nothing has come for 1.5 s."""
        return self._level if now < self._level_at + _LEVEL_LASTS_S else None

    def gate(self, first: int, end: int, *, is_closed: bool) -> None:
        """The silence gate has kept back the samples [first, end). A file that is read again is judged again."""
        self.is_gated = is_closed
        self._gated += max(0, end - max(first, self._gated_until))
        self._gated_until = max(end, self._gated_until)

    def capture_ended(self, status: int) -> None:
        """The capture process has ended, with `status` as in `subprocess`."""
        self._no_device()  # a device that was lost stays lost
        self.lost_why = ""
        self.has_last_word |= status == ExitCode.OK
        if self.lost_reason is GapReason.STOPPED:  # this engine has not captured anything yet
            return
        # Without a device nothing was captured anyway, however the process ended.
        is_without = status == ExitCode.DEVICE or self.is_lost
        self.lost_reason = GapReason.DEVICE if is_without else GapReason.CAPTURE_RESTART
        if self.is_paused:
            self.lost_reason = GapReason.PAUSED

    def connecting(self, connection: int, endpoint: str) -> None:
        """An attempt began."""
        self.connection = self.last_connection = connection
        self.endpoint = endpoint
        # Only the first attempt is waited for: after a failure, the next one may fail as well.
        self.is_connecting = not self.connection_reason
        self._next_try_at = None

    def connected(self, now: float) -> None:
        """The recogniser is ready."""
        self._connected_at, self.has_result = now, False
        if not self._refused_when_open:
            self.refused_since = None
        self._reconnects += self.was_connected and not self.has_rested
        self.is_connected = self.was_connected = True
        self.is_connecting = self.connect_timed_out = self.has_rested = False
        self.connection_reason = ""
        self._sent = 0

    def disconnected(self, reason: str, next_try_at: float | None = None) -> None:
        """The connection is lost, or the attempt failed."""
        if self.is_connected:
            self.last_disconnect, self._disconnected_at = reason, None
        self.is_connected = self.is_connecting = self.has_rested = False
        self.connection_reason = reason
        self._sent = 0
        self._next_try_at = next_try_at

    def rested(self, next_try_at: float | None = None) -> None:
        """The connection ended in a silence, which is no fault. The next one is made when it is needed."""
        self.is_connected = self.is_connecting = False
        self.has_rested = True
        self.connection_reason = ""
        self._sent = 0
        self._next_try_at = next_try_at

    def refused(self, reason: str, now: float) -> None:
        """The recogniser, or somebody on the way, refuses the attempt, or the connection that is open until now."""
        if not self.is_refused(now):
            self.refused_since = now
        self._refusal, self._refused_when_open = reason, self.is_connected

    def is_refused(self, now: float) -> bool:
        """Whether a refusal stands. A connection ends it: where that was refused itself, only one that lives."""
        if self.is_connected and self._is_accepted(now):
            self.refused_since = None
        return self.refused_since is not None

    def _is_accepted(self, now: float) -> bool:
        """Whether the connection has brought a result or has lived: many a recogniser says no after the upgrade."""
        return self.has_result or now > self._connected_at + _ACCEPTED_AFTER_S

    def refused_s(self, now: float) -> float:
        """For how long a refusal has stood."""
        return now - (self.refused_since or now) if self.is_refused(now) else 0.0

    def beat(self, message: control.CaptureBeat | control.StreamBeat | control.RecogniserBeat) -> None:
        """A child reported how far it is."""
        match message:
            case control.CaptureBeat(captured=captured, is_waiting=is_waiting):
                self.captured = max(self.captured, captured)
                self.has_audio = self.device is not None and self.captured > self.captured_at_open
                self.capture_waits = is_waiting
            case control.RecogniserBeat(received=received, decoded=decoded):
                self.decoded, self.is_decoding = decoded, received != decoded
            case control.StreamBeat(sent=sent, highest_sent=highest_sent, replayed=replayed):
                self._sent = sent if self.is_connected else 0  # otherwise it belongs to the connection before
                self.highest_sent = max(self.highest_sent, highest_sent)
                if replayed < self._replayed:  # a new process, which counts from 0
                    self._replayed_before += self._replayed
                self._replayed = replayed

    def missing(self, message: control.SamplesMissing) -> None:
        """Samples are missing. Time in which the engine was not to capture does not count as dropped."""
        if message.reason not in NO_LOSS:
            self._dropped += message.end - message.first

    @property
    def sent(self) -> int:
        """The position of the current connection, or the one at which the next one begins."""
        return max(self._sent, self._results.ledger.acknowledged)

    @property
    def unacknowledged(self) -> int:
        """How many samples were captured and need a result."""
        return total(self._results.ledger.uncovered(0, self.captured))

    @property
    def backlog(self) -> int:
        """How many samples are still to be sent on the current connection."""
        return total(self._results.ledger.uncovered(self.sent, self.captured))

    @property
    def is_done(self) -> bool:
        """Whether all audio has its result, after capture's last word on how much audio there is."""
        return self.has_last_word and self.unacknowledged == 0

    # Messages about it

    def status(self, lives: Mapping[Child, Life], phase: str, now: float) -> messages.Status:
        """The status as it is now. It is made on every news, and once a second."""
        if self.last_disconnect and self._disconnected_at is None:
            self._disconnected_at = now
        # A recogniser that refuses the rest of a file is waited for without a limit.
        is_working = phase == "WORKING" or (phase == "FILE_ENDED" and self.is_refused(now))
        state, reason = self._state(lives, now) if is_working else self._end_state(phase)
        if state == EngineState.RUNNING and self._is_accepted(now):
            self._not_running_since = None
        elif self._not_running_since is None:
            self._not_running_since = now
        return messages.Status(
            state=state,
            reason=reason,
            unacknowledged_s=self._results.seconds(self.unacknowledged),
            children={name.value: self._child(name, life, now) for name, life in lives.items()},
            device=f"{self.device} (fed by {self.fed_by})" if self.device and self.fed_by else self.device,
            endpoint=self.endpoint,
            connection=self.connection,
        )

    def not_running_s(self, now: float) -> float:
        """For how long the engine has been in another state than RUNNING."""
        return 0.0 if self._not_running_since is None else now - self._not_running_since

    def _end_state(self, phase: str) -> tuple[EngineState, str]:
        reason = self.fatal_reason or self.stop_reason
        if phase != "DONE":
            return EngineState.STOPPING, reason
        return EngineState.FAILED if self.fatal_reason else EngineState.STOPPED, reason

    def _state(self, lives: Mapping[Child, Life], now: float) -> tuple[EngineState, str]:
        if all(life.state in {ChildState.STOPPED, ChildState.STARTING} for life in lives.values()):
            return EngineState.STARTING, ""
        rests = self._rests(lives[Child.STREAMING])
        reasons = {name: life.reason for name, life in lives.items()}
        reasons[Child.CAPTURE] = self.lost_why or reasons[Child.CAPTURE]
        if rests:
            reasons[Child.STREAMING] = ""  # an old fault of it does not matter while it rests
        troubles = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        if self.connection_reason and not rests and not reasons[Child.STREAMING]:
            troubles.append(self.connection_reason)
        if self.is_paused and (self.is_connected or rests) and not troubles:
            return EngineState.RUNNING, "paused"
        is_refused = self.is_refused(now)
        if is_refused and self.is_connected:
            troubles.append(self._refusal)  # it will be refused as the one before, or accepted at any moment
        if (self.is_connected or self.has_rested) and self.device is not None and not troubles:
            self._was_running = True
            return EngineState.RUNNING, ""
        waits_for_device = self.is_lost or (self._config.supervisor.wait and reasons[Child.CAPTURE])
        if self._was_running or self.connect_timed_out or is_refused or waits_for_device:
            return EngineState.DEGRADED, "; ".join(troubles) or self._waits_for(rests=rests)
        return EngineState.CONNECTING, "; ".join(troubles) or (self._waits_for(rests=rests) if rests else "")

    def _rests(self, streaming: Life) -> bool:
        """Whether there is no connection because none is wanted."""
        return not (self.is_connected or self.streaming_expects_audio) and streaming.state is ChildState.RUNNING

    def _waits_for(self, *, rests: bool) -> str:
        """The reason of a state in which something is missing though nothing is wrong."""
        if not (self.is_connected or rests):
            return f"connecting to {self.endpoint}"
        return "waiting for the device" if self.device is None else "waiting for the first audio of the device"

    def _child(self, name: Child, life: Life, now: float) -> ChildStatus:
        next_try_at = life.spawn_at if life.state is ChildState.BACKOFF else None
        reason = life.reason
        if name is Child.CAPTURE and self.lost_why:
            next_try_at, reason = self._device_try_at, self.lost_why
        if name is Child.STREAMING and life.state is ChildState.RUNNING:
            next_try_at, reason = self._next_try_at, reason or self.connection_reason
            if self._rests(life):
                next_try_at, reason = None, "not connected while there is no audio"
        return ChildStatus(
            state=life.state.value,
            pid=life.pid,
            restarts=life.restarts,
            next_try_in_s=None if next_try_at is None else round(max(0.0, next_try_at - now), 3),
            reason=reason,
        )

    def children(self, lives: Mapping[Child, Life], now: float) -> dict[str, ChildAnswer]:
        """The children for the answer to a status query: with their past, and with figures that change all the time."""
        return {
            name.value: ChildAnswer(
                **msgspec.structs.asdict(self._child(name, life, now)),
                up_s=_ago(life.alive_since, now),
                last_end=life.last_end,
                last_end_ago_s=_ago(life.ended_at, now),
            )
            for name, life in lives.items()
        }

    def last_disconnect_ago_s(self, now: float) -> float | None:
        """How long ago the connection was lost; None when none was."""
        return _ago(self._disconnected_at, now)

    @property
    def progress(self) -> tuple[float, float] | None:
        """Of a file: the seconds that are transcribed, and those of the whole file. None without a known end."""
        seconds = self._results.seconds
        if not self.source_samples:
            return None
        return seconds(self._results.ledger.transcribed), seconds(self.source_samples)

    def metrics(
        self, lives: Mapping[Child, Life], usage: Mapping[str, ChildMetrics], last: Mapping[str, int], now: float
    ) -> messages.Metrics:
        """The positions as they are now. `usage` and `last` go into the message as they are."""
        seconds, ledger = self._results.seconds, self._results.ledger
        backlog_s, pace = seconds(self.backlog), self._config.pace
        return messages.Metrics(
            captured_s=seconds(self.captured),
            sent_s=seconds(self.sent),
            acknowledged_s=seconds(ledger.acknowledged),
            transcribed_s=seconds(ledger.transcribed),
            backlog_s=backlog_s,
            catch_up_s=None if pace is None else round(backlog_s / (pace - 1), 3),
            lag_s=seconds(total(ledger.uncovered(ledger.transcribed, self.sent))),
            reconnects=self._reconnects,
            restarts=sum(life.restarts for life in lives.values()),
            dropped_s=seconds(self._dropped),
            replayed_s=seconds(self._replayed_before + self._replayed),
            withheld=self._results.withheld,
            last=dict(last),
            children=dict(usage),
            uptime_s=round(now - self._started_at, 1),
            refused_s=round(self.refused_s(now), 1),
            gated_s=seconds(self._gated),
            source_s=seconds(self.source_samples) if self.source_samples else None,
        )


def _ago(then: float | None, now: float) -> float | None:
    return None if then is None else round(now - then, 1)
