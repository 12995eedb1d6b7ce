"""Who may connect with CURVE: libzmq asks here before it lets a client in (ZAP, RFC 27 of ZeroMQ).

The supervisor's main thread owns the socket. libzmq asks through it in each handshake of a CURVE socket of the same
context, and the client waits for the answer; sockets without CURVE do not ask.
"""

import logging
import struct
from collections.abc import Iterable

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
# Each part of a request has its place: version, request, domain, address, identity, mechanism, key.
_REQUEST_PARTS = 7


class Authenticator:
    """Lets in the clients whose public keys are listed."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keys: Iterable[str]) -> None:
        """To be made before a socket with CURVE is bound. `keys` are in Z85. Raises ConfigError for an invalid one."""
        self._keys = frozenset(map(_decoded, keys))
        self._refused = 0  # since the last line of the log
        self._next_line_at = 0.0
        self.socket = sockets.make(context, zmq.ROUTER, receive_hwm=_MOST_WAITING, max_bytes=_MOST_BYTES)
        sockets.bind(self.socket, _ENDPOINT)

    def answer(self, now: float) -> None:
        """Answer what libzmq asks, a bounded number at once."""
        for parts in sockets.receive_all(self.socket, limit=_AT_ONCE):
            begin = parts.index(b"") + 1 if b"" in parts else 0
            envelope, request = parts[:begin], parts[begin:]
            if len(request) != _REQUEST_PARTS or request[0] != _VERSION:
                continue
            _, number, _, address, _, mechanism, key = request
            is_known = mechanism == b"CURVE" and key in self._keys
            status = [b"200", b"OK"] if is_known else [b"400", b"this key is not in bus.curve_clients"]
            sockets.try_send(self.socket, [*envelope, _VERSION, number, *status, b"", b""])
            if not is_known:
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
