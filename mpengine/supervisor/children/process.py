"""Child processes: the supervisor starts them, signals them, and reaps them.

The main thread starts them, since PR_SET_PDEATHSIG is tied to the starting thread. Each child is in a process group of
its own, so that a terminal's Ctrl-C reaches the supervisor alone. SIGINT is blocked in a child until it has a handler.
A child reads its settings from a pipe, whose write end stays here: the child sees its parent's end by the pipe's end.
"""

import abc
import contextlib
import os
import signal
import sys
import time

from mpengine.processes import beginning
from mpengine.processes.beginning import Parent
from mpengine.shared.config import secrets

_POLL_S = 0.002  # between looks at a process that was killed
_PIPE_BYTES = 65536  # a pipe holds at least that much: the payload is written before there is a reader


class ChildProcess(abc.ABC):
    """A process that was started."""

    pid: int

    @abc.abstractmethod
    def fileno(self) -> int | None:
        """A descriptor that is readable after its end, until it is reaped; None where SIGCHLD reports the end."""

    @abc.abstractmethod
    def reap(self) -> int | None:
        """The exit status after its end (minus the signal that killed it); None before. Not to be called after that."""

    @abc.abstractmethod
    def wait(self, limit_s: float) -> None:
        """Wait at most so long for its end. To be called after `kill`, and instead of `reap`."""

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def abort(self) -> None:
        """Have it write its stacks, and end."""
        self._signal(signal.SIGABRT)

    def kill(self) -> None:
        """End it at once, even if it is stopped."""
        self._signal(signal.SIGKILL)

    @abc.abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is reaped: another process may have its pid then."""


class OwnChild(ChildProcess):
    """A child of this very process. `writer` is the write end of its pipe."""

    def __init__(self, pid: int, writer: int) -> None:
        self.pid = pid
        self._writer = writer

    def fileno(self) -> None:
        """See ChildProcess."""

    def reap(self) -> int | None:
        """See ChildProcess."""
        has_ended = True
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            has_ended = pid != 0
        finally:  # also if something else in this process has reaped it
            if has_ended and self._writer >= 0:
                os.close(self._writer)
                self._writer = -1
        return os.waitstatus_to_exitcode(status) if has_ended else None

    def wait(self, limit_s: float) -> None:
        """See ChildProcess."""
        give_up = time.monotonic() + limit_s
        while self.reap() is None and time.monotonic() < give_up:
            time.sleep(_POLL_S)

    def _signal(self, number: signal.Signals) -> None:
        if self._writer < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Spawned(OwnChild):
    """A new interpreter: `python -m mpengine.NAME`."""

    def __init__(
        self, name: str, settings: Parent, *, inherit_fd: int | None = None, module: str | None = None
    ) -> None:
        """Start it, or another `module`. Raises OSError when the system has no room for a process.

        The child gets a copy of `inherit_fd` at `beginning.LISTENER_FD`.
        """
        reader, writer = payload_pipe(name, settings)
        try:
            actions = [(os.POSIX_SPAWN_DUP2, reader, beginning.PIPE_FD)]
            if inherit_fd is not None:
                actions.append((os.POSIX_SPAWN_DUP2, inherit_fd, beginning.LISTENER_FD))
            # -P: nothing is imported from the current directory.
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", module or f"mpengine.{name}"],
                _environment(),
                file_actions=actions,
                setpgroup=0,
                setsigmask=[signal.SIGINT],
                setsigdef=[signal.SIGPIPE],
            )
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        super().__init__(pid, writer)


def payload_pipe(name: str, settings: Parent) -> tuple[int, int]:
    """Both ends of a pipe with `settings` in it: the child's, and the one that stays open until its parent ends."""
    payload = beginning.payload(settings)
    if len(payload) > _PIPE_BYTES:
        raise OSError(f"the settings of {name} do not fit a pipe")
    reader, writer = os.pipe()
    os.write(writer, payload)
    return reader, writer


def _environment() -> dict[str, str]:
    """This process's environment without secrets (other processes of the user can read it), and with this package."""
    secret = set(secrets().values())
    environment = {key: value for key, value in os.environ.items() if key not in secret}
    paths = [beginning.PACKAGE_HOME, *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
