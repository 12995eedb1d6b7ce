"""The engine as one sees it from outside: its status and its cursors. Pure."""

from collections.abc import Mapping

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.messages import ChildMetrics, ChildStatus
from mpengine.supervisor.actions import Child
from mpengine.supervisor.life import ChildState, Life
from mpengine.supervisor.results import Results


class Picture:
    """What is known of device, connection and progress; `status` and `metrics` put it into words."""

    def __init__(self, config: Config, results: Results, now: float) -> None:
        self._config = config
        self._results = results
        self._started_at = now
        self.device: str | None = None
        self.endpoint: str | None = None
        self.connection = 0
        self.connection_reason = ""
        self.was_connected = False
        self.is_connecting = False
        self.is_connected = False
        self.is_paused = False
        self.connect_timed_out = False
        self.stop_reason = ""
        self.fatal_reason = ""
        self.captured = 0
        self.sent = 0
        self._replayed = self._replayed_before = self._dropped = self._connections = 0
        self._was_running = False
        self._next_try_at: float | None = None

    # What happens

    def connecting(self, connection: int, endpoint: str) -> None:
        """An attempt began."""
        self.connection, self.endpoint = connection, endpoint
        # A first attempt may still come to something; after a failure nobody waits for the next one.
        self.is_connecting = not self.connection_reason
        self._next_try_at = None

    def connected(self) -> None:
        """The recogniser is ready."""
        self.is_connected = self.was_connected = True
        self.is_connecting = self.connect_timed_out = False
        self.connection_reason = ""
        self._connections += 1

    def disconnected(self, reason: str, next_try_at: float | None = None) -> None:
        """The connection is gone, or did not come about."""
        self.is_connected = self.is_connecting = False
        self.connection_reason = reason
        self._next_try_at = next_try_at

    def beat(self, message: control.CaptureBeat | control.StreamBeat | control.RecogniserBeat) -> None:
        """A child told how far it is."""
        match message:
            case control.CaptureBeat(captured=captured):
                self.captured = max(self.captured, captured)
            case control.StreamBeat(sent=sent, replayed=replayed):
                self.sent = max(self.sent, sent)
                if replayed < self._replayed:  # a new process, which counts from nothing
                    self._replayed_before += self._replayed
                self._replayed = replayed

    def missing(self, message: control.SamplesMissing) -> None:
        """Samples are lost; those of a pause were not wanted."""
        if message.reason != "paused":
            self._dropped += message.end - message.first

    # What is told

    def status(self, lives: Mapping[Child, Life], phase: str, now: float) -> messages.Status:
        """The status as it is now."""
        state, reason = self._state(lives, phase)
        return messages.Status(
            state=state,
            reason=reason,
            unacknowledged_s=self._results.seconds(max(0, self.captured - self._results.ledger.acknowledged)),
            children={name.value: self._child(name, life, now) for name, life in lives.items()},
            device=self.device,
            endpoint=self.endpoint,
            connection=self.connection,
        )

    def _state(self, lives: Mapping[Child, Life], phase: str) -> tuple[str, str]:
        if phase == "DONE":
            return ("failed", self.fatal_reason) if self.fatal_reason else ("stopped", self.stop_reason)
        if phase != "WORKING":
            return "stopping", self.fatal_reason or self.stop_reason
        if all(life.state in {ChildState.STOPPED, ChildState.STARTING} for life in lives.values()):
            return "starting", ""
        troubles = [f"{name}: {life.reason}" for name, life in lives.items() if life.reason]
        if self.connection_reason and not lives[Child.STREAMING].reason:
            troubles.append(self.connection_reason)
        if self.is_paused and self.is_connected:
            return "running", "paused"
        if self.is_connected and self.device is not None and not troubles:
            self._was_running = True
            return "running", ""
        if self._was_running or self.connect_timed_out:
            return "degraded", "; ".join(troubles) or f"connecting to {self.endpoint}"
        return "connecting", "; ".join(troubles)

    def _child(self, name: Child, life: Life, now: float) -> ChildStatus:
        next_try_at = life.spawn_at if life.state is ChildState.BACKOFF else None
        reason = life.reason
        if name is Child.STREAMING and life.state is ChildState.RUNNING:
            next_try_at, reason = self._next_try_at, reason or self.connection_reason
        return ChildStatus(
            state=life.state.value,
            pid=life.pid,
            restarts=life.restarts,
            next_try_in_s=None if next_try_at is None else round(max(0.0, next_try_at - now), 3),
            reason=reason,
        )

    def metrics(
        self, lives: Mapping[Child, Life], usage: Mapping[str, ChildMetrics], last: Mapping[str, int], now: float
    ) -> messages.Metrics:
        """The cursors as they are now; `usage` and `last` are the caller's."""
        seconds, ledger = self._results.seconds, self._results.ledger
        backlog_s, pace = seconds(max(0, self.captured - self.sent)), self._config.pace
        return messages.Metrics(
            captured_s=seconds(self.captured),
            sent_s=seconds(self.sent),
            acknowledged_s=seconds(ledger.acknowledged),
            transcribed_s=seconds(ledger.transcribed),
            backlog_s=backlog_s,
            catch_up_s=None if pace is None else round(backlog_s / (pace - 1), 3),
            lag_s=seconds(max(0, self.sent - ledger.transcribed)),
            reconnects=max(0, self._connections - 1),
            restarts=sum(life.restarts for life in lives.values()),
            dropped_s=seconds(self._dropped),
            replayed_s=seconds(self._replayed_before + self._replayed),
            last=dict(last),
            children=dict(usage),
            uptime_s=round(now - self._started_at, 1),
        )
