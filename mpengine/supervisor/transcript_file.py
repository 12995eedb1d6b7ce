"""The lasting transcript: finals and gaps as lines of JSON, rotated by size.

A thread writes, behind a bounded queue: a disk that is full or stuck holds up nothing. The newest lines are dropped
then, and `notices` says so.
"""

import collections
import contextlib
import errno
import os
import threading

from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.errors import MpengineError
from mpengine.shared.messages import Error
from mpengine.shared.snapshot import Stamp, read_stamp

_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 4 << 20
_TRY_AGAIN_S = 1.0
# How long the end of the supervisor waits for a disk.
_CLOSE_LIMIT_S = 2.0
# The last line is looked for in so much of the end.
_TAIL_BYTES = 1 << 20


class TranscriptFile:
    """Appends lines. `last`: what the last line says that was there at the start."""

    def __init__(self, path: str, *, most_bytes: int, files: int) -> None:
        """`files` are kept, the one that is written among them. Raises MpengineError when it cannot be opened."""
        self._path, self._most_bytes, self._files = path, most_bytes, files
        self._fd, self._size = -1, 0
        try:
            self._open()
            self.last = self._mend() or _last_line_of(f"{path}.1")
        except OSError as error:
            raise MpengineError(f"cannot write the transcript {path} (bus.transcript): {error.strerror}") from None
        # All below belong to `_changed`'s lock.
        self._changed = threading.Condition()
        self._waiting: collections.deque[bytes] = collections.deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._is_in_trouble = False
        self._notices: list[Error] = []
        self._is_closing = False
        self._writer = threading.Thread(target=self._write_all, name="transcript-writer", daemon=True)
        self._writer.start()

    def write(self, body: bytes) -> None:
        """Have a line written; it is dropped when too many wait."""
        with self._changed:
            is_full = len(self._waiting) >= _MOST_WAITING or self._waiting_bytes + len(body) > _MOST_WAITING_BYTES
            if is_full:
                self._dropped += 1
                self._in_trouble("the disk does not follow, lines are dropped")
                return
            self._waiting.append(body)
            self._waiting_bytes += len(body)
            self._changed.notify()

    def notices(self) -> list[Error]:
        """What is to be told since the last call."""
        with self._changed:
            notices, self._notices = self._notices, []
        return notices

    def close(self) -> None:
        """Write what waits, in bounded time."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._writer.join(_CLOSE_LIMIT_S)

    # In the thread

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    break
                line = self._waiting[0] + b"\n"
            try:
                self._append(line)
            except OSError as error:
                with self._changed:
                    self._in_trouble(f"{error.strerror}; trying on")
                    if self._is_closing:
                        break
                    self._changed.wait_for(lambda: self._is_closing, _TRY_AGAIN_S)
                continue
            with self._changed:
                self._waiting_bytes -= len(self._waiting.popleft())
                self._out_of_trouble()
        if self._fd >= 0:
            os.close(self._fd)

    def _append(self, line: bytes) -> None:
        if self._fd < 0:
            self._open()
        if self._size and self._size + len(line) > self._most_bytes:
            self._rotate()
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        names = [self._path, *(f"{self._path}.{number}" for number in range(1, self._files))]
        for number in range(len(names) - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(names[number - 1], names[number])
        if self._files == 1:
            os.unlink(self._path)
        self._open()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    # Anywhere

    def _mend(self) -> Stamp | None:
        """Cut off a last line that a kill or a full disk tore; returns what the one before it says."""
        tail = os.pread(self._fd, _TAIL_BYTES, max(0, self._size - _TAIL_BYTES))
        whole = tail.rpartition(b"\n")[0]
        torn = len(tail) - (len(whole) + 1 if b"\n" in tail else 0)
        if torn:
            self._size -= torn
            os.ftruncate(self._fd, self._size)
        return _stamp_of(whole.rpartition(b"\n")[2]) if whole else None

    def _in_trouble(self, why: str) -> None:
        if not self._is_in_trouble:
            self._is_in_trouble = True
            text = f"cannot write the transcript {self._path}: {why}"
            self._notices.append(Error(source="supervisor", code="transcript_stuck", message=text))

    def _out_of_trouble(self) -> None:
        if self._is_in_trouble and not (self._dropped and self._waiting):
            self._is_in_trouble = False
            text = f"the transcript {self._path} is written again; {self._dropped} lines are missing"
            self._notices.append(Error(source="supervisor", code="transcript_again", message=text))
            self._dropped = 0


def _last_line_of(path: str) -> Stamp:
    """What the last line of a file that was rotated away says; nothing if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return Stamp()
    return _stamp_of(lines[-1]) if lines else Stamp()


def _stamp_of(line: bytes) -> Stamp:
    try:
        return read_stamp(line)
    except UNREADABLE:
        return Stamp()
