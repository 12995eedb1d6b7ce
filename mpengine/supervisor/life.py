"""One child's life: when it is spawned, what its end means, when it is tried again. Pure.

    STOPPED ──spawned──> STARTING ──hello──> RUNNING ──stopping──> STOPPING ──exited──> STOPPED
       ^                     └───────exited──────┴──> BACKOFF ──due──> (spawned)
       └── permanent exit codes: FATAL

Spawned is not ready: only the child's own word makes it RUNNING. Silence of a child counts against it only while the
supervisor itself was awake (`overslept`).
"""

import enum
import signal
from typing import NamedTuple

from mpengine.shared.backoff import full_jitter_s
from mpengine.shared.config_tables import SupervisorConfig
from mpengine.shared.errors import ExitCode

_FOREVER = float("inf")
_KILL_AGAIN_S = 5.0
_PERMANENT = frozenset({ExitCode.CONFIG, ExitCode.ACCOUNT})


class ChildState(enum.StrEnum):
    """As in the drawing above."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    BACKOFF = "BACKOFF"
    FATAL = "FATAL"


class Ended(NamedTuple):
    """How a child ended. `exit_code`: the engine has to end with it; None: the child is tried again (or was told)."""

    how: str
    exit_code: ExitCode | None


class Life:
    """The state of one child over all its incarnations."""

    def __init__(self, policy: SupervisorConfig, now: float) -> None:
        self._policy = policy
        self.state = ChildState.STOPPED
        self.pid: int | None = None
        self.restarts = 0
        self.reason = ""
        self.spawn_at = now
        self.has_worked = False  # whether a device error may be one of those that pass
        self._spawned_at = now
        self._heard_at = now
        self._failures = 0
        self._last_words: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether a process of this child exists."""
        return self.state in {ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING}

    @property
    def deadline(self) -> float:
        """When it must be spawned, or when its silence is too long."""
        if self.state in {ChildState.STOPPED, ChildState.BACKOFF}:
            return self.spawn_at
        return self._heard_at + self._silence_limit_s if self.is_alive else _FOREVER

    def is_due(self, now: float) -> bool:
        """Whether to spawn it now."""
        return self.state in {ChildState.STOPPED, ChildState.BACKOFF} and now >= self.spawn_at

    def is_hung(self, now: float) -> bool:
        """Whether it has said nothing for longer than its work loop may take."""
        return self.is_alive and now >= self._heard_at + self._silence_limit_s

    @property
    def _silence_limit_s(self) -> float:
        policy = self._policy
        return policy.hang_limit_s if self.state is ChildState.RUNNING else policy.first_frame_limit_s

    def spawned(self, pid: int, now: float) -> None:
        """A process was started."""
        self.restarts += self.state is ChildState.BACKOFF
        self.state = ChildState.STARTING
        self.pid = pid
        self._spawned_at = self._heard_at = now
        self._last_words = None

    def began(self, now: float) -> None:
        """It said that it begins: it exists, but may take long to open a device."""
        self._heard_at = now

    def heard(self, now: float) -> None:
        """Its work loop said something: it runs."""
        self._heard_at = now
        if self.state is ChildState.STARTING:
            self.state = ChildState.RUNNING

    def worked(self) -> None:
        """It did what it is for: the device was open, the recogniser connected."""
        self.has_worked = True
        self.reason = ""

    def complained(self, words: str) -> None:
        """It said why it is about to end."""
        self._last_words = words

    @property
    def has_complained(self) -> bool:
        """Whether this life said why it ends."""
        return self._last_words is not None

    def killing(self, now: float) -> None:
        """It is being killed for its silence; one that cannot die yet (uninterruptible sleep) is tried again later."""
        self._heard_at = now + _KILL_AGAIN_S - self._silence_limit_s

    def overslept(self, now: float) -> None:
        """The supervisor itself was not awake: the silence meanwhile says nothing."""
        self._heard_at = max(self._heard_at, now)

    def stopping(self) -> None:
        """It was told to end: its end is no crash, and it is not spawned again."""
        if self.is_alive:
            self.state = ChildState.STOPPING
        elif self.state is not ChildState.FATAL:
            self.state = ChildState.STOPPED
        self.spawn_at = _FOREVER

    def is_permanent(self, exit_code: int) -> bool:
        """Whether an exit with `exit_code` ends the engine: another try cannot help."""
        return exit_code in _PERMANENT or (exit_code == ExitCode.DEVICE and not self.has_worked)

    def exited(self, status: int, now: float, chance: float) -> Ended:
        """The process has ended; `status` as in `subprocess`: the exit code, or minus the signal."""
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit code {status}"
        was, self.pid = self.state, None
        if was is ChildState.STOPPING:
            self.state = ChildState.STOPPED
            return Ended(how, None)
        self.reason = self._last_words or how
        if self.is_permanent(status):
            self.state = ChildState.FATAL
            return Ended(how, ExitCode(status))
        self.failed(now, chance)
        return Ended(how, None)

    def failed(self, now: float, chance: float) -> None:
        """It ended, or could not be spawned: the first time after a stable life it is tried again at once."""
        is_stable = now - self._spawned_at >= self._policy.stable_after_s
        self._failures = 1 if is_stable and self.state is not ChildState.BACKOFF else self._failures + 1
        self.state = ChildState.BACKOFF
        self.spawn_at = now
        if self._failures > 1:
            self.spawn_at += full_jitter_s(
                self._failures - 1,
                base_s=self._policy.backoff_s,
                ceiling_s=self._policy.backoff_ceiling_s,
                chance=chance,
            )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names there
        return f"signal {number}"
