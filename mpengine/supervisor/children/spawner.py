"""The spawner starts children: forked from a zygote where the system can, otherwise each as a new interpreter.

A zygote saves memory and half of a restart's time; `mpengine.processes` has the figures. macOS cannot fork: its system
libraries do not survive it.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING

from mpengine.processes import tricks
from mpengine.processes.beginning import ChildSettings
from mpengine.processes.tricks import Trick
from mpengine.shared.logs import Event
from mpengine.supervisor.children.process import ChildProcess, Spawned
from mpengine.supervisor.children.zygote_client import NoRoom, Zygote

if TYPE_CHECKING:
    from mpengine.processes.zygote import ForkedZygote

log = logging.getLogger("mpengine.supervisor")

# Where zygotes fail again and again (in a sandbox without fork, say), children start without one.
_MOST_FAILURES = 3


class Spawner:
    """Starts children. The main thread owns the zygote."""

    def __init__(self, *, forks: bool | None = None, zygote: "ForkedZygote | None" = None) -> None:
        """`forks`: whether to use a zygote; None: if the system can. `zygote`: the first one, if it exists already."""
        self._forks = _can_fork() if forks is None else forks
        self._first = zygote
        self._zygote: Zygote | None = None
        self._failures = 0

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's pid, while there is one."""
        return self._zygote.pid if self._zygote else None

    def start(self, name: str, settings: ChildSettings, *, inherit_fd: int | None = None) -> ChildProcess:
        """Start the child `name`. Raises OSError when the system has no room for a process."""
        if self._forks and self._failures < _MOST_FAILURES:
            try:
                child = self._living_zygote().fork(name, settings, inherit_fd=inherit_fd)
            except NoRoom:
                raise
            except OSError as error:
                self._failures += 1
                log.warning(Event("zygote_failed", reason=error, starting=f"{name} without it"))
                self.close()
            else:
                self._failures = 0
                return child
        return Spawned(name, settings, inherit_fd=inherit_fd)

    def close(self) -> None:
        """End the zygote, and the children that it has forked."""
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.close()
        first, self._first = self._first, None
        if first is not None:  # no child was ever started
            first.socket.close()  # which ends it
            os.close(first.writer)

    def _living_zygote(self) -> Zygote:
        if self._zygote is not None:
            self._zygote.listen()
            if not self._zygote.is_alive:
                self.close()
        if self._zygote is None:
            self._zygote = self._adopted() or Zygote.spawned()
        return self._zygote

    def _adopted(self) -> Zygote | None:
        """The zygote that was there before this spawner, at the first call; None if there is none, or it fails."""
        first, self._first = self._first, None
        if first is None:
            return None
        reason = "it has ended"
        try:
            zygote = Zygote.adopted(first)
            zygote.listen()
            if zygote.is_alive:
                return zygote
            zygote.close()
        except OSError as error:
            reason = str(error)
        log.warning(Event("zygote_failed", reason=reason, starting="another one"))
        return None


def _can_fork() -> bool:
    if sys.platform != "linux" or not tricks.is_used(Trick.ZYGOTE):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))  # Linux 5.3, and not in every sandbox
    except OSError:
        return False
    return True
