"""The file under the replay window: one writer, allocated at once, written with `pwrite`.

In memory (tmpfs) a write takes microseconds. On a real disk it may take seconds, now and then, when the kernel has too
much to write out; there `WrittenBehind` has a thread for it. The main thread owns the descriptor; the writer thread
only writes to it, in the order it was asked to.
"""

import os
from typing import TypeAlias

from mpengine.shared import one_writer
from mpengine.shared.errors import WindowError

_Piece: TypeAlias = tuple[int, bytes]  # what to write, behind its place

_IN_MEMORY = {"tmpfs", "ramfs"}
# How long the end of the process waits for a disk; the supervisor would not wait longer either.
_CLOSE_LIMIT_S = 2.0


class WindowFile:
    """The file, held by this process alone."""

    def __init__(self, path: str) -> None:
        """Open the file, or make an empty one. Raises WindowError."""
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WindowError(f"cannot open the replay window {path}: {error.strerror}") from None
        try:
            one_writer.lock(self._fd)
        except BlockingIOError:
            os.close(self._fd)
            raise WindowError(f"the replay window {path} is written by another process") from None
        except OSError as error:
            os.close(self._fd)
            raise WindowError(f"cannot lock the replay window {path}: {error.strerror}") from None

    @property
    def is_behind(self) -> bool:
        """Whether the disk cannot follow: nothing more should be written for now."""
        return False

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._fd).st_size

    def make(self, size: int) -> None:
        """Be empty, `size` bytes long, with a place on the disk for each. Raises OSError when there is no room."""
        os.ftruncate(self._fd, 0)
        try:
            _allocate(self._fd, size)
        except OSError:
            os.ftruncate(self._fd, 0)
            raise

    def read(self, length: int, offset: int) -> bytes:
        """What stands at `offset`; less than `length` at the end of the file. Raises WindowError."""
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

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class WrittenBehind(WindowFile):
    """The same with a thread that writes. What is written is read at once, whether or not it has reached the file.

    The queue is bounded by `most_bytes`: from there on `is_behind` holds, and the source should not be read.
    """

    def __init__(self, path: str, *, most_bytes: int) -> None:
        super().__init__(path)
        self._most_bytes = most_bytes
        self._writer: one_writer.Writer[_Piece] = one_writer.Writer(self._write, name="window-writer", size=_bytes_of)
        self._newest: dict[int, bytes] = {}  # what waits, by its place; belongs to the writer's lock

    @property
    def is_behind(self) -> bool:
        """Whether `most_bytes` wait."""
        return self._writer.waiting_bytes >= self._most_bytes

    def read(self, length: int, offset: int) -> bytes:
        """As it will stand in the file once all is written; whole writes are found at their place."""
        with self._writer.changed:
            waiting = self._newest.get(offset)
        return super().read(length, offset) if waiting is None else waiting[:length]

    def write(self, data: bytes, offset: int) -> None:
        """Have `data` written. Raises WindowError when the disk has failed before."""
        with self._writer.changed:
            self._writer.put((offset, data))
            self._newest[offset] = data

    def close(self) -> None:
        """Write what waits, in bounded time, and let go of the file."""
        if self._writer.close(_CLOSE_LIMIT_S):  # otherwise the descriptor goes with the process
            super().close()

    def _write(self, piece: _Piece) -> bool:
        """In the writer's thread. Raises WindowError."""
        offset, data = piece
        super().write(data, offset)
        with self._writer.changed:
            if self._newest.get(offset) is data:
                del self._newest[offset]
        return True


def open_file(path: str, *, most_bytes: int) -> WindowFile:
    """The file at `path`, with a thread that writes where it stands on a disk. Raises WindowError."""
    return WindowFile(path) if is_in_memory(path) else WrittenBehind(path, most_bytes=most_bytes)


def is_in_memory(path: str, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether the file system of `path` is one in memory, as far as the system tells: proc_pid_mountinfo(5)."""
    try:
        device = os.stat(os.path.dirname(path) or ".").st_dev
        with open(mounts, encoding="utf-8", errors="replace") as file:
            for line in file:
                mount, _, kind = line.partition(" - ")
                if mount.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    return kind.split()[0] in _IN_MEMORY
    except (OSError, IndexError):  # no such directory, no Linux
        pass
    return False


def _bytes_of(piece: _Piece) -> int:
    return len(piece[1])


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:  # macOS has none: write the bytes
        for offset in range(0, size, 1 << 20):
            os.pwrite(fd, bytes(min(1 << 20, size - offset)), offset)
