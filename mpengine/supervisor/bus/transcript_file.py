"""The lasting transcript: finals and gaps as lines of JSON, rotated by size.

A thread writes, from a bounded queue: a disk that is full or stuck delays nothing. The newest lines are dropped then,
and `notices` says so. A file that was renamed or removed is opened again before the next line: a program that rotates
it needs no signal.

Only one engine writes the file: it is locked by flock, which ends with the process. In a rotation the old file stays
locked until the new one is locked, so that another engine finds a lock at every moment.
"""

import contextlib
import errno
import logging
import os

from mpengine.shared import one_writer
from mpengine.shared.errors import ConfigError, MpengineError
from mpengine.shared.logs import Event
from mpengine.shared.messages import Error, ErrorCode, Stamp
from mpengine.shared.one_writer import Writer
from mpengine.supervisor.bus.journal import stamp_of

log = logging.getLogger("mpengine.supervisor")

_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 4 << 20
_TRY_AGAIN_S = 1.0
# How long the supervisor waits for a disk when it ends.
_CLOSE_LIMIT_S = 2.0
# So much of a file's end is searched for its last line.
_TAIL_BYTES = 1 << 20
# The bound is for file systems on which a file never looks the same twice.
_MOST_OPENINGS = 10


class TranscriptFile:
    """Appends lines. `last`: the stamp of the last line that was there at the start."""

    def __init__(self, path: str, *, most_bytes: int, files: int) -> None:
        """So many `files` are kept, with the current one.

        Raises ConfigError when another engine writes the file, MpengineError when it cannot be opened.
        """
        self._path, self._most_bytes, self._files = path, most_bytes, files
        self._fd, self._size = -1, 0
        try:
            self._open()
            self.last = self._mend() or _last_line_of(f"{path}.1")
        except BlockingIOError:
            what_to_do = "name another file, or stop that engine"
            raise ConfigError("bus.transcript", f"{path} is being written by another engine; {what_to_do}") from None
        except OSError as error:
            self._let_go()
            raise MpengineError(f"cannot write the transcript {path} (bus.transcript): {error.strerror}") from None
        self._writer: Writer[bytes] = Writer(self._write, name="transcript-writer", again_s=_TRY_AGAIN_S)
        # The writer's lock guards these.
        self._dropped = 0
        self._is_in_trouble = False
        self._notices: list[Error] = []

    def write(self, body: bytes) -> None:
        """Have a line written; it is dropped when too many wait."""
        writer = self._writer
        with writer.changed:
            if writer.waiting >= _MOST_WAITING or writer.waiting_bytes + len(body) > _MOST_WAITING_BYTES:
                self._dropped += 1
                self._in_trouble("the disk is too slow: lines are dropped")
            else:
                writer.put(body)

    def notices(self) -> list[Error]:
        """The errors to publish that have come up since the last call."""
        with self._writer.changed:
            notices, self._notices = self._notices, []
        return notices

    def all_written(self) -> bool:
        """Whether all lines are in the file that were given to `write`."""
        return self._writer.waiting == 0

    def close(self) -> None:
        """Write the lines that wait, in bounded time."""
        if self._writer.close(_CLOSE_LIMIT_S):  # otherwise the descriptor goes with the process
            self._let_go()

    # In the thread

    def _write(self, body: bytes) -> bool:
        try:
            self._append(body + b"\n")
        except OSError as error:
            with self._writer.changed:
                self._in_trouble(f"{error.strerror}; retrying")
            return False
        with self._writer.changed:
            self._out_of_trouble(is_last=self._writer.waiting == 1)
        return True

    def _append(self, line: bytes) -> None:
        found = None if self._fd < 0 else os.fstat(self._fd)
        if found is None or not _is_at(self._path, found):
            self._open_another()
        else:
            self._size = found.st_size  # somebody may have cut it off
        if self._size and self._size + len(line) > self._most_bytes:
            self._rotate()
        written = os.write(self._fd, line)
        if written != len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        if not os.fstat(self._fd).st_nlink:  # removed in this very moment, and the line with it
            self._open_another()
            self._append(line)

    def _open_another(self) -> None:
        """Open the file that is at the path by now, or make one: this one was renamed or removed."""
        # Its lock must not keep us out: it may have the name of the file before.
        self._let_go()
        self._open()
        log.info(Event("transcript_reopened", path=self._path))

    def _rotate(self) -> None:
        if self._files == 1:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        names = [self._path, *(f"{self._path}.{number}" for number in range(1, self._files))]
        for number in range(len(names) - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(names[number - 1], names[number])
        before, self._fd = self._fd, -1
        try:
            # An engine that was faster to lock the new file lets go when it sees the lock on the old one.
            self._open(is_ours=True)
        finally:
            os.close(before)

    # Anywhere

    def _open(self, *, is_ours: bool = False) -> None:
        """Open and lock the file; `is_ours` in a rotation. Raises BlockingIOError when another engine writes it."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        for opening in range(1, _MOST_OPENINGS + 1):
            fd = one_writer.open_file(self._path, flags)
            try:
                one_writer.lock(fd, waits=is_ours, is_optional=True)
                if not is_ours and one_writer.is_held(f"{self._path}.1"):  # in the middle of a rotation
                    raise one_writer.held()
                found = os.fstat(fd)
                # Otherwise it was rotated before it was locked.
                if _is_at(self._path, found) or opening == _MOST_OPENINGS:
                    self._fd, fd, self._size = fd, -1, found.st_size
                    return
            finally:
                if fd >= 0:
                    os.close(fd)

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _mend(self) -> Stamp | None:
        """Cut off a last line that a kill or a full disk tore. Returns the stamp of the last whole line."""
        tail = os.pread(self._fd, _TAIL_BYTES, max(0, self._size - _TAIL_BYTES))
        whole = tail.rpartition(b"\n")[0]
        torn = len(tail) - (len(whole) + 1 if b"\n" in tail else 0)
        if torn:
            self._size -= torn
            os.ftruncate(self._fd, self._size)
        return stamp_of(whole.rpartition(b"\n")[2]) if whole else None

    def _in_trouble(self, why: str) -> None:
        if not self._is_in_trouble:
            self._is_in_trouble = True
            text = f"cannot write the transcript {self._path}: {why}"
            self._notices.append(Error(source="supervisor", code=ErrorCode.TRANSCRIPT_STUCK, message=text))

    def _out_of_trouble(self, *, is_last: bool) -> None:
        if self._is_in_trouble and (is_last or not self._dropped):
            self._is_in_trouble = False
            text = f"writing the transcript {self._path} works again; {self._dropped} lines are missing"
            self._notices.append(Error(source="supervisor", code=ErrorCode.TRANSCRIPT_AGAIN, message=text))
            self._dropped = 0


def _is_at(path: str, found: os.stat_result) -> bool:
    """Whether `path` is (still) the file `found`."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(path), found)
    return False


def _last_line_of(path: str) -> Stamp:
    """The stamp of the last line of the file at `path`; an empty one if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return Stamp()
    return stamp_of(lines[-1]) if lines else Stamp()
