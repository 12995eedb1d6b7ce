"""A pipe that is read only as far as its bytes are wanted: the rest stays in it, for the next process.

The capture process may be killed at any time. So no byte is taken from a pipe before it can be kept, and nothing but
whole frames is taken: then the next process goes on at a frame's first byte.
"""

import contextlib
import fcntl
import os
import resource
import select
import stat
import struct
import sys
import termios

# A stopped reader finds 32 s of 16 kHz mono, instead of 2 s. Systems may allow users less.
_WIDE_BYTES = 1 << 20
_SKIPPED_BYTES = 1 << 16
# A socket holds more than this, also when its writer writes little at a time.
_OF_SOCKET_BYTES = 1 << 15
_POLLRDHUP = getattr(select, "POLLRDHUP", 0)


class Pipe:
    """The reading end of a pipe or a socket, or a file. The caller owns the descriptor, and closes it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        """Whether it is an ordinary file."""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | _POLLRDHUP)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # no pipe, or not allowed to be so wide
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _WIDE_BYTES)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def waiting(self) -> int:
        """How many bytes can be read now."""
        if self.is_file:
            return max(0, os.fstat(self._fd).st_size - os.lseek(self._fd, 0, os.SEEK_CUR))
        return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))[0])

    def is_over(self) -> bool:
        """Whether nobody can write any more: what waits now is the rest. False before a FIFO's first writer."""
        if self.is_file:
            return True
        events = dict(self._poll.poll(0)).get(self._fd, 0)
        if events & (select.POLLHUP | select.POLLERR | _POLLRDHUP):
            return True
        return bool(events & select.POLLIN) and self.waiting() == 0  # the end of a socket

    def holds_bytes(self) -> int:
        """How many bytes can wait at once, whatever the lengths of the writes are: do not wait for more than these.

        A write may leave half of a page empty, and a page is free when it was read to its end.
        """
        if self.is_file:
            return sys.maxsize
        try:
            pages = fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ) // resource.getpagesize()
        except (AttributeError, OSError):  # no Linux, or no pipe
            return _OF_SOCKET_BYTES
        return (pages - 1) // 2 * resource.getpagesize()

    def wait(self, limit_s: float) -> None:
        """Wait at most so long for bytes, or the end."""
        self._poll.poll(limit_s * 1000)

    def read(self, size: int) -> bytes:
        """Take `size` bytes, which must be waiting."""
        pieces = []
        while size > 0:
            piece = os.read(self._fd, size)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self) -> bytes:
        """Throw away what waits now. Returns its first bytes."""
        rest = self.waiting()
        begin = b""
        while rest > 0:
            piece = self.read(min(rest, _SKIPPED_BYTES))
            begin = begin or piece
            rest -= len(piece) or rest
        return begin
