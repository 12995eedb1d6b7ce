"""What systemd is told where it waits for notices: on every news, and once a second."""

import os

from mpengine.shared.messages import Status
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.coordinator import Coordinator
from mpengine.supervisor.decide.life import ChildState
from mpengine.supervisor.host.systemd import Notifier


class Service:
    """READY once capture works, STOPPING when the end has begun, and WATCHDOG only while all needed work gets on."""

    def __init__(self, stop_limit_s: float) -> None:
        """To be made before any child is: what systemd tells by the environment is for this process alone."""
        self._notifier = Notifier(os.environ)
        self._stop_limit_s = stop_limit_s
        self._feed_at = 0.0

    def tell(self, status: Status, coordinator: Coordinator, now: float) -> None:
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
        if interval_s is not None and now >= self._feed_at and coordinator.stands_still_s(now) < interval_s:
            self._feed_at = now + interval_s
            notifier.watchdog()
