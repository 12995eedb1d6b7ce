"""The one thread from which an Engine calls back, and the bounded queue in front of it.

Nobody waits to put a call in. When callbacks are slow, interims are left out first (each replaces the one before it),
then the oldest calls; the log says how many.
"""

import collections
import logging
import threading
from collections.abc import Callable

log = logging.getLogger("mpengine.engine")

MOST_WAITING = 10_000
MOST_WAITING_INTERIMS = 100
_IDLE_S = 60.0

Deed = Callable[[], None]


class CallbackThread:
    """Does what it is given, one after the other. It keeps no deed that was done."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Deed] = collections.deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._is_closed = False
        self._dropped = 0

    def put(self, deed: Deed, *, is_interim: bool = False) -> None:
        """Have `deed` done; from any thread."""
        with self._changed:
            if is_interim and len(self._waiting) >= MOST_WAITING_INTERIMS:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(deed)
            if self._thread is None:
                self._is_closed = False
                self._thread = threading.Thread(target=self._run, name="mpengine-callbacks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, limit_s: float) -> bool:
        """Wait until all that was put in is done; False when it is not within `limit_s`.

        At once on the thread itself: what waits there waits for its caller.
        """
        if threading.current_thread() is self._thread:
            return False
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._is_busy), limit_s)

    def close(self) -> None:
        """End the thread behind what is still to be done. A later `put` starts another one."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (deed := self._next()) is not None:
            try:
                deed()
            except BaseException:
                log.exception("a callback of the engine failed")
            del deed  # it may hold what should be collected while we wait

    def _next(self) -> Deed | None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
            while not self._waiting:
                if self._is_closed:
                    self._thread = None
                    return None
                self._changed.wait(_IDLE_S)
            dropped, self._dropped = self._dropped, 0
            self._is_busy = True
            deed = self._waiting.popleft()
        if dropped:
            log.warning("callbacks are too slow: %d calls were left out", dropped)
        return deed
