"""ZeroMQ sockets with all bounds set: high-water marks, linger, message size, reconnect interval.

A socket belongs to the thread that made it.
"""

import os
import socket as pysocket
import stat
from collections.abc import Sequence

import zmq

from mpengine.shared.errors import MpengineError

# The limit for messages of recognisers and for commands. On our own sockets a message is larger, because words gain
# fields; there the limit is far above all real ones: libzmq drops a peer for good after a message over it.
MAX_MESSAGE_BYTES = 1 << 20
_MAX_OWN_BYTES = 16 << 20
# libzmq's default of 100 ms would be most of the time of a restart. The interval must be set before connect.
_RECONNECT_MS = 5
_RECONNECT_MAX_MS = 250
# Plain numbers: zmq's own constants are enumeration members, whose `&` runs Python code.
_EVENTS, _READABLE = int(zmq.EVENTS), int(zmq.POLLIN)
_AT_ONCE, _MORE_AT_ONCE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)


def make(
    context: "zmq.Context[zmq.Socket[bytes]]",
    kind: int,
    *,
    send_hwm: int = 1000,
    receive_hwm: int = 1000,
    linger_ms: int = 0,
    identity: str | None = None,
    max_bytes: int = _MAX_OWN_BYTES,
) -> "zmq.Socket[bytes]":
    """A new socket of `kind` with its options set, not connected yet."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, send_hwm)
    socket.setsockopt(zmq.RCVHWM, receive_hwm)
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.setsockopt(zmq.MAXMSGSIZE, max_bytes)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
    if identity is not None:
        socket.setsockopt(zmq.IDENTITY, identity.encode())
    return socket


def bind(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Bind `socket`. Raises MpengineError with the endpoint and the reason.

    libzmq removes whatever stands at the path of an ipc endpoint. So the path must be free, or have a socket at which
    nobody answers. A second bind of the same socket is right where its path has vanished: connections go on. (To unbind
    first would end all of them.)
    """
    path = path_of(endpoint)
    if path is not None and (owner := _owner(path)):
        raise MpengineError(f"cannot listen on {endpoint}: {owner}")
    prepare(socket, endpoint)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise MpengineError(f"cannot listen on {endpoint}: {os.strerror(error.errno or 0)}") from None


def prepare(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Have `socket` take an IPv6 address, if `endpoint` has one. To be called before bind and connect.

    For all endpoints the option would be wrong: a host name with both kinds of addresses is tried at one of them only.
    """
    if endpoint.startswith("tcp://["):
        socket.setsockopt(zmq.IPV6, 1)


def path_of(endpoint: str) -> str | None:
    """The path of an ipc endpoint; None of others."""
    scheme, _, path = endpoint.partition("://")
    return path if scheme == "ipc" and not path.startswith("@") else None


def _owner(path: str) -> str:
    """Why `path` must not be taken for a socket, in words; empty if it may."""
    try:
        found = os.lstat(path)
    except OSError:  # there is none; or bind says why not
        return ""
    if not stat.S_ISSOCK(found.st_mode):
        return "there is something else than a socket; name another path, or remove it"
    with pysocket.socket(pysocket.AF_UNIX, pysocket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # somebody listens, and has many callers
            pass
        except OSError:
            return ""
    return "another program listens there; name another path, or stop that program"


def receive_all(socket: "zmq.Socket[bytes]", limit: int = 1000) -> list[list[bytes]]:
    """The messages that wait on `socket`, at most `limit`, each as its parts. Never blocks."""
    waiting: list[list[bytes]] = []
    while len(waiting) < limit and is_readable(socket):
        waiting.append(socket.recv_multipart(_AT_ONCE))
    return waiting


def is_readable(socket: "zmq.Socket[bytes]") -> bool:
    """Whether a message waits. This is much cheaper than to receive and to catch the exception `zmq.Again`."""
    events = socket.getsockopt(_EVENTS)
    assert isinstance(events, int)
    return bool(events & _READABLE)


def try_send(socket: "zmq.Socket[bytes]", parts: Sequence[bytes]) -> bool:
    """Send without blocking; False when the peer is gone or its queue is full."""
    try:
        for part in parts[:-1]:
            socket.send(part, _MORE_AT_ONCE)
        socket.send(parts[-1], _AT_ONCE)
    except zmq.ZMQError as error:
        if error.errno in {zmq.EAGAIN, zmq.EHOSTUNREACH}:
            return False
        raise
    return True
