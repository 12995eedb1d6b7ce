"""Signals of the supervisor's process. They only wake the loop, which then takes the requests.

SIGCHLD is one of them, so that a child's end is seen at once. Signal handlers belong to the main thread.
"""

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

from mpengine.shared.wake import Wake

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Launchers signal a process and its group: signals that come so close together are one request.
_ONE_REQUEST_S = 0.3


class StopSignals:
    """Handles the signals inside of a `with` block. The handlers from before come back after it."""

    def __init__(self, *, hangup_stops: bool = True, ends_process: bool = False) -> None:
        """`hangup_stops`: whether SIGHUP is a request to stop. Otherwise `take_reload` reports it.

        `ends_process`: whether the process ends after the block. Requests to stop are ignored from there on, because an
        impatient user's next Ctrl-C would change the exit code.
        """
        self._hangup_stops = hangup_stops
        self._ends_process = ends_process
        self._is_reload_asked = False
        self._wake = Wake()
        self._waiting: list[tuple[float, int]] = []
        self._last_request = float("-inf")
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        for number in (*_STOPPING, signal.SIGCHLD):
            # SIGHUP stays ignored (nohup). SIGINT does not: a shell has its background jobs ignore it, but nobody means
            # that by an `&`. `kill -INT` stops an engine, as it stops other daemons.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        self._wakeup_before = signal.set_wakeup_fd(self._wake.signal_fd, warn_on_full_buffer=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            is_late = self._ends_process and number in _STOPPING
            signal.signal(number, signal.SIG_IGN if is_late else handler)
        self._wake.close()

    def fileno(self) -> int:
        """The descriptor that is readable when a signal has come."""
        return self._wake.fileno()

    def take(self) -> list[str]:
        """The requests to stop since the last call, each by the name of its first signal."""
        self._wake.drain()
        requests = []
        while self._waiting:
            at, number = self._waiting.pop(0)
            if at - self._last_request >= _ONE_REQUEST_S:
                requests.append(signal.Signals(number).name)
                self._last_request = at
        return requests

    def take_reload(self) -> bool:
        """Whether SIGHUP has come since the last call; always False where it is a request to stop."""
        was_asked, self._is_reload_asked = self._is_reload_asked, False
        return was_asked

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and not self._hangup_stops:
            self._is_reload_asked = True
        elif number != signal.SIGCHLD:
            self._waiting.append((time.monotonic(), number))
