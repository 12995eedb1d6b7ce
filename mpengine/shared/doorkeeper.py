"""Bounds the connections of this process's endpoints, in a thread of its own.

libzmq aborts the process whose ipc listener finds no free descriptor, and each connection takes one. So at its limit an
endpoint's door is shut: the file of an ipc socket is renamed to PATH.full, where nobody finds it, and back when there
is room. What came in before that is shut down, newest first. Connections inside live on. (To unbind would end all of
them.) A tcp endpoint has no file: there, connections beyond the limit are shut down.

The listener accepts while the thread is on its way, but not without end: when UNREAD_EVENTS of a socket wait for the
thread, libzmq waits for it, too. A process that may have so many descriptors for each of its sockets, beyond
the limits of all doors, cannot run out of them. Where the system allows less, this is a race, and only its margin.

Who owns what: the main thread makes the monitors' sockets, and hands them over. From then on the thread alone has them.
libzmq's own thread waits for it (see above), so that it does nothing else and waits for nothing.
`_lock` guards the doors and the monitors that wait to be taken.
"""

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import zmq

from mpengine.shared import sockets
from mpengine.shared.door import Crowd, Door, Guest, Stranger
from mpengine.shared.file_id import FileId, find
from mpengine.shared.wake import Wake

_ACCEPTED = int(zmq.EVENT_ACCEPTED)
_EVENTS = int(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
_EVENTS_AT_ONCE = 100
UNREAD_EVENTS = 1001
"""How many events of a socket wait at most: libzmq's own mark of 1000 for its end, and ours of 1. (0 is no mark.)"""
_EVENT = struct.Struct("=HI")
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SO_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
_FULL = ".full"
# In a crowd the connections are counted again so often: of some ends libzmq tells nothing.
_COUNT_MS = 500
_CLOSE_LIMIT_S = 5.0
_CATCH_UP_LIMIT_S = 1.0
_STAT_BYTES = 4096


class _Watched:
    def __init__(self, endpoint: str, limit: int, is_ours: Callable[[int], bool] | None) -> None:
        self.door = Door(endpoint, limit)
        self.path = sockets.path_of(endpoint)
        # By this an accepted connection is known.
        self.name = f":{endpoint.rpartition(':')[2]}" if self.path is None else self.path
        self.is_ours = is_ours
        self.is_renamed = False  # the file, to PATH.full


class Doorkeeper:
    """Watches the connections of sockets that this process binds."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._context = context
        self._lock = threading.Lock()
        self._watched: dict[zmq.Socket[bytes], _Watched] = {}  # by monitor
        self._monitors: dict[zmq.Socket[bytes], zmq.Socket[bytes]] = {}  # by the socket itself
        self._new: list[zmq.Socket[bytes]] = []
        self._wake = Wake()
        self._has_read = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="doorkeeper", daemon=True)
        self._thread.start()

    def watch(
        self, watched: "zmq.Socket[bytes]", endpoint: str, limit: int, *, is_ours: Callable[[int], bool] | None = None
    ) -> None:
        """Let `limit` connections in at `endpoint`. To be called before `watched` is bound to it.

        `is_ours`: says of a process, by its pid, whether it may come in at all; the thread calls it.
        """
        where = f"inproc://doorkeeper-{id(watched):x}"
        watched.monitor(where, _EVENTS)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 1)
        monitor.connect(where)
        new = _Watched(endpoint, limit, is_ours)
        if new.path is not None:
            with contextlib.suppress(OSError):  # of an engine that was killed meanwhile
                os.unlink(new.path + _FULL)
        self._monitors[watched] = monitor
        with self._lock:
            self._watched[monitor] = new
            self._new.append(monitor)
            self._wake.set()

    def news(self) -> list[Crowd | Stranger]:
        """What has come up since the last call, to be told."""
        with self._lock:
            return [each for watched in self._watched.values() for each in watched.door.news()]

    def guests(self, watched: "zmq.Socket[bytes]") -> dict[int, Guest]:
        """The connections of a socket that is watched, by descriptor."""
        with self._lock:
            return dict(self._watched[self._monitors[watched]].door.guests)

    def catch_up(self, limit_s: float = _CATCH_UP_LIMIT_S) -> bool:
        """Wait until the thread has read all events. To be called before a socket that is watched is bound again.

        libzmq's thread, where it waits for ours, holds a lock of the socket. A call that needs it, to bind or to end a
        monitor, would wait with Python's own lock: then our thread, and the whole process, would wait for ever. False:
        there was too much to read.
        """
        with self._lock:
            self._has_read.clear()
            self._wake.set()
        return not self._thread.is_alive() or self._has_read.wait(limit_s)

    def close(self) -> None:
        """End, and leave all doors open. To be called before the sockets are closed; again, it does nothing."""
        self.catch_up(_CLOSE_LIMIT_S)
        for watched in self._monitors:
            with contextlib.suppress(zmq.ZMQError):  # closed already, as after a failure
                watched.disable_monitor()
        with self._lock:
            self._is_closing = True
            self._wake.set()
        self._thread.join(_CLOSE_LIMIT_S)
        if not self._thread.is_alive():
            self._wake.close()

    # In the thread

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake.fileno(), zmq.POLLIN)
        while self._take_new(poller):
            is_crowded = any(watched.door.is_crowded for watched in self._list())
            sources = [source for source, _ in poller.poll(_COUNT_MS if is_crowded else None)]
            # In a crowd each moment counts, and to look at a connection takes ten times as long as to count it.
            events = {each: self._events_of(each) for each in sources if isinstance(each, zmq.Socket)}
            for monitor, some in events.items():
                self._handle(self._watched[monitor], some)
            if all(len(some) < _EVENTS_AT_ONCE for some in events.values()):
                self._has_read.set()
            now = time.monotonic()
            for watched in self._list():
                self._look(watched, now)
        for watched in self._list():
            if watched.is_renamed:
                _rename(watched, is_shut=False)
        for monitor in list(self._watched):
            monitor.close()

    def _take_new(self, poller: zmq.Poller) -> bool:
        """Take the monitors that wait. False: it is over."""
        with self._lock:
            for monitor in self._new:
                poller.register(monitor, zmq.POLLIN)
            self._new.clear()
            self._wake.drain()
            return not self._is_closing

    def _list(self) -> list[_Watched]:
        with self._lock:
            return list(self._watched.values())

    def _events_of(self, monitor: "zmq.Socket[bytes]") -> list[tuple[int, int]]:
        """The events that wait at `monitor`, some at once. Shuts the door if they may be too many connections."""
        watched = self._watched[monitor]
        events: list[tuple[int, int]] = []
        while len(events) < _EVENTS_AT_ONCE and sockets.is_readable(monitor):
            events.append(_EVENT.unpack(monitor.recv()))
            monitor.recv()
        if watched.door.may_be_full(sum(event == _ACCEPTED for event, _ in events)):
            self._have(watched, is_shut=True)
        return events

    def _handle(self, watched: _Watched, events: list[tuple[int, int]]) -> None:
        now = time.monotonic()
        for event, fd in events:
            if event == _ACCEPTED:
                self._accepted(watched, fd, now)
            else:
                with self._lock:
                    watched.door.forget(fd)
        with self._lock:
            watched.door.look(now)

    def _accepted(self, watched: _Watched, fd: int, now: float) -> None:
        guest = _guest_at(fd, watched.name)
        if guest is None:  # gone again
            return
        is_stranger = watched.is_ours is not None and bool(guest.pid) and not watched.is_ours(guest.pid)
        with self._lock:
            for other in self._watched.values():
                if other is not watched:
                    other.door.forget(fd)
            may_stay = watched.door.came(fd, guest, now, is_stranger=is_stranger)
        if not may_stay:
            end_connection(fd, guest.inode)

    def _look(self, watched: _Watched, now: float) -> None:
        """Count again, where that matters."""
        if watched.door.is_shut:
            gone = [fd for fd, guest in watched.door.guests.items() if inode_of(fd) != guest.inode]
            with self._lock:
                watched.door.went(gone, now)
        elif watched.door.is_crowded:
            with self._lock:
                watched.door.look(now)
        self._have(watched, is_shut=watched.door.is_shut)

    def _have(self, watched: _Watched, *, is_shut: bool) -> None:
        """Have the file where a door that `is_shut`, or open, has it."""
        if watched.path is not None and is_shut != watched.is_renamed:
            watched.is_renamed = is_shut
            _rename(watched, is_shut=is_shut)


def is_full(endpoint: str) -> bool:
    """Whether the engine behind `endpoint` has shut its door."""
    path = sockets.path_of(endpoint)
    return path is not None and os.path.exists(path + _FULL)


def is_of_engine(pid: int, supervisor_pid: int) -> bool:
    """Whether the process `pid` is the supervisor, its child, or a child's child. Also true where /proc does not say.

    A child has the supervisor or its zygote as parent, and not all children of an engine need have the same one.
    """
    parent = _parent_of(pid)
    if pid == supervisor_pid or parent is None or parent == supervisor_pid:
        return True
    return parent > 0 and _parent_of(parent) in {None, supervisor_pid}


def find_socket(path: str) -> FileId | None:
    """Which file the socket of `path` is, with its door open or shut; None if it is gone."""
    return find(path) or find(path + _FULL) or find(path)  # the last: it may have been opened meanwhile


def inode_of(fd: int) -> int:
    """What tells the connection at `fd` from all others; 0 if there is nothing."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def connection_of(fd: int, pid: int) -> int:
    """The inode of the connection at `fd`; 0 if there is none, or by now one of another process than `pid` (0: any)."""
    with contextlib.suppress(OSError), _held(fd) as connection:
        return inode_of(connection.fileno()) if _is_of(connection, pid) else 0
    return 0


def end_connection(fd: int, inode: int, *, pid: int = 0) -> None:
    """Shut down the connection at `fd`, if it is still the one of `inode`, and of the process `pid` (0: of any one).

    libzmq closes the descriptor, and the next socket may have it by now, even one that listens: libzmq would abort the
    process at the next look at that one. So the socket is held here while it is judged.
    """
    with contextlib.suppress(OSError), _held(fd) as connection:
        is_meant = inode_of(connection.fileno()) == inode and _is_of(connection, pid)
        if is_meant and not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _held(fd: int) -> Iterator[socket.socket]:
    """The socket at `fd`, which stays the same meanwhile. Without a free descriptor it may be closed by others.

    Raises OSError where there is no socket.
    """
    try:
        held = os.dup(fd)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        connection = socket.socket(fileno=fd)
        try:
            yield connection
        finally:
            connection.detach()
    else:
        try:
            connection = socket.socket(fileno=held)
        except OSError:
            os.close(held)
            raise
        with connection:
            yield connection


def _parent_of(pid: int) -> int | None:
    """The parent of the process `pid`, 0 for the first process; None where that is unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(_STAT_BYTES).rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _guest_at(fd: int, name: str) -> Guest | None:
    """The connection at `fd`; None if there is none (any more) of the endpoint that is called `name`."""
    inode = inode_of(fd)
    try:
        connection = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        ours = connection.getsockname()
        if (ours if isinstance(ours, str) else f":{ours[1]}") != name:
            return None
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):  # a listener that has its descriptor by now
            return None
        return Guest(inode, _peer_pid(connection))
    except OSError:
        return None
    finally:
        connection.detach()


def _is_of(connection: socket.socket, pid: int) -> bool:
    """Whether the process `pid` (0: any) is at the other end, as far as the system says it."""
    return not pid or _peer_pid(connection) in {0, pid}


def _peer_pid(connection: socket.socket) -> int:
    """The process at the other end, 0 where the system does not say it."""
    if connection.family != socket.AF_UNIX or _SO_PEERCRED is None:
        return 0
    pid: int = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _CREDENTIALS.size))[0]
    return pid


def _rename(watched: _Watched, *, is_shut: bool) -> None:
    """Have the file of the socket at PATH.full if the door `is_shut`, otherwise at PATH."""
    assert watched.path is not None
    full = watched.path + _FULL
    with contextlib.suppress(OSError):  # the directory is gone
        if is_shut:
            os.rename(watched.path, full)
        elif os.path.lexists(watched.path):  # it was bound again meanwhile
            os.unlink(full)
        else:
            os.rename(full, watched.path)
