"""A socket for two threads, one reading and one writing, never both inside its TLS object.

An OpenSSL connection is no object for two threads, and Python's `ssl` does not make it one: a `recv` and a
`send` that overlap crash, end the stream or deadlock, depending on the version, and only under load. So the
socket is non-blocking, each step inside it is taken under a lock, and readiness is awaited outside that lock.

Who owns what:

* `_turn` (lock): held around each single read, write or handshake step. None of them blocks.
* `_life` (lock): guards `_inside`, `_ended`, `_closing` and the descriptor's fate: `shutdown`, `close`, and
  the moment TLS takes it over. Held for a system call at most, and never while `_turn` is awaited. Re-entrant:
  a signal handler may call `shutdown` in a thread that holds it.
* the descriptor: `close` only asks. Whoever leaves last closes it, so that no thread ever polls a number that
  has meanwhile become another file.

A thread that waits is ended by `shutdown`, from any thread or signal handler: the state stays on the descriptor,
so it cannot be missed as a signal could. (`close` would wake nobody.)

What runs for every block of audio is plain calls: a processor that was asleep feels each closure and generator.
"""

import contextlib
import errno
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class LockedSocket:
    """A plain or TLS socket, connected or about to be."""

    def __init__(self, sock: socket.socket, *, send_timeout_s: float) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._send_timeout_s = send_timeout_s
        self._turn = threading.Lock()
        self._life = threading.RLock()
        self._inside = 0  # threads within connect, start_tls, recv or send
        self._ended = False  # shutdown was called: whatever waits or comes, ends
        self._closing = False  # close was called: the last one out closes

    def connect(self, address: Any, *, deadline: float) -> None:
        """Connect to `address` before `deadline` (monotonic seconds), or raise OSError."""
        self._enter()
        try:
            with contextlib.suppress(BlockingIOError):  # in progress: poll tells when it is decided
                self._socket.connect(address)
            self._wait(select.POLLOUT, deadline)
            if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
        finally:
            self._leave()

    def start_tls(self, context: ssl.SSLContext, *, server_hostname: str, deadline: float) -> None:
        """Take up TLS on the connected socket before `deadline`, or raise OSError (ssl.SSLError is one)."""
        self._enter()
        try:
            with self._life:  # the descriptor changes hands, and a shutdown must not fall in between
                secured = context.wrap_socket(
                    self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
                )
                self._socket = secured
            self._until_done(select.POLLIN, deadline, secured.do_handshake)
        finally:
            self._leave()

    def recv(self, size: int, *, deadline: float | None = None) -> bytes:
        """Up to `size` bytes as soon as there are some; none at the end of the stream or after `shutdown`."""
        try:
            self._enter()
            try:
                return self._until_done(select.POLLIN, deadline, self._socket.recv, size)
            finally:
                self._leave()
        except BrokenPipeError:
            # No read breaks a pipe. OpenSSL 3.5 answers the end of a stream that TLS did not announce, and reports that
            # nobody is there to take the answer.
            return b""
        except OSError:
            if self._ended:
                return b""
            raise

    def send(self, data: bytes) -> int:
        """Send all of `data` within the send timeout, or raise OSError. Part of a frame is never continued
        later: after any failure the connection is over, for the reading thread too.
        """
        deadline = time.monotonic() + self._send_timeout_s
        rest = memoryview(data)
        try:
            self._enter()
            try:
                while rest:
                    rest = rest[self._until_done(select.POLLOUT, deadline, self._socket.send, rest) :]
            finally:
                self._leave()
        except OSError:
            self.shutdown()
            raise
        return len(data)

    def shutdown(self, _how: int = socket.SHUT_RDWR) -> None:
        """End every call here, waiting or to come, at once and from anywhere; never waits itself."""
        with self._life:
            self._ended = True
            # SSLSocket.shutdown would throw its TLS object away, perhaps under another thread's feet, and
            # later calls would go on in plain text. The base class's method knows only the descriptor.
            with contextlib.suppress(OSError):  # never connected, reset by the peer, or closed
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Shut down, and close as soon as no thread is inside any more. Returns at once."""
        self.shutdown()
        with self._life:
            self._closing = True
            if not self._inside:
                self._socket.close()

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the socket."""
        self._socket.setsockopt(level, option, value)

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._socket.fileno()

    def _enter(self) -> None:
        """Before anything that uses the descriptor; `_leave` must follow."""
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
        """Repeat `step` until it lacks neither input nor room; TLS may lack either one in both directions."""
        while True:
            try:
                with self._turn:
                    return step(*arguments)
            except ssl.SSLWantReadError:
                lacking = select.POLLIN
            except ssl.SSLWantWriteError:
                lacking = select.POLLOUT
            except BlockingIOError:  # a plain socket says no more than that
                lacking = blocked
            self._wait(lacking, deadline)

    def _wait(self, lacking: int, deadline: float | None) -> None:
        poller = select.poll()
        poller.register(self._socket, lacking)
        remaining_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = poller.poll(remaining_ms)
        if self._ended:
            raise _shut_down()
        if not ready:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")


def _shut_down() -> OSError:
    return ConnectionAbortedError(errno.ECONNABORTED, "shut down")
