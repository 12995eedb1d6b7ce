"""Writes lines to a descriptor whose reader may have stopped: each line at once and whole, or not at all.

Standard error may be a pipe into `less`, a terminal after Ctrl-S, a closed pipe or a full disk. Other processes share
it: we must not set its O_NONBLOCK, and another process may take the last room of a pipe between our poll() and our
write(). So pipes and terminals are opened once more, which gives a descriptor with flags of its own.
"""

import os
import select
import stat
from typing import TextIO

LONGEST_LINE_BYTES = select.PIPE_BUF
"""A pipe takes so many bytes as a whole, and has room for them when poll() calls it writable. Line ends count."""

_CLEAR = b"\r\x1b[K"


class LogOutput:
    """Writes lines to the descriptor of `stream`, past its buffer; nowhere without a stream or a descriptor.

    `descriptor` is our own one, which never blocks; it stays open until the process ends. It is None for files, which
    never block, for sockets, where poll() must do, and where the system forbids to open another user's file.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._drawn = b""  # stands below all lines
        self._rest = b""  # of a line that a full terminal or disk took in part
        try:
            self.descriptor = _opened_again(stream.fileno()) if stream is not None else None
        except (OSError, ValueError):
            self.descriptor = None

    def write(self, line: bytes) -> bool:
        """Write `line`, at most `LONGEST_LINE_BYTES` with its line end. False when there is no room now."""
        return self._put(_CLEAR + line + self._drawn if self._drawn else line)

    def draw(self, drawn: bytes) -> None:
        """Write `drawn`, now and below each line. It draws on a terminal, and leaves the cursor at the beginning.

        Empty: take it away, and draw it no more.
        """
        before, self._drawn = self._drawn, drawn
        if drawn or before:
            self._put(drawn or _CLEAR)

    def _put(self, line: bytes) -> bool:
        if self._stream is None:
            return False
        try:
            # Ask each time: once the stream is closed, a socket may have got its number.
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
