"""Files with one writing process: opened, locked, replaced as a whole, and a writer thread for slow disks."""

import collections
import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

from mpengine.shared.file_id import file_id, find

_Item = TypeVar("_Item", bound=Sized)

_NOT_REGULAR = "not a regular file; name another one, or remove it"


def open_file(path: str, flags: int) -> int:
    """Open the regular file at `path`; with os.O_CREAT make it, for this user alone.

    Raises OSError, also for a link, a directory, a FIFO or a device in its place. This never waits for a FIFO's peer.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket
            raise OSError(errno.EINVAL, _NOT_REGULAR, path) from None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, _NOT_REGULAR, path)


def lock(fd: int, *, waits: bool = False, is_optional: bool = False) -> None:
    """Lock the open file for this process alone, until `fd` is closed or the process ends. Open it with O_CLOEXEC.

    Raises BlockingIOError when another process has locked it; with `waits` it waits for that process instead. Raises
    OSError where the file system has no locks; with `is_optional` it then returns without a lock.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise held() from None
    except OSError:
        if not is_optional:
            raise


def kept_lock(path: str, fd: int = -1, *, is_optional: bool = False) -> int:
    """Hold the lock of the file at `path`, which is made if it is missing; the descriptor, which holds it.

    `fd`: the one that held it before. Where somebody has removed or replaced that file, another one is opened and
    locked, and `fd` is closed. Raises as `lock` does, and OSError; then `fd` stays open.
    """
    if fd >= 0 and find(path) == file_id(os.fstat(fd)):
        return fd
    new = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        lock(new, is_optional=is_optional)
    except OSError:
        os.close(new)
        raise
    if fd >= 0:
        os.close(fd)
    return new


def held() -> BlockingIOError:
    """The error for a file that another process has locked."""
    return BlockingIOError(errno.EAGAIN, "another process is writing it")


def is_held(path: str) -> bool:
    """Whether a process has locked the file at `path`; False where that cannot be found out."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two calls of `is_held` do not disturb each other
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def put_in_place(path: str, content: bytes, *, is_synced: bool = False) -> int:
    """Make a new file with `content`, and put it at `path`, in place of what was there. Returns it open.

    `is_synced`: a power cut leaves the new file or the old one, whole. Raises OSError; the old file stays then.
    """
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):  # of a process that was killed meanwhile
        os.unlink(new)
    fd = open_file(new, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        written = 0
        while written < len(content):  # a full disk takes a part, and refuses the rest
            written += os.pwrite(fd, memoryview(content)[written:], written)
        if is_synced:
            os.fsync(fd)
        os.replace(new, path)
        if is_synced:
            _sync_directory(os.path.dirname(path) or os.curdir)
    except OSError:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    return fd


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Writer(Generic[_Item]):
    """A thread that passes items to `write`, one after the other, and the queue in front of it.

    `write` returns whether it is done with the item. If not, it gets the same item again after `again_s`, and once more
    at most after `close`. An exception of `write` ends the thread; from then on `put` raises that exception.

    Users bound the queue: they look at `waiting` and `waiting_bytes` before they put in more. `changed` (a condition
    with its lock) guards the queue, and other data that users share with the thread.
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
        """How many items are in the queue; `write` may be at work on the first."""
        return len(self._queue)

    def put(self, item: _Item) -> None:
        """Queue `item`. This never blocks for longer than another thread holds `changed`."""
        with self.changed:
            if self._error is not None:
                raise self._error
            self._queue.append(item)
            self.waiting_bytes += self._size(item)
            self.changed.notify()

    def close(self, limit_s: float) -> bool:
        """Let the thread write the queue and end. False if it has not ended within `limit_s`."""
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
        """The first item of the queue, as soon as there is one; None after `close` when the queue is empty."""
        with self.changed:
            self.changed.wait_for(lambda: self._queue or self._is_closing)
            return self._queue[0] if self._queue else None
