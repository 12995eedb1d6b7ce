"""The zygote: a process from which the supervisor has its children forked.

A fork takes a few milliseconds, a new interpreter a hundred. The zygote has loaded only the modules that all children
use (pyzmq, msgspec, `mpengine.shared`); each child loads its other modules itself. The zygote has no threads and no
ZeroMQ sockets: a fork copies locks, but not the threads that hold them.

The zygote is a new interpreter, or is `fork`ed from the process that becomes the supervisor, before that loads more.
Then both share that memory, too.

As the parent of the children, the zygote learns how they end, and reports it to the supervisor. It dies with the
supervisor, and the children die with it.
"""

import atexit
import fcntl
import importlib
import ipaddress  # noqa: F401  for the children: most of them use it
import os
import select
import signal
import socket
import sys
import threading
from typing import NamedTuple, NoReturn

from mpengine.processes import beginning, proc_title, tricks, zygote_messages
from mpengine.processes.tricks import Trick
from mpengine.shared.wake import Wake

# Loaded for the children, which all use them.
for _name in ("processes.loop", "shared.config_tables", "shared.frames", "shared.logs", "shared.loopback"):
    importlib.import_module(f"mpengine.{_name}")

# The zygote ends when the supervisor does not read its messages for so long.
_SEND_LIMIT_S = 5.0
# systemd's variables for the supervisor alone.
_FOR_SUPERVISOR = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_FIRST_FREE_FD = 10


class ForkedZygote(NamedTuple):
    """A zygote forked from this process: its pid, our end of its socket, and the write end of its parent's pipe."""

    pid: int
    socket: socket.socket
    writer: int


def fork() -> ForkedZygote:
    """Fork a zygote from this process, which must have no other thread. Returns in this process only.

    The environment, also that in /proc/PID/environ, must hold nothing that is not for children. Raises OSError.
    """
    # The system libraries of macOS do not work after a fork.
    if sys.platform != "linux" or not tricks.is_used(Trick.ZYGOTE):
        raise OSError("no fork here")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    # A terminal's Ctrl-C is for the supervisor alone: block it until the zygote ignores it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        os.write(writer, beginning.payload(beginning.Parent(parent_pid=os.getpid())))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # otherwise both processes would write the buffered text
        tricks.settle()
        pid = os.fork()
        if pid == 0:
            _be_forked(reader, theirs.fileno(), not_ours=(ours.fileno(), writer))
    except BaseException:
        ours.close()
        os.close(writer)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        os.close(reader)
    return ForkedZygote(pid, ours, writer)


def _be_forked(pipe: int, listener: int, *, not_ours: tuple[int, int]) -> NoReturn:
    """In the forked process: be the zygote, and end. Never returns."""
    code: object = 1
    try:
        os.setpgid(0, 0)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD) for fd in (pipe, listener)]
        for fd in (pipe, listener, *not_ours):
            os.close(fd)
        for fd, place in zip(high, (beginning.PIPE_FD, beginning.LISTENER_FD), strict=True):
            os.dup2(fd, place, inheritable=False)
            os.close(fd)
        for name in _FOR_SUPERVISOR:
            os.environ.pop(name, None)
        proc_title.hide(_FOR_SUPERVISOR)
        proc_title.show_as("mpengine.processes.zygote")
        beginning.receive(beginning.Parent, "zygote")
        _work()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  this process has no caller
        sys.excepthook(*sys.exc_info())
    finally:
        _end(code)


def _end(code: object) -> NoReturn:
    """End like an interpreter, but without returning: the stack above belongs to the parent."""
    try:
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.current_thread():
                thread.join()
        atexit._run_exitfuncs()  # noqa: SLF001  no public function does only this
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1 if code else 0)


def serve(supervisor: socket.socket) -> str:
    """Fork the children, report their ends. Returns only in a child, with its name."""
    wake = Wake()
    signal.set_wakeup_fd(wake.signal_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # SIGTERM to all processes of a session is meant for the supervisor. The zygote ends after it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervisor.settimeout(_SEND_LIMIT_S)
    poll = select.poll()
    poll.register(supervisor, select.POLLIN)
    poll.register(wake, select.POLLIN)
    _tell(supervisor, zygote_messages.Ready())
    while True:
        ready = {fd for fd, _ in poll.poll()}
        wake.drain()
        _tell_ended(supervisor)
        if supervisor.fileno() not in ready:
            continue
        name, descriptors = _asked(supervisor)
        # The zygote ignores SIGTERM, and at first so does a new child. One that comes meanwhile waits until the child
        # does so no longer.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            pid = os.fork()
        except OSError as error:
            _tell(supervisor, zygote_messages.NotForked(why=error.strerror or str(error)))
        else:
            if pid == 0:
                supervisor.close()
                wake.close()
                _become_child(descriptors)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                proc_title.show_as(f"mpengine.{name}")
                return name
            _tell(supervisor, zygote_messages.Forked(pid=pid))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in descriptors:
            os.close(descriptor)


def _asked(supervisor: socket.socket) -> tuple[str, list[int]]:
    """The name of the child to fork, and its descriptors. Ends the process if the supervisor has ended."""
    try:
        limits = zygote_messages.MAX_BYTES, zygote_messages.MAX_DESCRIPTORS
        data, descriptors, _, _ = socket.recv_fds(supervisor, *limits)
    except ConnectionResetError:  # the supervisor ended with messages unread
        data = b""
    if not data:
        os._exit(0)
    return zygote_messages.decode_fork.decode(data).name, descriptors


def _become_child(descriptors: list[int]) -> None:
    """In a child: restore signals, make a process group, and move the descriptors to their numbers."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    for descriptor, place in zip(descriptors, (beginning.PIPE_FD, beginning.LISTENER_FD), strict=False):
        os.dup2(descriptor, place)
    for descriptor in descriptors:
        if descriptor not in {beginning.PIPE_FD, beginning.LISTENER_FD}:
            os.close(descriptor)


def _tell_ended(supervisor: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(supervisor, zygote_messages.Ended(pid=pid, status=os.waitstatus_to_exitcode(status)))


def _tell(supervisor: socket.socket, message: zygote_messages.Told) -> None:
    try:
        supervisor.send(zygote_messages.encode(message))
    except OSError:  # the supervisor has ended, or does not read: then the children must end, too
        os._exit(1)


def _work() -> None:
    """Be the zygote. A forked child goes on from here."""
    name = serve(socket.socket(fileno=beginning.LISTENER_FD))
    importlib.import_module(f"mpengine.{name}.__main__").main()


def main() -> None:
    """Be a zygote in a new interpreter."""
    beginning.receive(beginning.Parent, "zygote")
    tricks.settle()
    _work()


if __name__ == "__main__":
    main()
