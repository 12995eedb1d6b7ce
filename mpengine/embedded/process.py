"""The process behind a recording: its thread starts and collects it, anybody ends it.

What anybody's thread touches of a recording is here, and its two events:

* under `_lock`: `_running`, there as long as it can be signalled, and `_kill_at`, set by who asks for a clean end;
* without a lock: `_is_killed`, which only ever becomes true.

`kill` is for `__del__` too, which runs in any thread between any two instructions, those inside of a lock included. So
it waits for no lock and touches no event: it leaves its flag, and signals if nobody is at the process just then. If
somebody is, the recording's thread sees the flag at its next look.
"""

import contextlib
import os
import threading
import time

from mpengine.embedded.gui_config import EngineSettings
from mpengine.supervisor.children.process import Spawned


class Process:
    """None at first. One can follow another, but none the end that somebody has asked for."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()  # re-entrant: a GUI's own `__del__` may ask for a clean end
        self._running: Spawned | None = None
        self._kill_at: float | None = None
        self._is_killed = False

    @property
    def is_ours(self) -> bool:
        """False where the program has forked: nothing here is alive there, and the engine is not its."""
        return os.getpid() == self._pid

    @property
    def is_ending(self) -> bool:
        """Whether somebody wants it to end."""
        return self._is_killed or self._kill_at is not None

    @property
    def is_overdue(self) -> bool:
        """Whether it should have ended by now."""
        return self._is_killed or (self._kill_at is not None and time.monotonic() >= self._kill_at)

    # Anybody

    def ask_to_end(self, limit_s: float) -> bool:
        """Ask for a clean end within `limit_s`. False if it is ending."""
        with self._lock:
            if self.is_ending or not self.is_ours:
                return False
            self._kill_at = time.monotonic() + limit_s
            if self._running is not None:
                self._running.terminate()
        return True

    def kill(self) -> None:
        """End it for good, now. It never waits, whatever it interrupts."""
        if not self.is_ours:
            return
        self._is_killed = True
        if self._lock.acquire(blocking=False):
            try:
                if self._running is not None:
                    self._running.kill()
            finally:
                self._lock.release()

    # The recording's thread

    def start(self, settings: EngineSettings) -> bool:
        """Start one. False if it is to end before that. Raises OSError."""
        with self._lock:
            if self.is_ending:
                return False
            self._running = Spawned("engine", settings, module="mpengine.embedded.child")
        return True

    def replace(self) -> None:
        """Kill the one that runs, so that another one can follow."""
        with self._lock:
            if self._running is not None:
                self._running.kill()

    def reap(self) -> int | None:
        """The exit status of the one that was started, once it has ended; minus the signal that killed it."""
        with self._lock:
            running, self._running = self._running, None  # once it is collected, its pid may be another's
            if running is None:
                return 0
            try:
                status = running.reap()
            except ChildProcessError:  # the program collects all its children itself, or ignores SIGCHLD
                return 0
            if status is None:
                self._running = running
            return status

    def close(self, limit_s: float) -> None:
        """Nothing is left of it after this, or it cannot be killed within `limit_s`."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.kill()
            with contextlib.suppress(ChildProcessError):
                running.wait(limit_s)
