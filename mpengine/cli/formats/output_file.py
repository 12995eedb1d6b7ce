"""A file that is written live: it only grows, by whole pieces, so that it is good whenever we are killed."""

import contextlib
import os
import stat
from collections.abc import Iterator

from mpengine.shared import one_writer
from mpengine.shared.errors import ConfigError, MpengineError

_PIECE_BYTES = 1 << 20
# Some seconds of messages.
_LAST_PIECE_BYTES = 1 << 16


class OutputFile:
    """The file of `--output`, which nobody else writes meanwhile."""

    def __init__(self, path: str, *, append: bool, force: bool) -> None:
        """Raises ConfigError when it is there and neither to be continued nor to be replaced."""
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if not append and not force and not _is_device(path):
            flags |= os.O_EXCL
        elif _is_device(path):
            flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            raise ConfigError("--output", f"{path} exists; --append goes on with it, --force replaces it") from None
        except OSError as error:
            raise ConfigError("--output", f"{path}: {error.strerror}") from None
        self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        if self._is_regular:
            self._lock()
            if force:
                os.ftruncate(self._descriptor, 0)

    def read(self) -> bytes:
        """All that is in it."""
        return b"".join(reversed(list(self.read_back(_PIECE_BYTES))))

    def read_back(self, piece_bytes: int = _LAST_PIECE_BYTES) -> Iterator[bytes]:
        """All that is in it, piece by piece from its end on."""
        end = self._size_bytes if self._is_regular else 0
        while end:
            begin = max(0, end - piece_bytes)
            yield os.pread(self._descriptor, end - begin, begin)
            end = begin

    def cut(self, size_bytes: int) -> None:
        """Let go of all behind the first bytes."""
        if self._is_regular and size_bytes < self._size_bytes:
            os.ftruncate(self._descriptor, size_bytes)

    def cut_last(self, number_bytes: int) -> None:
        """Let go of the last bytes."""
        self.cut(self._size_bytes - number_bytes)

    def write(self, piece: bytes) -> None:
        """Add `piece` as a whole, or raise MpengineError and add nothing."""
        if not piece:
            return
        size_bytes = self._size_bytes
        try:
            written = os.write(self._descriptor, piece)
            while written < len(piece):  # the disk is full, or it is a pipe: the next try tells
                written += os.write(self._descriptor, piece[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self.cut(size_bytes)
            raise MpengineError(f"cannot write {self._path}: {error.strerror}") from None

    @property
    def _size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Let others write it."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            one_writer.lock(self._descriptor, is_optional=True)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError("--output", f"{self._path} is being written by another process") from None


def _is_device(path: str) -> bool:
    """Whether it is something else than a file, such as a pipe or /dev/null."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
