"""Spawning, ending and reaping child processes; the only place that knows how.

The main thread spawns (PR_SET_PDEATHSIG is tied to the spawning thread). Each child is in a process group of its own,
so that a terminal's Ctrl-C reaches the supervisor alone, with SIGINT blocked until its handler is in. Its settings go
through a pipe whose write end stays here: when this process ends, however it ends, the child's read end says so.
"""

import contextlib
import os
import signal
import sys

import mpengine
from mpengine.shared import boot
from mpengine.shared.boot import Boot
from mpengine.shared.config_tables import SECRETS

_PIPE_BYTES = 65536  # what a pipe holds at least: the payload must go in without a reader


class Process:
    """One spawned process."""

    def __init__(self, name: str, settings: Boot, *, inherit_fd: int | None = None) -> None:
        """Start `python -m mpengine.NAME`. Raises OSError when the system has no room for it.

        `inherit_fd` is a descriptor that the child finds at `boot.LISTENER_FD`.
        """
        payload = boot.payload(settings)
        if len(payload) > _PIPE_BYTES:
            raise OSError(f"the settings of {name} do not fit a pipe")
        reader, self._writer = os.pipe()
        try:
            os.write(self._writer, payload)
            actions = [(os.POSIX_SPAWN_DUP2, reader, boot.PIPE_FD)]
            if inherit_fd is not None:
                actions.append((os.POSIX_SPAWN_DUP2, inherit_fd, boot.LISTENER_FD))
            # -P: the folder we happen to stand in is no place to import from.
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", f"mpengine.{name}"],
                _environment(),
                file_actions=actions,
                setpgroup=0,
                setsigmask=[signal.SIGINT],
                setsigdef=[signal.SIGPIPE],
            )
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            os.close(reader)

    def reap(self) -> int | None:
        """The exit status once it has ended (minus the signal that killed it), None before."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        os.close(self._writer)
        return os.waitstatus_to_exitcode(status)

    def wait(self) -> None:
        """Reap it once it has ended; to be called after `kill`."""
        os.waitpid(self.pid, 0)
        os.close(self._writer)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, stopped or not."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def _environment() -> dict[str, str]:
    """Ours, without secrets (others of this user can read it), and with this package to be found."""
    secret = set(SECRETS.values())
    environment = {key: value for key, value in os.environ.items() if key not in secret}
    home = os.path.dirname(os.path.dirname(os.path.abspath(mpengine.__file__)))
    paths = [home, *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
