"""ZeroMQ sockets with all bounds set: high-water marks, linger, message size, reconnect interval.

A socket belongs to the thread that made it.
"""

import os
import socket as pysocket
import stat
from collections.abc import Sequence

import zmq

from mpengine.shared.errors import MpengineError

# The limit on our own sockets is far above all real messages: libzmq drops a peer for good after a message over it.
_MAX_OWN_BYTES = 16 << 20
# So much is taken from a socket in one turn, and some more by the last message.
_BYTES_AT_ONCE = 4 << 20
# What is in the way to an endpoint that other programs use. Some wait to be accepted; who never says hello is dropped,
# and so is a tcp peer that is gone without a word.
_BACKLOG = 16
_HANDSHAKE_MS = 10_000
_IDLE_S, _PROBE_S, _PROBES = 60, 15, 4
# libzmq's default of 100 ms would be most of the time of a restart. The interval must be set before connect.
_RECONNECT_MS = 5
_RECONNECT_MAX_MS = 250
# Plain numbers: zmq's own constants are enumeration members, whose `&` runs Python code.
_EVENTS, _READABLE, _HAS_MORE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.RCVMORE)
_AT_ONCE, _MORE_AT_ONCE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)

GUARDED = b"guarded"
"""The domain of all guarded sockets: libzmq names it when it asks about a client."""


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


def make_public(socket: "zmq.Socket[bytes]") -> None:
    """Prepare a new socket for an endpoint that other programs connect to."""
    socket.setsockopt(zmq.BACKLOG, _BACKLOG)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _PROBE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _PROBES)


def guard(socket: "zmq.Socket[bytes]") -> None:
    """Have libzmq ask the authenticator of the same context, if there is one, who may connect to `socket`."""
    socket.setsockopt(zmq.ZAP_DOMAIN, GUARDED)


def pid_of(address: str) -> int:
    """The process of a peer of an ipc endpoint, by its address in libzmq's words; 0 if it is another peer."""
    pid = address.rpartition(":")[2]
    return int(pid) if address.startswith("localhost:") and pid.isdecimal() else 0


def path_of(endpoint: str) -> str | None:
    """The path of an ipc endpoint; None of others."""
    scheme, _, path = endpoint.partition("://")
    return path if scheme == "ipc" and not path.startswith("@") else None


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


def receive_all(socket: "zmq.Socket[bytes]", limit: int = 1000, most_parts: int = 0) -> list[list[bytes]]:
    """The messages that wait on `socket`, each as its parts: at most `limit`, and 4 MB. Never blocks.

    `most_parts`: of a message with more parts nothing is kept, and an empty list stands for it. 0: there is no limit.
    """
    waiting: list[list[bytes]] = []
    size = 0
    while len(waiting) < limit and size < _BYTES_AT_ONCE and is_readable(socket):
        parts = [socket.recv(_AT_ONCE)]
        size += len(parts[0])
        while socket.getsockopt(_HAS_MORE):
            part = socket.recv(_AT_ONCE)
            size += len(part)
            parts.append(part)
            if most_parts and len(parts) > most_parts:
                parts.pop()
                while socket.getsockopt(_HAS_MORE):
                    size += len(socket.recv(_AT_ONCE, copy=False))
                parts.clear()
        waiting.append(parts)
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
