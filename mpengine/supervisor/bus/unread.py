"""Ends connections that do not read, where much is sent: libzmq bounds what waits for them in messages, not in bytes.

In everyday life 2000 messages are some megabytes. With long ones they would be half a gigabyte.
"""

import array
import contextlib
import fcntl
import logging
import termios

import zmq

from mpengine.shared import doorkeeper
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.logs import Event

log = logging.getLogger("mpengine.supervisor")

LOOK_BYTES = 8 << 20
"""After so many bytes the connections are to be looked at."""
# So much in the system's buffer, which takes 200 kB, twice in a row: the peer does not read, or too slowly.
_FULL_BYTES = 64 << 10


class Unread:
    """The connections of `socket`, which `doors` knows. Without `doors` none is ended."""

    def __init__(self, socket: "zmq.Socket[bytes]", doors: Doorkeeper | None) -> None:
        self._socket, self._doors = socket, doors
        self._full: set[int] = set()  # inodes, at the last look

    def look(self) -> None:
        """End the connections that are full of unread bytes now, and were at the last look."""
        full = set()
        for fd, guest in self._doors.guests(self._socket).items() if self._doors is not None else ():
            if doorkeeper.inode_of(fd) == guest.inode and _unread_bytes(fd) >= _FULL_BYTES:
                full.add(guest.inode)
                if guest.inode in self._full:
                    log.warning(Event("client_disconnected", reason="it does not read what it gets", pid=guest.pid))
                    doorkeeper.end_connection(fd, guest.inode)
        self._full = full


def _unread_bytes(fd: int) -> int:
    """How many bytes that were sent at `fd` the peer has not taken (SIOCOUTQ, which has the number of TIOCOUTQ)."""
    count = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCOUTQ, count)
    return count[0]
