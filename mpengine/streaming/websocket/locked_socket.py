"""A socket for two threads, one that reads and one that writes, never both inside its TLS object.

An OpenSSL connection is not safe for two threads, and Python's `ssl` does not make it safe: a `recv` and a `send` at
the same time crash, end the stream or deadlock, depending on the version, and only under load. Therefore the socket is
non-blocking, each step inside it happens under a lock, and threads wait for readiness outside that lock.

Who owns what:

* `_turn` (lock): held around each single read, write or handshake step. None of them blocks.
* `_life` (lock): guards `_inside`, `_ended`, `_closing`, and changes of the descriptor: `shutdown`, `close`, and the
  moment when TLS takes it over. Held for a system call at most, and never while a thread waits for `_turn`. Re-entrant:
  a signal handler may call `shutdown` in a thread that holds it.
* the descriptor: `close` only asks for its end. The last thread to leave closes it, so that no thread ever polls a
  number that has become another file in the meantime.

`shutdown` ends the waiting of every thread. It may be called from any thread or signal handler. Its effect stays on the
descriptor, so that no thread can miss it. (`close` would wake no thread.)

The code that runs for every block of audio has no closures and no generators: a processor that was asleep is slow at
each of them.
"""

import contextlib
import errno
import math
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from mpengine.streaming.websocket.tls_inside import TlsInside

Result = TypeVar("Result")

# A wait with a deadline wakes so often. The supervisor takes a main thread that sleeps for longer to be blocked.
_LONGEST_SLEEP_S = 0.5


class LockedSocket:
    """A plain or TLS socket, connected or about to be."""

    def __init__(self, sock: socket.socket, *, send_timeout_s: float) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._stream: socket.socket | TlsInside = sock  # what reads and writes
        self._send_timeout_s = send_timeout_s
        self._turn = threading.Lock()
        self._life = threading.RLock()
        self._inside = 0  # threads in connect, start_tls, recv or send
        self._ended = False  # shutdown was called: every call ends
        self._closing = False  # close was called: the last thread to leave closes

    def connect(self, address: Any, *, deadline: float) -> None:
        """Connect to `address` before `deadline` (monotonic seconds), or raise OSError."""
        self._enter()
        try:
            with contextlib.suppress(BlockingIOError):  # in progress: poll waits for the result
                self._socket.connect(address)
            self._wait(select.POLLOUT, deadline)
            if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
        finally:
            self._leave()

    def start_tls(self, context: ssl.SSLContext, *, server_hostname: str, deadline: float) -> None:
        """Begin TLS on the connected socket before `deadline`, or raise OSError (ssl.SSLError is one).

        A second call begins TLS inside of the first one.
        """
        self._enter()
        try:
            secured: ssl.SSLSocket | TlsInside
            if isinstance(self._socket, ssl.SSLSocket):
                secured = TlsInside(self._socket, context, server_hostname)
            else:
                with self._life:  # no shutdown may happen while the descriptor changes hands
                    secured = self._socket = context.wrap_socket(
                        self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
                    )
            self._stream = secured
            self._until_done(select.POLLIN, deadline, secured.do_handshake)
        finally:
            self._leave()

    def peer_certificate(self) -> tuple[dict[str, Any], str] | None:
        """The peer's certificate, as `ssl` gives it, and the version of TLS; None without TLS."""
        secured = self._stream
        if not isinstance(secured, ssl.SSLSocket | TlsInside):
            return None
        with self._turn:
            return secured.getpeercert() or {}, secured.version() or ""

    def recv(self, size: int, *, deadline: float | None = None) -> bytes:
        """Wait for data and return up to `size` bytes; none at the end of the stream or after `shutdown`."""
        try:
            self._enter()
            try:
                return self._until_done(select.POLLIN, deadline, self._stream.recv, size)
            finally:
                self._leave()
        except BrokenPipeError:
            # OpenSSL 3.5 tries to answer a stream that ended without TLS's own end, and reports that this failed.
            return b""
        except OSError:
            if self._ended:
                return b""
            raise

    def send(self, data: bytes) -> int:
        """Send all of `data` within the send timeout, or raise OSError.

        A frame that was sent in part is not continued later: after a failure the connection is over, for the reading
        thread, too.
        """
        deadline = time.monotonic() + self._send_timeout_s
        rest = memoryview(data)
        try:
            self._enter()
            try:
                while rest:
                    rest = rest[self._until_done(select.POLLOUT, deadline, self._stream.send, rest) :]
            finally:
                self._leave()
        except OSError:
            self.shutdown()
            raise
        return len(data)

    def shutdown(self, _how: int = socket.SHUT_RDWR) -> None:
        """End every call of this object, present or future, from any thread. Never waits."""
        with self._life:
            self._ended = True
            # SSLSocket.shutdown would drop its TLS object, which another thread may be using, and later calls would
            # go on in plain text. The base class's method knows only the descriptor.
            with contextlib.suppress(OSError):  # never connected, reset by the peer, or closed
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Shut down, and close as soon as no thread is inside. Returns at once."""
        self.shutdown()
        with self._life:
            self._closing = True
            if not self._inside:
                self._socket.close()

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the socket."""
        self._socket.setsockopt(level, option, value)

    def fileno(self) -> int:
        """The descriptor, -1 after it was closed."""
        return self._socket.fileno()

    def _enter(self) -> None:
        """To be called before the descriptor is used; `_leave` must follow."""
        with self._life:
            if self._ended:
                raise _shut_down()
            self._inside += 1

    def _leave(self) -> None:
        with self._life:
            self._inside -= 1
            if self._closing and not self._inside:
                self._socket.close()

    def _until_done(
        self, blocked: int, deadline: float | None, step: Callable[..., Result], *arguments: object
    ) -> Result:
        """Repeat `step` until it needs no waiting. With TLS, both directions may wait for input or for room."""
        while True:
            try:
                with self._turn:
                    return step(*arguments)
            except ssl.SSLWantReadError:
                lacking = select.POLLIN
            except ssl.SSLWantWriteError:
                lacking = select.POLLOUT
            except BlockingIOError:  # from a plain socket
                lacking = blocked
            self._wait(lacking, deadline)

    def _wait(self, lacking: int, deadline: float | None) -> None:
        poller = select.poll()
        poller.register(self._socket, lacking)
        while True:
            left_s = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
            is_ready = poller.poll(None if deadline is None else min(left_s, _LONGEST_SLEEP_S) * 1000)
            if self._ended:
                raise _shut_down()
            if is_ready:
                return
            if left_s <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "timed out")


def _shut_down() -> OSError:
    return ConnectionAbortedError(errno.ECONNABORTED, "shut down")
