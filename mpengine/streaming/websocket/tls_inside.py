"""TLS inside of TLS: the way to a server through a proxy that speaks TLS itself.

`ssl` can put TLS on a plain socket only. So the inner TLS object works on buffers here, and the outer socket carries
what is in them. It is no more thread-safe than any TLS object: LockedSocket calls one method at a time.
"""

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

_PIECE_BYTES = 1 << 16


class TlsInside:
    """TLS to `server_hostname` over `outer`, a non-blocking TLS socket; behaves like such a socket itself.

    Each method raises ssl.SSLWantReadError or ssl.SSLWantWriteError where the descriptor is not ready, and must then be
    called again with the same arguments.
    """

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, server_hostname: str) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._unsent = b""  # taken from `_outgoing`
        self._taken: int | None = None  # bytes of a `send` that are encrypted, but not all gone

    def do_handshake(self) -> None:
        """Begin TLS."""
        self._work(self._inner.do_handshake)
        self._flush()

    def getpeercert(self) -> dict[str, Any] | None:
        """The certificate of `server_hostname`, as `ssl` gives it."""
        return self._inner.getpeercert()

    def version(self) -> str | None:
        """The version of the inner TLS."""
        return self._inner.version()

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end of the stream."""
        try:
            return self._work(self._inner.read, size)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def send(self, data: bytes | memoryview) -> int:
        """Send bytes; returns how many went out."""
        if self._taken is None:
            self._taken = self._work(self._inner.write, data)
        self._flush()
        taken, self._taken = self._taken, None
        return taken

    def _work(self, step: Callable[..., Result], *arguments: object) -> Result:
        """Repeat `step` until it lacks no input."""
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                data = self._outer.recv(_PIECE_BYTES)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._outer.send(self._unsent) :]
