"""The supervisor's end of the control channel, and who speaks on it.

An identity is ``NAME.BOOT-N`` and never used again: with one identity for all its lives, a successor may stay deaf.
The supervisor's main thread owns the socket.
"""

import logging

import zmq

from mpengine.shared import control, sockets
from mpengine.shared.logs import Event
from mpengine.shared.messages import UNREADABLE
from mpengine.supervisor.decide.actions import Child

log = logging.getLogger("mpengine.supervisor")

_QUEUED_MESSAGES = 20_000
_READABLE, _AT_ONCE = int(zmq.POLLIN), int(zmq.NOBLOCK)


class ChildChannel:
    """Hears the living incarnation of each child, and speaks to it."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, boot: str) -> None:
        self.socket = sockets.make(context, zmq.ROUTER, receive_hwm=_QUEUED_MESSAGES)
        # A message to somebody who is not there (any more) is an error, not silence.
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        sockets.bind(self.socket, endpoint)
        self._boot = boot
        self._incarnations = 0
        self._living: dict[bytes, Child] = {}

    def new_identity(self, child: Child) -> str:
        """The identity of the incarnation of `child` that is about to be spawned; only it is heard from now on."""
        self.forget(child)
        self._incarnations += 1
        identity = f"{child}.{self._boot}-{self._incarnations}"
        self._living[identity.encode()] = child
        return identity

    def forget(self, child: Child) -> None:
        """The incarnation of `child` is gone."""
        self._living = {identity: other for identity, other in self._living.items() if other is not child}

    def hear(self) -> list[tuple[Child, control.Up]]:
        """What waits, in order."""
        heard = []
        for _ in range(_QUEUED_MESSAGES):
            # What the loop has just called is quicker to call again than `sockets.receive_all`.
            if not zmq.zmq_poll([(self.socket, _READABLE)], 0):
                break
            identity = self.socket.recv(_AT_ONCE)
            part = self.socket.recv(_AT_ONCE, copy=False)
            while part.more:
                part = self.socket.recv(_AT_ONCE, copy=False)
            child = self._living.get(identity)
            if child is None:
                continue
            try:
                heard.append((child, control.decode_up.decode(part.buffer)))
            except UNREADABLE as error:
                log.warning(Event("malformed_control_message", child=child, why=error))
        return heard

    def tell(self, child: Child, message: control.Down) -> None:
        """Speak to `child`, if it is there."""
        self._send(child, control.encode(message))

    def may_have_more(self, child: Child) -> bool:
        """Whether there may be more to hear of a dead `child`: libzmq forgets it once all of it was handed out."""
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
