"""The one thread from which an Engine calls back, and the bounded queue in front of it.

`put` never waits for room. When callbacks are slow, interims are dropped first (each replaces the one before it), then
the oldest calls; the log says how many.

`close` takes no lock, because `__del__` calls it: in any thread, between any two instructions of this module. It wakes
the thread through a `SimpleQueue`, which is made for such calls.
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
    """Does jobs, one after the other, and keeps no reference to a finished one."""

    def __init__(self) -> None:
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._is_closed = False
        # The lock of `_changed` guards all of the following.
        self._changed = threading.Condition()
        self._waiting: collections.deque[Job] = collections.deque()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._dropped = 0

    def put(self, job: Job, *, is_interim: bool = False) -> None:
        """Queue `job`. Any thread may call this."""
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
        """Wait until all jobs are done; False after `limit_s`, and at once on the callback thread itself."""
        if threading.current_thread() is self._thread:
            return False
        with self._changed:
            if self._waiting:
                self._ensure_thread()
            return self._changed.wait_for(lambda: not (self._waiting or self._is_busy), limit_s)

    def open(self) -> None:
        """Keep the thread from now on while there are no jobs. This is the state at first."""
        self._is_closed = False

    def close(self) -> None:
        """End the thread after the jobs in the queue. A later `put` starts another thread."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        """Wake the thread. Call it after the change that the thread should see."""
        if self._wakes.empty():
            self._wakes.put(None)

    def _ensure_thread(self) -> None:
        """Start the thread if there is none; under the lock. Where that fails, the next `put` or `wait` tries again."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="mpengine-callbacks", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log.error("cannot start the thread for the callbacks of the engine: %s", error)  # noqa: TRY400  says it all
            return
        self._thread = thread

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException:
                log.exception("a callback of the engine failed")
            del job  # objects that it holds should be collected while this thread waits

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
            log.warning("callbacks are too slow: %d calls were dropped", dropped)
        return job
