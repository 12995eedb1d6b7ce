"""The zygote: a process without threads and sockets of ZeroMQ, of which the supervisor has the children forked.

A fork takes a few milliseconds where a new interpreter takes a hundred. It has loaded what all children share (pyzmq,
msgspec, `mpengine.shared`) and no more: what only one of them needs, that one loads itself. It must never start a
thread: a fork copies locks, but not the threads that hold them.

As the children's parent it is the one that learns how they end, and tells the supervisor. It dies with the supervisor,
and they with it.
"""

import gc
import importlib
import os
import select
import signal
import socket

# Not used here, but by all children: loaded once.
import mpengine.shared.child
import mpengine.shared.config_tables
import mpengine.shared.frames
import mpengine.shared.logs  # noqa: F401
from mpengine.shared import boot, forks

# How long the supervisor may leave its end unread.
_SEND_LIMIT_S = 5.0


def serve(supervisor: socket.socket) -> str:
    """Fork what is asked for, tell who ended. Returns in each child, with its name; never here."""
    wake, wake_writer = socket.socketpair()
    for end in (wake, wake_writer):
        end.setblocking(False)
    signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Who ends all processes of a session means the engine; we go when the supervisor does.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervisor.settimeout(_SEND_LIMIT_S)
    # What is there now stays: no collection shall touch it, or it would be copied into every child.
    gc.collect()
    gc.freeze()
    poll = select.poll()
    poll.register(supervisor, select.POLLIN)
    poll.register(wake, select.POLLIN)
    _tell(supervisor, forks.Ready())
    while True:
        ready = {fd for fd, _ in poll.poll()}
        _empty(wake)
        _tell_ended(supervisor)
        if supervisor.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(supervisor, forks.MAX_BYTES, forks.MAX_DESCRIPTORS)
        if not data:
            os._exit(0)
        name = forks.decode_fork.decode(data).name
        try:
            pid = os.fork()
        except OSError as error:
            _tell(supervisor, forks.NotForked(why=error.strerror or str(error)))
        else:
            if pid == 0:
                for end in (supervisor, wake, wake_writer):
                    end.close()
                _become_child(descriptors)
                return name
            _tell(supervisor, forks.Forked(pid=pid))
        for descriptor in descriptors:
            os.close(descriptor)


def _become_child(descriptors: list[int]) -> None:
    """In a child: signals as they were, a process group of its own, and its descriptors where they belong."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    for descriptor, place in zip(descriptors, (boot.PIPE_FD, boot.LISTENER_FD), strict=False):
        os.dup2(descriptor, place)
    for descriptor in descriptors:
        if descriptor not in {boot.PIPE_FD, boot.LISTENER_FD}:
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


def _empty(wake: socket.socket) -> None:
    try:
        while wake.recv(64):
            pass
    except BlockingIOError:
        pass


def main() -> None:
    """Be the zygote, and in the end one of the children."""
    boot.receive(boot.Parent, "zygote")
    name = serve(socket.socket(fileno=boot.LISTENER_FD))
    importlib.import_module(f"mpengine.{name}.__main__").main()


if __name__ == "__main__":
    main()
