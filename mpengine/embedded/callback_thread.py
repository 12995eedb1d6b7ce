"""The one thread from which an Engine calls back, and the bounded queue in front of it.

Nobody waits to put a call in. When callbacks are slow, interims are left out first (each replaces the one before it),
then the oldest calls; the log says how many.

`close` may come from `__del__`, in any thread and in the middle of anything here: it takes no lock. What wakes the
thread is a `SimpleQueue`, the one queue that is made for this.
"""

import collections
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger("mpengine.engine")

MOST_WAITING = 10_000
MOST_WAITING_INTERIMS = 100

Job = Callable[[], None]


class CallbackThread:
    """Does what it is given, one after the other. It keeps no job that was done."""

    def __init__(self) -> None:
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._is_closed = False
        # All below belong to `_changed`'s lock.
        self._changed = threading.Condition()
        self._waiting: collections.deque[Job] = collections.deque()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._dropped = 0

    def put(self, job: Job, *, is_interim: bool = False) -> None:
        """Have `job` done; from any thread."""
        with self._changed:
            if is_interim and len(self._waiting) >= MOST_WAITING_INTERIMS:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(job)
            self._ensure_thread()
        self._wake()

    def wait(self, limit_s: float) -> bool:
        """Wait until all that was put in is done; False when it is not within `limit_s`.

        At once on the thread itself: what waits there waits for its caller.
        """
        if threading.current_thread() is self._thread:
            return False
        with self._changed:
            if self._waiting:
                self._ensure_thread()
            return self._changed.wait_for(lambda: not (self._waiting or self._is_busy), limit_s)

    def open(self) -> None:
        """Keep the thread from now on, also when it has nothing to do; so it is at first."""
        self._is_closed = False

    def close(self) -> None:
        """End the thread behind what is still to be done. A later `put` has another one do it."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        """Have the thread look; what it is to see must be there already."""
        if self._wakes.empty():
            self._wakes.put(None)

    def _ensure_thread(self) -> None:
        """Under the lock. Without room for a thread the calls wait, and whoever comes next tries again."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="mpengine-callbacks", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.error("no thread for the callbacks of the engine: %s", error)  # noqa: TRY400  says it all
            return
        self._thread = thread

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException:
                log.exception("a callback of the engine failed")
            del job  # it may hold what should be collected while we wait

    def _next(self) -> Job | None:
        while True:
            with self._changed:
                self._is_busy = bool(self._waiting)
                if self._waiting:
                    dropped, self._dropped = self._dropped, 0
                    job = self._waiting.popleft()
                    break
                self._changed.notify_all()
                if self._is_closed:
                    self._thread = None
                    return None
            self._wakes.get()
        if dropped:
            log.warning("callbacks are too slow: %d calls were left out", dropped)
        return job
