"""Peers on the loopback: a whole server, one that misbehaves as a script says, a deaf one; and a Connection to them.

The tests of Connection and LockedSocket look at private parts here alone.
"""

import base64
import contextlib
import hashlib
import os
import select
import socket
import ssl
import struct
import threading
import time
import weakref

import pytest
import trustme
from websockets.sync.server import serve

from mpengine.shared.errors import ConnectionLost
from mpengine.streaming.websocket.connection import Connection
from mpengine.streaming.websocket.events import Opened
from tests.rig.waiting import scaled, wait_until

SOON = scaled(20)
"""The patience of these tests, in seconds: what must happen is awaited so long, on the busiest machine."""
NEVER = 10 * SOON
"""A limit that no test waits for: what ends before it was ended by something else."""
LOAD_SECONDS = float(os.environ.get("MPENGINE_LOAD_SECONDS", "3"))
SECRET = "k3y-that-nobody-may-see"
WANTED = ("dg-request-id", "dg-error")
HEADERS = (f"Authorization: Token {SECRET}", "User-Agent: test")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Authority:
    """A CA in a file, and both halves of its TLS."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.file)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = authority.issue_cert("127.0.0.1", "recogniser.test")
        certificate.configure_cert(self.server)
        self.certificate = str(folder / "server.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.certificate)

    def client_context(self):
        """A client's half, of its own for each that asks."""
        return ssl.create_default_context(cafile=self.file)


@contextlib.contextmanager
def whole_server(handler, tls=None, **options):
    """A proper server; `handler` gets its side of each connection."""
    with serve(handler, "127.0.0.1", 0, ssl=tls and tls.server, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws{'s' if tls else ''}://127.0.0.1:{server.socket.getsockname()[1]}/v1/listen?a=b"
        server.shutdown()
        thread.join(SOON)


@contextlib.contextmanager
def crooked_server(script, tls=None):
    """Accepts one connection, lets `script(socket)` do what it likes to it, then closes it."""
    failures = []

    def run():
        try:
            accepted, _ = listener.accept()
            accepted.settimeout(2 * SOON)
            with tls.server.wrap_socket(accepted, server_side=True) if tls else accepted as sock:
                script(sock)
        except OSError:
            pass  # the client left, as it should in many of these tests
        except Exception as exc:  # noqa: BLE001 -- told in the test's own thread
            failures.append(exc)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(2 * SOON)
        thread = threading.Thread(target=run)
        thread.start()
        yield f"ws{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}/"
        with contextlib.suppress(OSError):  # if nobody ever came
            socket.create_connection(listener.getsockname(), 0.1).close()
        thread.join(SOON)
    assert not failures


def read_request(sock):
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        received = sock.recv(1)
        if not received:
            raise ConnectionResetError
        request += received
    return request.decode()


def upgrade(sock):
    request = read_request(sock)
    key = next(x.split(": ")[1] for x in request.split("\r\n") if x.startswith("Sec-WebSocket-Key"))
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = base64.b64encode(digest).decode()
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"dg-request-id: request-7\r\nSec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
    )
    return request


def frame(opcode, payload=b"", *, fin=1, rsv=0, length=None, mask=0):
    length = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length < 126:
        return head + bytes([mask << 7 | length]) + payload
    if length < 1 << 16:
        return head + bytes([mask << 7 | 126]) + struct.pack("!H", length) + payload
    return head + bytes([mask << 7 | 127]) + struct.pack("!Q", length) + payload


def until_gone(sock):
    """Read until the client has left."""
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def after_upgrade(*data):
    def script(sock):
        upgrade(sock)
        for piece in data:
            sock.sendall(piece)
        until_gone(sock)

    return script


@contextlib.contextmanager
def connection(url, tls=None, **options):
    made = Connection(number=1, url=url, headers=HEADERS, answer_headers=WANTED, ca_file=tls and tls.file, **options)
    made.start()
    try:
        yield made
    finally:
        made.abandon()
        assert made.join(SOON)


taken_early = weakref.WeakKeyDictionary()


def next_events(connection, count=1):
    """The next `count` events, each awaited on the descriptor alone."""
    taken = taken_early.setdefault(connection, [])
    deadline = time.monotonic() + SOON
    while len(taken) < count:
        ready, _, _ = select.select([connection], [], [], deadline - time.monotonic())
        assert ready, taken
        waiting = connection.events()
        assert waiting, "readable, but nothing waits"
        taken += waiting
    taken_early[connection] = taken[count:]
    return taken[:count]


def next_event(connection):
    return next_events(connection)[0]


def outcome_of(url, tls=None, **options):
    """The only event of an attempt."""
    with connection(url, tls, **options) as attempt:
        event = next_event(attempt)
        assert attempt.join(SOON)
        assert taken_early[attempt] + attempt.events() == []
        with pytest.raises(ConnectionLost):
            attempt.send_text("too late")
    return event


@contextlib.contextmanager
def opened(script, tls=None, **options):
    """A connection that is open, to a crooked server."""
    with crooked_server(script, tls) as url, connection(url, tls, **options) as made:
        assert next_event(made) == Opened({"dg-request-id": "request-7"})
        yield made


def until_gone_after_upgrade(sock):
    upgrade(sock)
    until_gone(sock)


def answers(data):
    def script(sock):
        read_request(sock)
        sock.sendall(data)
        until_gone(sock)

    return script


def silent_server():
    return crooked_server(until_gone)


def deaf_after_upgrade(leave):
    def script(sock):
        upgrade(sock)
        assert leave.wait(2 * SOON)

    return script


def send_until_lost(made):
    while True:
        made.send_audio(bytes(64000))


@contextlib.contextmanager
def deaf_address():
    """The address of a listener whose queue is full: connecting to it waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def until_inside(locked, count):
    """Wait until that many threads are within the calls of a LockedSocket."""
    wait_until(lambda: locked._inside == count, SOON, f"{count} threads inside")


def socket_of(made):
    """The LockedSocket of a Connection, as soon as there is one."""
    return wait_until(lambda: made._socket, SOON, "a socket")


def until_full(made):
    """Wait until the reader of a Connection has all the events that may wait."""
    wait_until(lambda: len(made._waiting) == 256, SOON, "256 events")
    assert len(made._waiting) == 256


def until_send_waits(made):
    """Wait until the reader waits for bytes and the owner for room that does not come."""
    locked = socket_of(made)
    room = select.poll()
    room.register(locked, select.POLLOUT)
    wait_until(lambda: locked._inside == 2 and not room.poll(0), SOON, "a send that waits")
