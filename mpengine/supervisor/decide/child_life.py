"""The children's lives: when each is spawned, what its end means, when it is started again. Pure.

    STOPPED ──spawned──> STARTING ──beat───> RUNNING ──stopping──> STOPPING ──exited──> STOPPED
       ^                     └───────exited──────┴──> BACKOFF ──due──> (spawned)
       └── permanent exit codes: FATAL

A child that says Hello is still STARTING. The first message of its work loop, mostly a beat, makes it RUNNING. A child
hangs if it is silent for too long, or if it beats but its work stands still: its counter must move while work is
expected of it. Both count only while the supervisor itself was awake (`overslept`). Looks at the threads of a silent
child may show within 3 s that it hangs (see `decide.hangs`). A child that hangs gets SIGABRT, which writes its stacks
to the log; then it is killed. A stopped one is killed at once, because it could not take SIGABRT.

A child that had worked for `stable_after_s` is started again at once, ten times a minute. Any other waits for a
backoff, which grows from one such life to the next; the first one after a good life does not wait. One that ended for
want of a device waits 2 s at most.
"""

import collections
import enum
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mpengine.shared import messages
from mpengine.shared.config_tables import SupervisorConfig
from mpengine.shared.deciding import NEVER, full_jitter_s
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorCode
from mpengine.shared.signal_names import signal_name
from mpengine.supervisor.decide.actions import Abort, Action, Child, Kill, Log, LookAt, Publish, Spawn
from mpengine.supervisor.decide.hangs import Look, Seen, is_loaded, verdict

# How long a process may write its stacks, and how long a killed one may stay (in uninterruptible sleep).
_ABORT_S, _KILL_AGAIN_S = 1.0, 5.0
# A child that has not beaten for so long is called silent.
_TWO_BEATS_S = 2.0
# A child that certainly hangs is found after so much silence, by two looks. They are a little more than a second apart,
# because a work loop that is well wakes once a second.
_FOUND_S, _BETWEEN_LOOKS_S = 3.0, 1.05
_MOST_AT_ONCE, _AT_ONCE_S = 10, 60.0
# A child that ended for want of a device waits no longer than this.
_DEVICE_CEILING_S = 2.0


class ChildState(enum.StrEnum):
    """As in the drawing above."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FATAL = "fatal"


_ALIVE = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})
_LOOKED_AT = frozenset({ChildState.STARTING, ChildState.RUNNING})
_DOWN = frozenset({ChildState.STOPPED, ChildState.BACKOFF})


class Ended(NamedTuple):
    """How a child ended. `exit_code`: the engine has to end with it; None: it goes on, or is ending already."""

    how: str
    exit_code: ExitCode | None


class Life:
    """The state of one child over all its processes."""

    def __init__(self, policy: SupervisorConfig, now: float) -> None:
        self._policy = policy
        self.state = ChildState.STOPPED
        self.pid: int | None = None
        self.restarts = 0
        self.reason = ""
        self.last_end = ""  # why it last ended; stays when the child works again
        self.ended_at: float | None = None
        self.spawn_at = now
        self.has_worked = False  # then a device error may pass
        self.gives_up = not policy.wait  # only then a refusal or a missing device ends the engine
        self._spawned_at = now
        self._heard_at = now
        self._running_since: float | None = None
        self._worked_since: float | None = None
        self._is_opening = False  # a device, which may take as long as a start
        self._counter: int | None = None
        self._progressed_at = now
        self._is_work_expected = False
        self._may_be_slow = self._may_wait = False
        self._look: Look | None = None  # the last one
        self._look_again_at = now
        self._seen: Seen | None = None
        self._end_at: float | None = None  # when to kill it (again), if it is being ended
        self._failures = 0
        self._at_once: collections.deque[float] = collections.deque(maxlen=_MOST_AT_ONCE)  # its last starts at once
        self._last_words: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether a process of this child exists."""
        return self.state in _ALIVE

    @property
    def alive_since(self) -> float | None:
        """When its process was spawned; None without a process."""
        return self._spawned_at if self.is_alive else None

    @property
    def deadline(self) -> float:
        """When it must be spawned, looked at, killed (again), or counts as hung (silent, or standing still)."""
        if self.state in _DOWN:
            return self.spawn_at
        if not self.is_alive:
            return NEVER
        return self._end_at if self._end_at is not None else min(self._silent_at, self._idle_at, self.look_at)

    @property
    def look_at(self) -> float:
        """When to look at its threads, because it is silent."""
        if self._end_at is not None or self.state not in _LOOKED_AT:
            return NEVER
        first_s = (_FOUND_S - _BETWEEN_LOOKS_S) * self._policy.patience
        return max(self._heard_at + first_s, self._look_again_at)

    @property
    def seen(self) -> Seen | None:
        """What two looks in this silence have shown; None before the second one."""
        return self._seen if self._is_look_new else None

    @property
    def _is_look_new(self) -> bool:
        """Whether it has been silent since the last look."""
        return self._look is not None and self._look.at_s > self._heard_at

    def is_due(self, now: float) -> bool:
        """Whether to spawn it now."""
        return self.state in _DOWN and now >= self.spawn_at

    def looked(self, look: Look | None, now: float) -> str:
        """Note a look at its threads; None: they cannot be seen. Returns why it has to be ended; empty if it may work.

        A stopped child hangs, and so does one whose main thread is blocked, except while that thread may wait for
        another process: while the child starts, or opens or closes a device. On a loaded machine no child hangs by a
        look.
        """
        before = self._look if self._is_look_new else None
        self._look, self._look_again_at = look, now + _BETWEEN_LOOKS_S * self._policy.patience
        self._seen = verdict(before, look) if before is not None and look is not None else None
        if before is None or look is None or is_loaded(before, look):
            return ""
        silent = f"no sign of life for {now - self._heard_at:.0f} s"
        may_wait = self.state is not ChildState.RUNNING or self._is_opening or self._may_wait
        if self._seen is Seen.STOPPED:
            return f"{silent}: it is stopped, as by SIGSTOP"
        if self._seen is Seen.BLOCKED and not may_wait:
            return f"{silent}: a call of its main thread does not come back"
        return ""

    def hangs(self, now: float) -> str:
        """Why it has to be ended, or killed again, by the time alone; empty while it is well."""
        if not self.is_alive:
            return ""
        if self._end_at is not None:
            return "it does not end" if now >= self._end_at else ""
        if now >= self._silent_at:
            return f"no sign of life for {self._silent_at - self._heard_at:g} s"
        if now < self._idle_at:
            return ""
        if now > self._heard_at + _TWO_BEATS_S:
            return f"no sign of life for {now - self._heard_at:.0f} s"
        return f"it gives signs of life, but its work has stood still for {self._idle_at - self._progressed_at:g} s"

    def stands_still_s(self, now: float) -> float:
        """For how long the work that is expected of it has stood still."""
        return now - self._progressed_at if self._is_work_expected else 0.0

    @property
    def _silent_at(self) -> float:
        policy = self._policy
        is_fast = self.state is ChildState.RUNNING and not self._is_opening
        limit_s = policy.hang_limit_s if is_fast else policy.first_frame_limit_s
        return self._heard_at + limit_s * policy.patience

    @property
    def _idle_at(self) -> float:
        if not self._is_work_expected:
            return NEVER
        limit_s = self._policy.first_frame_limit_s if self._may_be_slow else self._policy.hang_limit_s
        return self._progressed_at + limit_s * self._policy.patience

    def spawned(self, pid: int, now: float) -> None:
        """Its process `pid` was started: the child is STARTING, and its limits of silence count from `now`."""
        if self.state is ChildState.BACKOFF:
            self.restarts += 1
        self.state = ChildState.STARTING
        self.pid = pid
        self._spawned_at = self._heard_at = self._progressed_at = now
        self._last_words = None
        self._end_at = None
        self._running_since = self._worked_since = None
        self._is_opening = False

    def opening(self) -> None:
        """It gets the command to open a device, and will report the open device."""
        self._is_opening = True

    def began(self, now: float) -> None:
        """It reported its start. It may still take long to open a device."""
        self._heard_at = now

    def heard(self, now: float) -> None:
        """Its work loop sent a message: it runs."""
        self._heard_at = now
        if self.state is ChildState.STARTING:
            self.state = ChildState.RUNNING
            self._running_since = now

    def worked(self, now: float) -> None:
        """It did its work: the device was open, or the recogniser connected."""
        if self._worked_since is None:
            self._worked_since = now
        self._is_opening = False
        self.has_worked = True
        self.reason = ""

    def waits(self) -> None:
        """It cannot open the device, and goes on trying by itself."""
        self._is_opening = False

    def complained(self, words: str) -> None:
        """It reported why it is about to end."""
        self._last_words = words

    @property
    def has_complained(self) -> bool:
        """Whether it is known why this process ends."""
        return self._last_words is not None

    def progress(
        self, counter: int, now: float, *, is_expected: bool, may_be_slow: bool = False, may_wait: bool = False
    ) -> None:
        """Note how far its work is, whether progress is expected now, and whether that may take as long as a start.

        `may_wait`: whether its main thread may wait for another process meanwhile.
        """
        self._may_be_slow, self._may_wait = may_be_slow, may_wait
        self._is_work_expected = is_expected and self.state is ChildState.RUNNING
        if counter != self._counter or not self._is_work_expected:
            self._counter, self._progressed_at = counter, now

    def aborting(self, now: float) -> None:
        """It was asked to write its stacks and to end."""
        self._end_at = now + _ABORT_S

    def killing(self, now: float) -> None:
        """It was killed. If it cannot die yet, it is killed again later."""
        self._end_at = now + _KILL_AGAIN_S

    def overslept(self, now: float) -> None:
        """The supervisor itself was not awake until now: silence and idleness before do not count."""
        self._heard_at = max(self._heard_at, now)
        self._progressed_at = max(self._progressed_at, now)

    def stopping(self) -> None:
        """It has to end: its end is no crash, and it is not spawned again."""
        if self.is_alive:
            self.state = ChildState.STOPPING
        elif self.state is not ChildState.FATAL:
            self.state = ChildState.STOPPED
        self.spawn_at = NEVER

    def is_permanent(self, exit_code: int) -> bool:
        """Whether an exit with `exit_code` ends the engine: another try cannot help."""
        if exit_code == ExitCode.DEVICE:
            return self.gives_up and not self.has_worked
        return exit_code == ExitCode.CONFIG or (exit_code == ExitCode.ACCOUNT and self.gives_up)

    def exited(self, status: int, now: float, chance: float) -> Ended:
        """The process has ended. `status` as in `subprocess`: the exit code, or minus the signal."""
        how = f"killed by {signal_name(-status)}" if status < 0 else f"exit code {status}"
        was, self.pid = self.state, None
        if was is ChildState.STOPPING:
            self.state = ChildState.STOPPED
            return Ended(how, None)
        self.reason = self.last_end = self._last_words or how
        self.ended_at = now
        if self.is_permanent(status):
            self.state = ChildState.FATAL
            return Ended(how, ExitCode(status))
        self.failed(now, chance)
        if status == ExitCode.DEVICE:  # nobody is on the other side who could be asked too often
            self.spawn_at = min(self.spawn_at, now + _DEVICE_CEILING_S)
        return Ended(how, None)

    def failed(self, now: float, chance: float) -> None:
        """It ended, or could not be spawned. After it had worked, it is started again at once, ten times a minute."""
        self._failures += 1
        if self._had_worked(now) and not (len(self._at_once) == _MOST_AT_ONCE and now < self._at_once[0] + _AT_ONCE_S):
            self._at_once.append(now)
            self._failures = 1
        self._worked_since = None
        self.state = ChildState.BACKOFF
        self.spawn_at = now
        if self._failures > 1:
            self.spawn_at += full_jitter_s(
                self._failures - 1,
                base_s=self._policy.backoff_s,
                ceiling_s=self._policy.backoff_ceiling_s,
                chance=chance,
            )

    def _had_worked(self, now: float) -> bool:
        """Whether its process, which has ended, had worked for long enough. The time that it hung does not count."""
        if self._worked_since is None or self._running_since is None:
            return False
        last_sign_at = min(self._heard_at, self._progressed_at)
        well_until = now if now < last_sign_at + _TWO_BEATS_S else last_sign_at
        return well_until - max(self._worked_since, self._running_since) >= self._policy.stable_after_s


class Lives(dict[Child, Life]):
    """The lives of all children. `chance` gives random numbers in [0, 1)."""

    def __init__(
        self, children: Iterable[Child], policy: SupervisorConfig, *, chance: Callable[[], float], now: float
    ) -> None:
        super().__init__({child: Life(policy, now) for child in children})
        self._chance = chance
        self.gives_up = not policy.wait

    def keep_on(self) -> None:
        """The engine has brought a result: it does not give up any more."""
        self.gives_up = False
        for life in self.values():
            life.gives_up = False

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(life.deadline for life in self.values())

    @property
    def alive(self) -> list[Child]:
        """The children of which a process exists."""
        return [child for child, life in self.items() if life.is_alive]

    def stands_still_s(self, now: float) -> float:
        """For how long the work of any child has stood still though it was expected."""
        return max(life.stands_still_s(now) for life in self.values())

    def tick(self, now: float) -> list[Action]:
        """Spawn the children that are due, end those that hang, look at those that are silent."""
        actions: list[Action] = []
        for child, life in self.items():
            if life.is_due(now):
                actions.append(Spawn(child))
            elif why := life.hangs(now):
                actions += self._hung(child, life, why, now)
            elif now >= life.look_at:
                actions.append(LookAt(child))
        return actions

    def looked(self, child: Child, look: Look | None, now: float) -> list[Action]:
        """A look at a silent child: end it if it hangs; otherwise log once a silence what it may be."""
        life = self[child]
        was_seen = life.seen
        if why := life.looked(look, now):
            return self._hung(child, life, why, now)
        if life.seen is None or was_seen is not None:
            return []
        return [Log("warning", "silent", {"child": child, "seen": life.seen})]

    def _hung(self, child: Child, life: Life, why: str, now: float) -> list[Action]:
        if life.has_complained:  # and has not ended: it is stopped, or cannot die yet
            life.killing(now)
            return [Kill(child)]
        is_stopped = life.seen is Seen.STOPPED
        text = f"{child} hangs: {why}; restarting"
        if not is_stopped:
            text += " (the log has its stacks, if it could still write them)"
        told = [Log("error", "hung", {"child": child, "reason": why}), error(child, ErrorCode.HUNG, text)]
        life.complained(text)
        if is_stopped:
            life.killing(now)
            return [*told, Kill(child)]
        life.aborting(now)
        return [*told, Abort(child)]

    def overslept(self, now: float) -> None:
        """The supervisor was not awake until now: no child's silence counts."""
        for life in self.values():
            life.overslept(now)

    def spawn_failed(self, child: Child, why: str, now: float) -> list[Action]:
        """A process could not be started. The next try waits for the same backoff."""
        life = self[child]
        life.reason = why
        life.failed(now, self._chance())
        return [Log("error", "spawn_failed", {"child": child, "reason": why})]

    def exited(self, child: Child, status: int, now: float) -> Ended:
        """A process has ended. `status`: as in `subprocess`."""
        return self[child].exited(status, now, self._chance())

    def stopping(self) -> None:
        """All have to end: none is started again."""
        for life in self.values():
            life.stopping()


def error(child: Child, code: ErrorCode, text: str, *, fatal: bool = False) -> Action:
    """Publish an error of `child`."""
    return Publish(messages.Error(source=child, code=code, message=text, fatal=fatal))
