"""Lines to a descriptor that somebody else may have stopped reading: at once and whole, or not at all.

Standard error may be a pipe into `less`, a terminal after Ctrl-S, a closed pipe, a full disk. It is shared with other
processes, so that its O_NONBLOCK is not ours to set, and between poll() and write() another may take the last room of
a pipe. Therefore pipes and terminals are opened once more: that gives flags of our own.
"""

import os
import select
import stat
from typing import TextIO

LONGEST_LINE_BYTES = select.PIPE_BUF
"""As much as a pipe takes as a whole, and has room for when it calls itself writable. Line ends count."""


class LogOutput:
    """Writes lines to `stream`'s descriptor, past its buffer. None, a closed one, one without descriptor: nowhere.

    `descriptor` is our own one, which never blocks. None for files (they never do) and sockets, where poll() has to
    do, and where the system refuses to open another user's terminal or pipe. It stays open until the process ends.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._rest = b""  # of a line that was taken in part: a terminal or a disk that became full
        try:
            self.descriptor = _opened_again(stream.fileno()) if stream is not None else None
        except (OSError, ValueError):
            self.descriptor = None

    def write(self, line: bytes) -> bool:
        """Write `line`, at most `LONGEST_LINE_BYTES` with its line end; False when there is no room for it now."""
        if self._stream is None:
            return False
        try:
            # Asked each time: when the stream has been closed, its number may be somebody else's socket by now.
            descriptor = self._stream.fileno() if self.descriptor is None else self.descriptor
            if self._rest:
                self._rest = _unwritten(descriptor, self._rest)
            if self._rest or not _has_room(descriptor):
                return False
            self._rest = _unwritten(descriptor, line)
        except (OSError, ValueError):
            return False
        return True


def _unwritten(descriptor: int, data: bytes) -> bytes:
    return data[os.write(descriptor, data) :] if _has_room(descriptor) else data


def _has_room(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(0))


def _opened_again(descriptor: int) -> int | None:
    if not (stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor)):
        return None
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
