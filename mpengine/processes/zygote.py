"""The zygote: a process without threads and sockets of ZeroMQ, of which the supervisor has the children forked.

A fork takes a few milliseconds where a new interpreter takes a hundred. It has loaded what all children share (pyzmq,
msgspec, `mpengine.shared`) and no more: what only one of them needs, that one loads itself. It must never start a
thread: a fork copies locks, but not the threads that hold them.

The zygote itself is an interpreter of its own, or `fork`ed off a process that is going to be the supervisor and has
loaded nothing else so far: then both share that memory, too.

As the children's parent it is the one that learns how they end, and tells the supervisor. It dies with the supervisor,
and they with it.
"""

import atexit
import fcntl
import importlib
import ipaddress  # noqa: F401  not used here, but by most children: loaded once
import os
import select
import signal
import socket
import sys
import threading
from typing import NamedTuple, NoReturn

from mpengine.processes import beginning, forks, proc_title, tricks
from mpengine.processes.tricks import Trick
from mpengine.shared.wake import Wake

# All children use these: the zygote loads them once.
for _name in ("processes.loop", "shared.config_tables", "shared.frames", "shared.logs", "shared.loopback"):
    importlib.import_module(f"mpengine.{_name}")

# How long the supervisor may leave its end unread.
_SEND_LIMIT_S = 5.0
# What systemd tells the supervisor, and no other process.
_FOR_SUPERVISOR = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_FIRST_FREE_FD = 10


class ForkedZygote(NamedTuple):
    """A zygote that was forked off this process: its pid, our end of its socket, and the pipe that keeps it alive."""

    pid: int
    socket: socket.socket
    writer: int


def fork() -> ForkedZygote:
    """Fork a zygote off this process, which must have no other thread. Returns here only, never in the zygote.

    Nothing may be in the environment, nor in /proc/PID/environ, that is not for children. Raises OSError.
    """
    # The system libraries of macOS do not survive it.
    if sys.platform != "linux" or not tricks.is_used(Trick.ZYGOTE):
        raise OSError("no fork here")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    # Until the zygote ignores it: a terminal's Ctrl-C is for the supervisor alone.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        os.write(writer, beginning.payload(beginning.Parent(parent_pid=os.getpid())))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or both would write what waits
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
    """In the zygote that was forked: what one in a new interpreter does. Whatever happens, it does not return."""
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
    except BaseException:  # noqa: BLE001  there is nobody to whom it could be raised
        sys.excepthook(*sys.exc_info())
    finally:
        _end(code)


def _end(code: object) -> NoReturn:
    """End as interpreters do, but here: further up the stack is what the parent does when it ends."""
    try:
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.current_thread():
                thread.join()
        atexit._run_exitfuncs()  # noqa: SLF001  no other way to end as exit handlers expect it, and nothing else
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1 if code else 0)


def serve(supervisor: socket.socket) -> str:
    """Fork what is asked for, tell who ended. Returns in each child, with its name; never here."""
    wake = Wake()
    signal.set_wakeup_fd(wake.signal_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Who ends all processes of a session means the engine; we go when the supervisor does.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervisor.settimeout(_SEND_LIMIT_S)
    poll = select.poll()
    poll.register(supervisor, select.POLLIN)
    poll.register(wake, select.POLLIN)
    _tell(supervisor, forks.Ready())
    while True:
        ready = {fd for fd, _ in poll.poll()}
        wake.drain()
        _tell_ended(supervisor)
        if supervisor.fileno() not in ready:
            continue
        name, descriptors = _asked(supervisor)
        try:
            pid = os.fork()
        except OSError as error:
            _tell(supervisor, forks.NotForked(why=error.strerror or str(error)))
        else:
            if pid == 0:
                supervisor.close()
                wake.close()
                _become_child(descriptors)
                proc_title.show_as(f"mpengine.{name}")
                return name
            _tell(supervisor, forks.Forked(pid=pid))
        for descriptor in descriptors:
            os.close(descriptor)


def _asked(supervisor: socket.socket) -> tuple[str, list[int]]:
    """Which child to fork, and its descriptors. Ends the process when the supervisor is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(supervisor, forks.MAX_BYTES, forks.MAX_DESCRIPTORS)
    except ConnectionResetError:  # it went without having read what it was told
        data = b""
    if not data:
        os._exit(0)
    return forks.decode_fork.decode(data).name, descriptors


def _become_child(descriptors: list[int]) -> None:
    """In a child: signals as they were, a process group of its own, and its descriptors where they belong."""
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
        _tell(supervisor, forks.Ended(pid=pid, status=os.waitstatus_to_exitcode(status)))


def _tell(supervisor: socket.socket, message: forks.Told) -> None:
    try:
        supervisor.send(forks.encode(message))
    except OSError:  # it is gone, or does not read: who cannot tell how its children are must not keep them
        os._exit(1)


def _work() -> None:
    """Be the zygote, and in the end one of the children."""
    name = serve(socket.socket(fileno=beginning.LISTENER_FD))
    importlib.import_module(f"mpengine.{name}.__main__").main()


def main() -> None:
    """Be a zygote in a new interpreter."""
    beginning.receive(beginning.Parent, "zygote")
    tricks.settle()
    _work()


if __name__ == "__main__":
    main()
