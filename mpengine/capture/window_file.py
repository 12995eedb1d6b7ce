"""The file of the replay window: one process writes it, with `pwrite`.

In memory (tmpfs) a write takes microseconds. On a disk a write may now and then take seconds, when the kernel has too
much to write out; `WrittenBehind` has a thread for that. The main thread owns the descriptor. The writer thread only
writes to it, in the order of the calls.
"""

import contextlib
import os
from typing import TypeAlias

from mpengine.shared import one_writer
from mpengine.shared.errors import WindowError
from mpengine.shared.file_id import file_id, find
from mpengine.shared.window_layout import HEADER_BYTES

_Piece: TypeAlias = tuple[int, bytes]  # offset, and the data to write there

_MAKE_AGAIN: _Piece = (-1, b"")  # in the queue of pieces
_COPIED_BYTES = 1 << 20
_IN_MEMORY = {"tmpfs", "ramfs"}
# The end of the process waits no longer for the disk. The supervisor would not wait longer either.
_CLOSE_LIMIT_S = 2.0


class WindowFile:
    """The file, locked by this process."""

    def __init__(self, path: str) -> None:
        """Open the file, or make an empty one. Raises WindowError."""
        self._path = path
        self._fd = _opened(path)

    @property
    def is_behind(self) -> bool:
        """Whether the disk is too slow, so that no more should be written for now."""
        return False

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._fd).st_size

    def make(self, size: int) -> None:
        """Replace the contents by `size` zero bytes, allocated on the disk. Raises OSError when there is no room."""
        os.ftruncate(self._fd, 0)
        try:
            _allocate(self._fd, size)
        except OSError:
            os.ftruncate(self._fd, 0)
            raise

    def read(self, length: int, offset: int) -> bytes:
        """The `length` bytes at `offset`, fewer at the end of the file. Raises WindowError."""
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            raise WindowError(f"cannot read the replay window {self._path}: {error.strerror}") from None

    def write(self, data: bytes, offset: int) -> None:
        """Put `data` at `offset`. Raises WindowError."""
        try:
            written = os.pwrite(self._fd, data, offset)
        except OSError as error:
            raise WindowError(f"cannot write the replay window {self._path}: {error.strerror}") from None
        if written != len(data):
            raise WindowError(f"cannot write the replay window {self._path}: only {written} of {len(data)} bytes")

    def make_again(self) -> None:
        """If another file or none is at the path by now, write this one there. Raises WindowError.

        The header comes last, so that a process that is killed before leaves no window instead of a wrong one.
        """
        if find(self._path) == file_id(os.fstat(self._fd)):
            return
        size = self.size
        fd = _opened(self._path)
        try:
            os.ftruncate(fd, 0)
            _allocate(fd, size)
            for offset in [*range(HEADER_BYTES, size, _COPIED_BYTES), 0]:
                length = _COPIED_BYTES if offset else HEADER_BYTES
                os.pwrite(fd, os.pread(self._fd, length, offset), offset)
            os.dup2(fd, self._fd, inheritable=False)  # at once, because another thread may read or write it
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            raise WindowError(f"cannot write the replay window {self._path} again: {error.strerror}") from None
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class WrittenBehind(WindowFile):
    """The same with a thread that writes. `read` returns new data even before it has reached the file.

    When `most_bytes` wait for the thread, `is_behind` is true, and the source should not be read.
    """

    def __init__(self, path: str, *, most_bytes: int) -> None:
        super().__init__(path)
        self._most_bytes = most_bytes
        self._writer: one_writer.Writer[_Piece] = one_writer.Writer(self._write, name="window-writer", size=_bytes_of)
        self._is_asked = False  # to make the file again; the thread sets it back
        self._failure: WindowError | None = None  # of the last time
        self._newest: dict[int, bytes] = {}  # waiting data by offset; guarded by the writer's lock

    @property
    def is_behind(self) -> bool:
        """Whether `most_bytes` wait."""
        return self._writer.waiting_bytes >= self._most_bytes

    def read(self, length: int, offset: int) -> bytes:
        """What the file will hold when all is written. `offset` is that of a whole write."""
        with self._writer.changed:
            waiting = self._newest.get(offset)
        return super().read(length, offset) if waiting is None else waiting[:length]

    def write(self, data: bytes, offset: int) -> None:
        """Queue `data` for the thread. Raises WindowError when an earlier write has failed."""
        with self._writer.changed:
            self._writer.put((offset, data))
            self._newest[offset] = data

    def make_again(self) -> None:
        """Have the thread do it, in turn with its writes. Raises WindowError if that failed the last time."""
        failure, self._failure = self._failure, None
        if not self._is_asked:  # behind a stuck disk, once
            self._is_asked = True
            self._writer.put(_MAKE_AGAIN)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Write the waiting data, in bounded time, and close the file."""
        if self._writer.close(_CLOSE_LIMIT_S):  # otherwise the thread may still use the descriptor
            super().close()

    def _write(self, piece: _Piece) -> bool:
        """Write one piece, in the writer's thread. Raises WindowError."""
        if piece is _MAKE_AGAIN:
            self._is_asked = False
            try:
                super().make_again()
            except WindowError as error:
                self._failure = error
            return True
        offset, data = piece
        super().write(data, offset)
        with self._writer.changed:
            if self._newest.get(offset) is data:
                del self._newest[offset]
        return True


def _opened(path: str) -> int:
    """Open and lock the file at `path`, or make an empty one. Raises WindowError."""
    try:
        fd = one_writer.open_file(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise WindowError(f"cannot open the replay window {path}: {error.strerror}") from None
    try:
        one_writer.lock(fd)
    except BlockingIOError:
        os.close(fd)
        raise WindowError(f"the replay window {path} is written by another process") from None
    except OSError as error:
        os.close(fd)
        raise WindowError(f"cannot lock the replay window {path}: {error.strerror}") from None
    return fd


def open_file(path: str, *, most_bytes: int) -> WindowFile:
    """Open the file at `path`; with a writing thread if it is not in memory. Raises WindowError."""
    return WindowFile(path) if is_in_memory(path) else WrittenBehind(path, most_bytes=most_bytes)


def is_in_memory(path: str, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether the file system of `path` is in memory by proc_pid_mountinfo(5); False where that file is missing."""
    try:
        device = os.stat(os.path.dirname(path) or ".").st_dev
        with open(mounts, encoding="utf-8", errors="replace") as file:
            for line in file:
                mount, _, kind = line.partition(" - ")
                if mount.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    return kind.split()[0] in _IN_MEMORY
    except (OSError, IndexError):  # the directory is missing, or this is not Linux
        pass
    return False


def _bytes_of(piece: _Piece) -> int:
    return len(piece[1])


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:  # macOS has no posix_fallocate
        for offset in range(0, size, 1 << 20):
            os.pwrite(fd, bytes(min(1 << 20, size - offset)), offset)
