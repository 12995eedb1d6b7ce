"""Who may connect: libzmq asks here before it lets a client in (ZAP, RFC 27 of ZeroMQ).

The supervisor's main thread owns the socket. libzmq asks through it in each handshake of a CURVE socket of the same
context, and of a socket that is guarded (`sockets.guard`); the client waits for the answer. Other sockets do not ask.

A guarded socket lets in the engine's own processes alone. A doorkeeper ends connections of strangers as well, but some
say their identity first. libzmq (4.3.5) never frees a connection that came with the identity of another one: each costs
36 kB. (With ROUTER_HANDOVER it costs a descriptor, too.)
"""

import logging
import struct
from collections.abc import Callable, Iterable

import zmq
from zmq.utils import z85

from mpengine.shared import sockets
from mpengine.shared.errors import ConfigError
from mpengine.shared.logs import Event

log = logging.getLogger("mpengine.supervisor")

_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_MOST_BYTES = 1024
_MOST_WAITING = 1000
_AT_ONCE = 50
_KEY_BYTES = 32
_BETWEEN_LINES_S = 60.0
# Each part of a request has its place: version, request, domain, address, identity, mechanism, and with CURVE the key.
_LEAST_PARTS = 6


class Authenticator:
    """Lets in clients with CURVE: those with a listed key, or all without a list. At guarded sockets, who `is_ours`."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        keys: Iterable[str] = (),
        *,
        is_ours: Callable[[int], bool] = lambda _pid: False,
    ) -> None:
        """To be made before a socket with CURVE, or a guarded one, is bound. `keys` are in Z85.

        `is_ours` says of a process, by its pid, whether it may connect to guarded sockets. Raises ConfigError for an
        invalid key.
        """
        self._keys = frozenset(map(_decoded, keys))
        self._is_ours = is_ours
        self._refused = 0  # since the last line of the log
        self._next_line_at = 0.0
        self.socket = sockets.make(context, zmq.ROUTER, receive_hwm=_MOST_WAITING, max_bytes=_MOST_BYTES)
        sockets.bind(self.socket, _ENDPOINT)

    def answer(self, now: float) -> None:
        """Answer what libzmq asks, a bounded number at once."""
        for parts in sockets.receive_all(self.socket, limit=_AT_ONCE):
            begin = parts.index(b"") + 1 if b"" in parts else 0
            envelope, request = parts[:begin], parts[begin:]
            if len(request) < _LEAST_PARTS or request[0] != _VERSION:
                continue
            _, number, domain, address, _, mechanism, *keys = request
            key = keys[0] if keys else b""
            if domain == sockets.GUARDED:
                pid = sockets.pid_of(address.decode("ascii", "replace"))
                may_come, why_not = not pid or self._is_ours(pid), b"only the engine's own processes"
            else:
                may_come = mechanism == b"CURVE" and (not self._keys or key in self._keys)
                why_not = b"this key is not in bus.curve_clients"
            status = [b"200", b"OK"] if may_come else [b"400", why_not]
            sockets.try_send(self.socket, [*envelope, _VERSION, number, *status, b"", b""])
            if not may_come and domain != sockets.GUARDED:  # of strangers there, the doorkeeper tells
                self._tell(address, key, now)

    def close(self) -> None:
        """Close the socket. Nobody is let in any more."""
        self.socket.close(linger=0)

    def _tell(self, address: bytes, key: bytes, now: float) -> None:
        """Log who was refused; of many, the last one in each minute."""
        self._refused += 1
        if now < self._next_line_at:
            return
        where = address.decode("ascii", "replace")
        log.warning(Event("client_refused", address=where, public_key=_encoded(key), refused=self._refused))
        self._next_line_at, self._refused = now + _BETWEEN_LINES_S, 0


def _decoded(key: str) -> bytes:
    try:
        decoded = z85.decode(key)
    except (KeyError, ValueError, struct.error):  # five characters may stand for more than 32 bits
        decoded = b""
    if len(decoded) != _KEY_BYTES:
        raise ConfigError("bus.curve_clients", "expected public CURVE keys of 40 characters (Z85)")
    return decoded


def _encoded(key: bytes) -> str:
    return z85.encode(key).decode("ascii") if key and len(key) % 4 == 0 else ""
