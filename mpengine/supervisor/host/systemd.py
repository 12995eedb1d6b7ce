"""Notices to systemd of how the engine is, sd_notify(3). Without systemd every call does nothing.

A notice is a datagram that is sent at once or not at all: nothing here blocks or raises. An unsent notice goes with the
next one. Only a sign of life does not, because it would be older than it looks.
"""

import os
import socket
from collections.abc import MutableMapping

from mpengine.shared.messages import Status
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.child_life import ChildState
from mpengine.supervisor.decide.coordinator import Coordinator

# systemd takes a datagram of one page, and shows a line of it to people.
_STATUS_LIMIT_BYTES = 500
_LONGEST_USEC = 20  # digits of a 64-bit number


class Notifier:
    """Sends notices to the service manager, if $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID name one.

    They are taken out of `environment` (os.environ), because they are meant for this process alone, not its children.
    `watchdog_s` is how often to call `watchdog`: half of systemd's limit; None without a limit.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        limit_s = _watchdog_limit_s(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""))
        self.watchdog_s = limit_s / 2 if self._address and limit_s else None
        self.is_awaited = bool(self._address)
        self._sent: dict[str, str] = {}
        self._unsent: dict[str, str] = {}

    def ready(self) -> None:
        """The engine is up."""
        self._tell(READY="1")

    def status(self, text: str) -> None:
        """How the engine is, for people (`systemctl status`)."""
        line = " ".join(text.split())  # text after a line end would be another notice
        self._tell(STATUS=line.encode(errors="replace")[:_STATUS_LIMIT_BYTES].decode(errors="ignore"))

    def stopping(self, limit_s: float) -> None:
        """The engine ends. It may take `limit_s` from now, even if the unit's TimeoutStopSec is shorter."""
        self._tell(STOPPING="1", EXTEND_TIMEOUT_USEC=str(round(limit_s * 1e6)))

    def watchdog(self) -> None:
        """The engine works. If systemd does not hear that for too long, it kills the engine and starts it again."""
        if self.watchdog_s is not None:
            self._send(self._unsent | {"WATCHDOG": "1"})

    def _tell(self, **notices: str) -> None:
        """Send the notices that have changed."""
        news = {key: value for key, value in notices.items() if self._sent.get(key) != value}
        if self._address and news:
            self._sent |= news
            self._unsent |= news
            self._send(self._unsent)

    def _send(self, notices: dict[str, str]) -> None:
        text = "\n".join(f"{key}={value}" for key, value in notices.items())
        try:
            # A new socket for each notice, as in libsystemd: there are two notices a minute.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError:  # systemd's queue is full, or systemd is being started again
            return
        self._unsent.clear()


def _address(path: str) -> bytes:
    """`path` as the system takes it; empty if it is no local socket (AF_VSOCK is for whole machines)."""
    if path.startswith("@"):
        return b"\0" + os.fsencode(path[1:])
    return os.fsencode(path) if path.startswith("/") else b""


def _watchdog_limit_s(usec: str, pid: str) -> float | None:
    """How long systemd waits for a sign of life of this process, sd_watchdog_enabled(3); None without a limit."""
    is_number = usec.isascii() and usec.isdecimal() and len(usec) <= _LONGEST_USEC
    if not is_number or pid not in {"", str(os.getpid())}:
        return None
    return int(usec) / 1e6 or None


class SystemdNotices:
    """Decides which notices systemd gets.

    READY as soon as capture works or waits for its device, STOPPING when the end has begun, and WATCHDOG only while all
    expected work gets on and others can reach the engine.
    """

    def __init__(self, stop_limit_s: float) -> None:
        """To be made before any child: it takes systemd's variables out of the environment."""
        self._notifier = Notifier(os.environ)
        self._stop_limit_s = stop_limit_s
        self._feed_at = 0.0

    def update(self, status: Status, coordinator: Coordinator, now: float, *, is_reachable: bool) -> None:
        """Send the notices that are due. To be called on every news, and once a second."""
        notifier = self._notifier
        if not notifier.is_awaited:
            return
        capture = coordinator.lives[Child.CAPTURE]
        waits = coordinator.config.supervisor.wait and capture.state is ChildState.BACKOFF
        if capture.state is ChildState.RUNNING or waits:
            notifier.ready()  # without a connection, too: the network may be away, and the audio is kept
        notifier.status(f"{status.state}: {status.reason}" if status.reason else status.state)
        if coordinator.is_stopping:
            notifier.stopping(self._stop_limit_s)
        interval_s = notifier.watchdog_s
        if interval_s is None or now < self._feed_at or not is_reachable:
            return
        if coordinator.lives.stands_still_s(now) < interval_s:
            self._feed_at = now + interval_s
            notifier.watchdog()
