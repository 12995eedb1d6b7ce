"""Waits for a device that is missing: it is tried again as time passes, and when the source says that it may be back.

The main thread calls every method, and its loop watches what the source awaits.
"""

import time
from collections.abc import Callable

from mpengine.capture.absence import Absence
from mpengine.capture.source import Source
from mpengine.processes.loop import ChildLoop
from mpengine.shared import control


class DeviceWait:
    """The waiting of one capture process. `tries_to_open` opens the device, or calls `failed`."""

    def __init__(self, loop: ChildLoop, source: Source, tries_to_open: Callable[[], None]) -> None:
        self._loop = loop
        self._source = source
        self._try_to_open = tries_to_open
        self._absence = Absence()
        self._awaited_fd: int | None = None

    @property
    def lasts(self) -> bool:
        """Whether the device is missing."""
        return self._absence.lasts

    @property
    def next_try_at(self) -> float:
        """On the clock of `time.monotonic`."""
        return self._absence.next_try_at

    def tick(self, now: float) -> None:
        """Try again if it is time."""
        if self._absence.is_due(now):
            self._try_to_open()

    def tries(self) -> None:
        """A try begins."""
        self._await(None)
        self._absence.tries()

    def failed(self, reason: str) -> None:
        """The device was lost, or a try has failed: tell the supervisor, and wait."""
        lost = control.DeviceLost(reason=reason, next_try_in_s=self._absence.failed(time.monotonic()))
        if self._absence.is_news(reason):
            self._loop.control.tell(lost)
        else:
            self._loop.control.mention(lost)
        self._await(self._source.awaited())

    def ended(self) -> None:
        """The device is back, or is not wanted any more."""
        self._absence.ended()
        self._await(None)

    def _await(self, fd: int | None) -> None:
        """Try again when `fd` is readable; None: the time alone leads to the next try."""
        if self._awaited_fd is not None:
            self._loop.unwatch(self._awaited_fd)
        self._awaited_fd = fd
        if fd is not None:
            self._loop.watch(fd, self._try_again)

    def _try_again(self) -> None:
        """What is awaited may be there. If it is not, only the time leads to the next try: this must not spin."""
        self._await(None)
        self._try_to_open()
        self._await(None)
