"""The child process of a recording. The recording's thread starts and collects it; any thread may end it.

Who owns what:

* `_lock` guards `_running`, which is set as long as the process can be signalled, and `_kill_at`, the deadline of a
  clean end;
* `_is_killed` has no lock: it only ever becomes true.

`__del__` calls `kill`, in any thread, between any two instructions, also inside of a lock. So `kill` waits for no lock
and touches no event. It sets its flag, and sends the signal if the lock is free. Otherwise the recording's thread sees
the flag at its next look.
"""

import contextlib
import os
import threading
import time

from mpengine.embedded.gui_config import EngineSettings
from mpengine.supervisor.children.process import Spawned


class Process:
    """At most one process at a time. Another one can follow it, but not after somebody has asked for the end."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()  # re-entrant: a GUI's own `__del__` may ask for a clean end
        self._running: Spawned | None = None
        self._kill_at: float | None = None
        self._is_killed = False

    @property
    def is_ours(self) -> bool:
        """False in a process that the program has forked: the engine is not its child."""
        return os.getpid() == self._pid

    @property
    def is_ending(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._is_killed or self._kill_at is not None

    @property
    def is_overdue(self) -> bool:
        """Whether the process should have ended by now."""
        return self._is_killed or (self._kill_at is not None and time.monotonic() >= self._kill_at)

    # For any thread

    def ask_to_end(self, limit_s: float) -> bool:
        """Ask for a clean end within `limit_s`. False if somebody has asked before."""
        with self._lock:
            if self.is_ending or not self.is_ours:
                return False
            self._kill_at = time.monotonic() + limit_s
            if self._running is not None:
                self._running.terminate()
        return True

    def kill(self) -> None:
        """End the process for good, now. This never waits."""
        if not self.is_ours:
            return
        self._is_killed = True
        if self._lock.acquire(blocking=False):
            try:
                if self._running is not None:
                    self._running.kill()
            finally:
                self._lock.release()

    # For the recording's thread

    def start(self, settings: EngineSettings) -> bool:
        """Start a process. False if somebody has asked for the end. Raises OSError."""
        with self._lock:
            if self.is_ending:
                return False
            self._running = Spawned("engine", settings, module="mpengine.embedded.child")
        return True

    def replace(self) -> None:
        """Kill the process, so that another one can follow."""
        with self._lock:
            if self._running is not None:
                self._running.kill()

    def reap(self) -> int | None:
        """The exit status of the process, or minus the signal that killed it; None while it runs."""
        with self._lock:
            running, self._running = self._running, None  # after the process is collected, its pid may be another's
            if running is None:
                return 0
            try:
                status = running.reap()
            except ChildProcessError:  # the program collects all its children, or ignores SIGCHLD
                return 0
            if status is None:
                self._running = running
            return status

    def close(self, limit_s: float) -> None:
        """Kill the process and wait for its end, at most `limit_s`."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.kill()
            with contextlib.suppress(ChildProcessError):
                running.wait(limit_s)
