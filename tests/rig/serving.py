"""A thread that listens on 127.0.0.1, with or without TLS, and can be stopped and started again."""

import asyncio
import concurrent.futures
import functools
import itertools
import os
import random
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import trustme

from tests.rig.waiting import PREFIX, scaled

START_S = 10.0

# Outside the range from which the kernel takes ports for clients: else another client could take one that is reserved,
# or one that tries to reach the absent server could connect to itself. Each worker of pytest-xdist has its own.
FIRST_PORT, PORTS = 20000, 12000
WORKERS = 12
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS


_OWN_PORTS = range(FIRST_PORT + WORKER * PORTS // WORKERS, FIRST_PORT + (WORKER + 1) * PORTS // WORKERS)
# One after the other, so that none is given twice soon; in an order of its own, for another run beside this one.
_IN_TURN = itertools.cycle(random.sample(_OWN_PORTS, len(_OWN_PORTS)))


def reserve_port() -> int:
    """A port of 127.0.0.1 that is free, for a server that is started later."""
    for port in itertools.islice(_IN_TURN, len(_OWN_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port in {_OWN_PORTS}")


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


class Serving:
    """The thread, its event loop and its sockets; what is spoken there is `_protocol_factory`'s affair."""

    def __init__(self, *, tls: bool, port: int, receive_buffer: int) -> None:
        self.tls, self.port, self.receive_buffer = tls, port or reserve_port(), receive_buffer
        self.changed = threading.Condition()
        """held while anything changes, notified afterwards"""
        self.failures: list[BaseException] = []
        """exceptions of the rig or of a responder; `close()` raises the first"""
        self.network_errors: list[BaseException] = []
        """what went wrong below WebSocket: failed TLS handshakes, resets"""
        self.transports: set[Any] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> Self:
        """Listen, on the same port as before if it ran before."""
        assert self._thread is None, "already started"
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        name = f"{PREFIX}{type(self).__name__}-{self.port}"
        self._thread = threading.Thread(target=self._run, args=(started,), name=name, daemon=True)
        self._thread.start()
        started.result(scaled(START_S))
        return self

    def stop(self) -> None:
        """Listen no more and abort every connection; `start()` may follow."""
        if self._thread is not None:
            assert self._loop is not None
            assert self._stopping is not None
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(scaled(START_S))
            assert not self._thread.is_alive(), f"{self._thread.name} does not end"
            # Not before it has ended: `run()` knows by it that it is called in the server's own thread.
            self._thread = None

    def close(self) -> None:
        """`stop()`, and tell what went wrong inside the rig."""
        self.stop()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None
        if self.failures:
            raise AssertionError("the rig or a responder failed") from self.failures[0]

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        """The certificate authority that vouches for the wss server, as a PEM file."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="mprig-")
            _authority().cert_pem.write_to_path(str(Path(self._directory.name, "ca.pem")))
        return str(Path(self._directory.name, "ca.pem"))

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Python's ssl and websocket-client trust that authority."""
        names = ("SSL_CERT_FILE", "WEBSOCKET_CLIENT_CA_BUNDLE") if self.tls else ()
        return dict.fromkeys(names, self.ca_file) if names else {}

    def run(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Do `action` in the server's thread and wait until it is done (its exceptions are raised here)."""
        if threading.current_thread() is self._thread:
            action(*arguments)
            return
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def act() -> None:
            with self.changed:
                try:
                    action(*arguments)
                except Exception as problem:  # noqa: BLE001 - raised where it was asked for
                    done.set_exception(problem)
                else:
                    done.set_result(None)
                self.changed.notify_all()

        assert self._loop is not None, "not started"
        self._loop.call_soon_threadsafe(act)
        done.result(scaled(START_S))

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        try:
            asyncio.run(self._serve(started))
        except Exception as problem:  # noqa: BLE001 - raised in start() or close()
            if started.done():
                self.failures.append(problem)
            else:
                started.set_exception(problem)

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(self._troubled)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.receive_buffer:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            listener.bind(("127.0.0.1", self.port))
            listener.setblocking(False)
            server = await self._loop.create_server(
                self._protocol_factory, sock=listener, ssl=self._context(), backlog=100
            )
            started.set_result(None)
            await self._stopping.wait()
            server.close()
        while self.transports:
            for transport in list(self.transports):
                transport.abort()
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _protocol_factory(self) -> asyncio.Protocol:
        raise NotImplementedError

    def _context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _authority().issue_cert("127.0.0.1", "localhost").configure_cert(context)
        return context

    def _troubled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problem = context.get("exception") or RuntimeError(context["message"])
        with self.changed:
            below = isinstance(problem, OSError)  # ssl.SSLError and ConnectionError are such
            (self.network_errors if below else self.failures).append(problem)
            self.changed.notify_all()
