"""The supervisor's end of the control channel. The supervisor's main thread owns the socket.

Each process of a child has its own identity ``NAME.TOKEN``: under one that was used before, it might stay deaf. The
token is random, and only the child is told it: who knew the identity of the next process could take its place.
The socket is guarded: an `Authenticator` of the same context says who may connect.
"""

import functools
import logging
import os

import zmq

from mpengine.shared import control, doorkeeper, sockets
from mpengine.shared.doorkeeper import Doorkeeper
from mpengine.shared.logs import Event
from mpengine.shared.messages import UNREADABLE
from mpengine.supervisor.decide.actions import Child

log = logging.getLogger("mpengine.supervisor")

# Of each child so many messages wait in this process, and the rest in the child. The longest has about 300 kB.
_QUEUED_MESSAGES = 100
# What one turn takes: with more, questions and signals would wait too long. A final of 100 kB takes some 20 ms.
_MESSAGES_AT_ONCE, _BYTES_AT_ONCE = 1000, 512 << 10
# Three children, and those of a moment ago.
_MOST_CONNECTIONS = 32
_TOKEN_BYTES = 16
_READABLE, _AT_ONCE = int(zmq.POLLIN), int(zmq.NOBLOCK)


class ChildChannel:
    """Receives the messages of the living process of each child, and sends messages to it."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, doors: Doorkeeper | None = None
    ) -> None:
        """`doors` ends connections of other processes than children."""
        self.socket = sockets.make(context, zmq.ROUTER, receive_hwm=_QUEUED_MESSAGES)
        # Sending to a child that is not connected (any more) is an error, not silence.
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        sockets.make_public(self.socket)
        sockets.guard(self.socket)
        if doors is not None:
            is_ours = functools.partial(doorkeeper.is_of_engine, supervisor_pid=os.getpid())
            doors.watch(self.socket, endpoint, _MOST_CONNECTIONS, is_ours=is_ours)
        sockets.bind(self.socket, endpoint)
        self._living: dict[bytes, Child] = {}

    def new_identity(self, child: Child) -> str:
        """An identity for the next process of `child`. From now on, no earlier process of it is heard."""
        self.forget(child)
        identity = f"{child}.{os.urandom(_TOKEN_BYTES).hex()}"
        self._living[identity.encode()] = child
        return identity

    def forget(self, child: Child) -> None:
        """The process of `child` is gone."""
        self._living = {identity: other for identity, other in self._living.items() if other is not child}

    def hear(self) -> list[tuple[Child, control.Up]]:
        """The messages that wait, in order, as many as one turn may take."""
        heard: list[tuple[Child, control.Up]] = []
        size = 0
        for _ in range(_MESSAGES_AT_ONCE):
            if size > _BYTES_AT_ONCE:
                break
            # These calls are warm from the loop's own poll, and so faster than `sockets.receive_all`.
            if not zmq.zmq_poll([(self.socket, _READABLE)], 0):
                break
            identity = self.socket.recv(_AT_ONCE)
            part = self.socket.recv(_AT_ONCE, copy=False)
            while part.more:
                part = self.socket.recv(_AT_ONCE, copy=False)
            size += len(part.buffer)
            child = self._living.get(identity)
            if child is None:
                continue
            try:
                heard.append((child, control.decode_up.decode(part.buffer)))
            except UNREADABLE as error:
                log.warning(Event("malformed_control_message", child=child, why=error))
        return heard

    def send(self, child: Child, message: control.Down) -> None:
        """Send `message` to `child`, if it is connected."""
        self._send(child, control.encode(message))

    def may_have_more(self, child: Child) -> bool:
        """Whether messages of a dead `child` may still come: libzmq forgets it after the last one."""
        return self._send(child, b"") and self.socket.poll(1) >= 0

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)

    def _send(self, child: Child, data: bytes) -> bool:
        return any(
            sockets.try_send(self.socket, [identity, data])
            for identity, other in self._living.items()
            if other is child
        )
