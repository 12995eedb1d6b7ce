"""Files that one process alone writes: the lock that says so, and a thread for those on slow disks."""

import collections
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

_Item = TypeVar("_Item", bound=Sized)


def lock(fd: int, *, waits: bool = False, is_optional: bool = False) -> None:
    """Lock the open file for this process alone, until `fd` is closed or the process ends. Open it with O_CLOEXEC.

    Raises BlockingIOError when another process has locked it; with `waits` it waits for that process instead. Raises
    OSError where the file system has no locks; with `is_optional` that is no error, and nobody has locked it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise held() from None
    except OSError:
        if not is_optional:
            raise


def held() -> BlockingIOError:
    """The error that says so in words."""
    return BlockingIOError(errno.EAGAIN, "another process is writing it")


def is_held(path: str) -> bool:
    """Whether a process has locked the file at `path`, as far as one can tell."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that only look do not meet
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


class Writer(Generic[_Item]):
    """A thread that hands items to `write`, one after the other, and the queue in front of it.

    `write` says whether it is done with the item; if not, it gets the same item again after `again_s`, and after
    `close` once more at most. What it raises ends the thread, and `put` raises it from then on.

    The queue is as long as its users let it become: they look at `waiting` and `waiting_bytes` before they put more in.
    `changed` (a condition, and its lock) guards it, and what else users share with the thread.
    """

    def __init__(
        self, write: Callable[[_Item], bool], *, name: str, size: Callable[[_Item], int] = len, again_s: float = 1.0
    ) -> None:
        """`name` is the thread's. `size`: how many bytes an item has."""
        self._write = write
        self._size = size
        self._again_s = again_s
        self.changed = threading.Condition()
        self._queue: collections.deque[_Item] = collections.deque()
        self.waiting_bytes = 0
        self._error: Exception | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many items are not done with; one of them may be being written."""
        return len(self._queue)

    def put(self, item: _Item) -> None:
        """Have `item` written. Never blocks for longer than `changed` is held."""
        with self.changed:
            if self._error is not None:
                raise self._error
            self._queue.append(item)
            self.waiting_bytes += self._size(item)
            self.changed.notify()

    def close(self, limit_s: float) -> bool:
        """Have the thread write what waits, and end; False if it has not within `limit_s`."""
        with self.changed:
            self._is_closing = True
            self.changed.notify()
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                is_done = self._write(item)
            except Exception as error:  # noqa: BLE001  `put` raises it
                with self.changed:
                    self._error = error
                return
            with self.changed:
                if is_done:
                    self._queue.popleft()
                    self.waiting_bytes -= self._size(item)
                elif self._is_closing:
                    return
                else:
                    self.changed.wait_for(lambda: self._is_closing, self._again_s)

    def _next(self) -> _Item | None:
        """The item that waits longest, as soon as there is one; None when nothing follows."""
        with self.changed:
            self.changed.wait_for(lambda: self._queue or self._is_closing)
            return self._queue[0] if self._queue else None
