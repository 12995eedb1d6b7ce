"""The file of `--output`, for `listen` and `transcribe`: one writer, whole pieces, good after any kill."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from mpengine.shared import one_writer
from mpengine.shared.errors import ConfigError, MpengineError

_PIECE_BYTES = 1 << 16  # some seconds of messages


class OutputFile:
    """The file of `--output`, locked against other writers.

    It grows by whole pieces as results come, so that it is valid whenever this process is killed.
    """

    def __init__(self, path: str, *, append: bool, force: bool) -> None:
        """Raises ConfigError when the file cannot be opened, is locked, or exists without `append` or `force`."""
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if not append and not force and not _is_device(path):
            flags |= os.O_EXCL
        elif _is_device(path):
            flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            raise ConfigError("--output", f"{path} exists; --append continues it, --force replaces it") from None
        except OSError as error:
            raise ConfigError("--output", f"{path}: {error.strerror}") from None
        self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        if self._is_regular:
            self._lock()
            if force:
                os.ftruncate(self._descriptor, 0)

    def read_back(self) -> Iterator[bytes]:
        """The file's content in pieces, last one first; nothing for a device."""
        end = self._size_bytes if self._is_regular else 0
        while end:
            begin = max(0, end - _PIECE_BYTES)
            yield os.pread(self._descriptor, end - begin, begin)
            end = begin

    def cut(self, size_bytes: int) -> None:
        """Remove all but the first `size_bytes`."""
        if self._is_regular and size_bytes < self._size_bytes:
            os.ftruncate(self._descriptor, size_bytes)

    def cut_last(self, number_bytes: int) -> None:
        """Remove the last `number_bytes`."""
        self.cut(self._size_bytes - number_bytes)

    def write(self, piece: bytes) -> None:
        """Append the whole `piece`, or raise MpengineError and append nothing."""
        if not piece:
            return
        size_bytes = self._size_bytes
        try:
            written = os.write(self._descriptor, piece)
            while written < len(piece):  # a pipe, or a full disk: then the next write raises
                written += os.write(self._descriptor, piece[written:])
        except OSError as error:
            with suppress(OSError):
                self.cut(size_bytes)
            raise MpengineError(f"cannot write {self._path}: {error.strerror}") from None

    @property
    def _size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            one_writer.lock(self._descriptor, is_optional=True)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError("--output", f"{self._path} is being written by another process") from None


def _is_device(path: str) -> bool:
    """Whether `path` is there and no regular file, but a pipe or /dev/null."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
