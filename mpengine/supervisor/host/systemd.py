"""Telling systemd how the engine is, sd_notify(3). Without systemd every call does nothing.

A notice is a datagram that is sent at once or not at all: nothing here blocks or raises. What could not be sent goes
with the next notice; only a sign of life does not, because it would be older than it looks.
"""

import os
import socket
from collections.abc import MutableMapping

from mpengine.shared.messages import Status
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.coordinator import Coordinator
from mpengine.supervisor.decide.life import ChildState

# systemd takes a datagram of one page, and shows a line of it to people.
_STATUS_LIMIT_BYTES = 500
_LONGEST_USEC = 20  # digits of a 64-bit number


class Notifier:
    """The service manager, if one waits for notices: by $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID.

    They are taken out of `environment` (os.environ), because they are meant for this process and none of its children.
    `watchdog_s` is how often to call `watchdog`, half of what systemd waits for it; None: it does not.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        limit_s = _watchdog_limit_s(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""))
        self.watchdog_s = limit_s / 2 if self._address and limit_s else None
        self.is_awaited = bool(self._address)
        self._told: dict[str, str] = {}
        self._unsent: dict[str, str] = {}

    def ready(self) -> None:
        """The engine is up."""
        self._tell(READY="1")

    def status(self, text: str) -> None:
        """How it is, for people (`systemctl status`)."""
        line = " ".join(text.split())  # what stands behind a line end would be another notice
        self._tell(STATUS=line.encode(errors="replace")[:_STATUS_LIMIT_BYTES].decode(errors="ignore"))

    def stopping(self, limit_s: float) -> None:
        """It ends, and may take `limit_s` from now, also where the unit's TimeoutStopSec is shorter."""
        self._tell(STOPPING="1", EXTEND_TIMEOUT_USEC=str(round(limit_s * 1e6)))

    def watchdog(self) -> None:
        """It works. Who does not say so for long enough is killed and started again."""
        if self.watchdog_s is not None:
            self._send(self._unsent | {"WATCHDOG": "1"})

    def _tell(self, **notices: str) -> None:
        """Send what is new in `notices`."""
        news = {key: value for key, value in notices.items() if self._told.get(key) != value}
        if self._address and news:
            self._told |= news
            self._unsent |= news
            self._send(self._unsent)

    def _send(self, notices: dict[str, str]) -> None:
        text = "\n".join(f"{key}={value}" for key, value in notices.items())
        try:
            # One for each notice, as libsystemd does: there are two a minute.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:  # its queue is full, or it is being started again
            return
        self._unsent.clear()


def _address(path: str) -> bytes:
    """`path` as the system takes it; empty for what is no local socket (AF_VSOCK is for whole machines)."""
    if path.startswith("@"):
        return b"\0" + os.fsencode(path[1:])
    return os.fsencode(path) if path.startswith("/") else b""


def _watchdog_limit_s(usec: str, pid: str) -> float | None:
    """How long systemd waits for a sign of life of this process, sd_watchdog_enabled(3); None: it does not."""
    is_number = usec.isascii() and usec.isdecimal() and len(usec) <= _LONGEST_USEC
    if not is_number or pid not in {"", str(os.getpid())}:
        return None
    return int(usec) / 1e6 or None


class SystemdNotices:
    """What systemd is told, on every news and once a second.

    READY once capture works, STOPPING when the end has begun, and WATCHDOG only while all needed work gets on.
    """

    def __init__(self, stop_limit_s: float) -> None:
        """To be made before any child is: what systemd tells by the environment is for this process alone."""
        self._notifier = Notifier(os.environ)
        self._stop_limit_s = stop_limit_s
        self._feed_at = 0.0

    def update(self, status: Status, coordinator: Coordinator, now: float) -> None:
        """Tell what is new."""
        notifier = self._notifier
        if not notifier.is_awaited:
            return
        if coordinator.lives[Child.CAPTURE].state is ChildState.RUNNING:
            notifier.ready()  # not once connected: the network may be away, and the words are kept
        notifier.status(f"{status.state}: {status.reason}" if status.reason else status.state)
        if coordinator.is_stopping:
            notifier.stopping(self._stop_limit_s)
        interval_s = notifier.watchdog_s
        if interval_s is not None and now >= self._feed_at and coordinator.lives.stands_still_s(now) < interval_s:
            self._feed_at = now + interval_s
            notifier.watchdog()
