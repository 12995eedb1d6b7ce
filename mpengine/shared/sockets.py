"""ZeroMQ sockets with all bounds set: high-water marks, linger, message size, reconnect interval.

A socket belongs to the thread that made it.
"""

import os
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
    """Bind `socket`. Raises MpengineError with the endpoint and the reason."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise MpengineError(f"cannot listen on {endpoint}: {os.strerror(error.errno or 0)}") from None


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
