"""The supervisor's end of the zygote: it asks the zygote to fork, and gets the exit statuses of its children.

The main thread owns the process and its socket. A zygote that ends, or is ended because it does not answer in time,
takes its children with it. The next child comes from another zygote.
"""

import contextlib
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from mpengine.processes import zygote_messages
from mpengine.processes.beginning import ChildSettings, Parent
from mpengine.supervisor.children.process import ChildProcess, OwnChild, Spawned, payload_pipe

if TYPE_CHECKING:
    from mpengine.processes.zygote import ForkedZygote

_READY_LIMIT_S = 10.0
_FORK_LIMIT_S = 5.0
# The zygote reports the end of a child at once, unless something is wrong with the zygote.
_END_LIMIT_S = 1.0


class NoRoom(OSError):
    """The system has no room for another process. The zygote itself is well."""


class Zygote:
    """A zygote process, and the supervisor's end of its socket."""

    def __init__(self, process: ChildProcess, ours: socket.socket) -> None:
        """Wait until it is ready. Raises OSError if that takes too long."""
        self._process = process
        self._socket = ours
        self._ended: dict[int, int] = {}
        self.is_alive = True
        try:
            self._await(zygote_messages.Ready, _READY_LIMIT_S)
        except BaseException:
            self.close()
            raise

    @classmethod
    def spawned(cls) -> Self:
        """A zygote in a new interpreter. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                settings, module = Parent(parent_pid=os.getpid()), "mpengine.processes.zygote"
                process = Spawned("zygote", settings, inherit_fd=theirs.fileno(), module=module)
        except BaseException:
            ours.close()
            raise
        return cls(process, ours)

    @classmethod
    def adopted(cls, forked: "ForkedZygote") -> Self:
        """A zygote that was forked off this process. Raises OSError."""
        return cls(OwnChild(forked.pid, forked.writer), forked.socket)

    @property
    def pid(self) -> int:
        """The zygote's own pid."""
        return self._process.pid

    def fork(self, name: str, settings: ChildSettings, *, inherit_fd: int | None = None) -> ChildProcess:
        """Start the child `name`. Raises OSError when it cannot."""
        reader, writer = payload_pipe(name, msgspec.structs.replace(settings, parent_pid=self.pid))
        try:
            inherited = [] if inherit_fd is None else [inherit_fd]
            request = zygote_messages.encode(zygote_messages.Fork(name=name))
            self._socket.settimeout(_FORK_LIMIT_S)
            socket.send_fds(self._socket, [request], [reader, *inherited])
            return Forked(self, self._forked(name), writer)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)

    def listen(self) -> None:
        """Read all its messages. Notices its end, too."""
        while self.is_alive and self._hear(0.0) is not None:
            pass

    def end_of(self, pid: int) -> int | None:
        """The exit status of the child `pid`, which has ended; None if the zygote does not report it in time."""
        give_up = time.monotonic() + _END_LIMIT_S
        while self.is_alive and pid not in self._ended and self._hear(give_up) is not None:
            pass
        return self._ended.pop(pid, None)

    def close(self) -> None:
        """End it, and the children that it still has."""
        self.is_alive = False
        self._process.kill()
        self._process.wait(_END_LIMIT_S)
        self._socket.close()

    def _forked(self, name: str) -> int:
        answer = self._await(zygote_messages.Forked | zygote_messages.NotForked, _FORK_LIMIT_S)
        if isinstance(answer, zygote_messages.Forked):
            self._ended.pop(answer.pid, None)  # of an older child with the same pid
            return answer.pid
        raise NoRoom(f"no room for {name}: {answer.why}")

    def _await(self, kind: Any, limit_s: float) -> Any:
        """The next message of `kind`. Raises TimeoutError."""
        give_up = time.monotonic() + limit_s
        while (message := self._hear(give_up)) is not None:
            if isinstance(message, kind):
                return message
        raise TimeoutError(f"the zygote did not answer in {limit_s:g} s" if self.is_alive else "the zygote has ended")

    def _hear(self, give_up: float) -> zygote_messages.Told | None:
        """Its next message, until the time `give_up`; None without one, and at its end."""
        self._socket.settimeout(max(0.0, give_up - time.monotonic()))
        try:
            data = self._socket.recv(zygote_messages.MAX_BYTES)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError:
            data = b""
        if not data:
            self.is_alive = False
            return None
        message = zygote_messages.decode_told.decode(data)
        if isinstance(message, zygote_messages.Ended):
            self._ended[message.pid] = message.status
        return message


class Forked(ChildProcess):
    """A child that the zygote forked. Its pidfd shows that it has ended; the zygote reports its exit status."""

    def __init__(self, zygote: Zygote, pid: int, writer: int) -> None:
        self._zygote = zygote
        self._writer = writer
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._pidfd = -1
        else:
            self._end = select.poll()
            self._end.register(self._pidfd, select.POLLIN)

    def fileno(self) -> int | None:
        """See ChildProcess."""
        return self._pidfd if self._pidfd >= 0 else None

    def reap(self) -> int | None:
        """See ChildProcess."""
        if not self._poll(0):
            return None
        status = self._zygote.end_of(self.pid)
        self._close()
        # Without a report, the child ended with its zygote.
        return -signal.SIGKILL if status is None else status

    def wait(self, limit_s: float) -> None:
        """See ChildProcess."""
        self._poll(int(limit_s * 1000))
        self._close()

    def _poll(self, timeout_ms: int) -> bool:
        """Whether it has ended, after a wait of at most so long."""
        if self._pidfd < 0:
            return True
        return bool(self._end.poll(timeout_ms))

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _close(self) -> None:
        """Close its descriptors. It cannot be signalled any more: other files may get their numbers."""
        for descriptor in (self._writer, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._writer = self._pidfd = -1
