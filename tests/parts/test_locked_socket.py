"""LockedSocket against real sockets: a socket pair, plain and under TLS."""

import contextlib
import itertools
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib

import pytest
import trustme

from mpengine.streaming.websocket.locked_socket import LockedSocket

SOON = 5.0  # no wait in these tests comes near it, but on a very busy machine
LOAD_SECONDS = float(os.environ.get("MPENGINE_LOAD_SECONDS", "3"))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(params=["plain", "tls"])
def pair(request, authority):
    """A LockedSocket and its blocking peer."""
    near, far = socket.socketpair()
    locked = LockedSocket(near, send_timeout_s=SOON)
    if request.param == "tls":
        far = secured(locked, far, authority)
    far.settimeout(SOON)
    yield locked, far
    locked.close()
    far.close()


def secured(locked, far, authority):
    """Both ends take up TLS; returns the far one's new socket."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("peer.test").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    wrapped = []
    shaking = threading.Thread(target=lambda: wrapped.append(server.wrap_socket(far, server_side=True)))
    shaking.start()
    locked.start_tls(client, server_hostname="peer.test", deadline=time.monotonic() + SOON)
    shaking.join()
    return wrapped[0]


class Call(threading.Thread):
    """A call in a thread of its own, and what became of it."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args, self.outcome = function, args, None
        self.start()

    def run(self):
        try:
            self.outcome = self.function(*self.args)
        except OSError as exc:
            self.outcome = exc

    def result(self):
        self.join(SOON)
        assert not self.is_alive()
        return self.outcome


def until_inside(locked, count):
    deadline = time.monotonic() + SOON
    while locked._inside < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def fill(locked):
    """Leave no room for another byte."""
    locked._send_timeout_s = 0.05
    with pytest.raises(TimeoutError):
        locked.send(bytes(1 << 24))


def test_bytes_go_both_ways_in_order(pair):
    locked, far = pair
    data = bytes(range(256)) * 8192
    sending = Call(locked.send, data)
    received = b""
    while len(received) < len(data):
        received += far.recv(65536)
    assert received == data
    assert sending.result() == len(data)
    far.sendall(b"answer")
    assert locked.recv(100) == b"answer"


def test_recv_waits_without_turning_round(pair):
    locked, far = pair
    reading = Call(locked.recv, 10)
    until_inside(locked, 1)
    before = time.process_time()
    reading.join(0.3)
    assert time.process_time() - before < 0.1
    assert reading.is_alive()
    far.sendall(b"x")
    assert reading.result() == b"x"


def test_recv_ends_with_the_stream(pair):
    locked, far = pair
    far.close()
    assert locked.recv(10) == b""


def test_recv_ends_with_the_stream_though_something_was_sent_after_its_end(authority):
    """The peer's system resets the connection then, before anybody here has looked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        locked = LockedSocket(socket.create_connection(listener.getsockname()), send_timeout_s=SOON)
        far = secured(locked, listener.accept()[0], authority)
    far.sendall(b"the end")
    far.close()  # TLS is told nothing
    locked.send(b"x")
    reset = select.poll()
    reset.register(locked, select.POLLERR | select.POLLHUP)
    assert reset.poll(1000 * SOON)
    assert locked.recv(10) == b"the end"
    assert locked.recv(10) == b""
    locked.close()


def test_recv_keeps_its_deadline(pair):
    locked, _ = pair
    with pytest.raises(TimeoutError):
        locked.recv(10, deadline=time.monotonic() + 0.05)


def test_send_past_its_deadline_ends_the_connection_for_both(pair):
    locked, _ = pair
    reading = Call(locked.recv, 10)
    until_inside(locked, 1)
    fill(locked)
    assert reading.result() == b""
    with pytest.raises(ConnectionAbortedError):
        locked.send(b"more")


def test_a_peer_that_sips_does_not_stretch_the_deadline(pair):
    locked, far = pair
    locked._send_timeout_s = 0.3
    began = time.monotonic()
    sending = Call(locked.send, bytes(1 << 24))
    with contextlib.suppress(OSError):
        while sending.is_alive():
            far.recv(100)
            sending.join(0.01)
    assert isinstance(sending.result(), TimeoutError)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_both_blocked_calls_are_ended_at_once_and_the_last_one_closes(pair, end):
    locked, _ = pair
    reading, sending = Call(locked.recv, 10), Call(locked.send, bytes(1 << 24))
    until_inside(locked, 2)
    descriptor = locked.fileno()
    began = time.monotonic()
    getattr(locked, end)()
    assert reading.result() == b""
    assert isinstance(sending.result(), OSError)
    assert time.monotonic() - began < 1
    assert locked.fileno() == (-1 if end == "close" else descriptor)


def test_after_the_end_everything_ends(pair):
    locked, _ = pair
    locked.shutdown()
    assert locked.recv(10) == b""
    with pytest.raises(ConnectionAbortedError):
        locked.send(b"x")
    locked.close()
    locked.close()
    locked.shutdown()
    assert locked.fileno() == -1


def test_shutdown_leaves_the_tls_object_alone(authority):
    """Without it, ssl.SSLSocket goes on in plain text."""
    near, far = socket.socketpair()
    locked = LockedSocket(near, send_timeout_s=SOON)
    with pytest.raises(TimeoutError):
        locked.start_tls(ssl.create_default_context(), server_hostname="x", deadline=time.monotonic() + 0.05)
    locked.shutdown()
    assert locked._socket._sslobj is not None
    locked.close()
    far.close()


def test_never_two_threads_inside(pair):
    """The one rule, watched from within: a step that finds company says so."""
    locked, far = pair
    company = itertools.count()
    inside = threading.Lock()

    def watched(step):
        def call(*args):
            if not inside.acquire(blocking=False):
                next(company)
                return step(*args)
            try:
                return step(*args)
            finally:
                inside.release()

        return call

    class Watched:
        def __init__(self, sock):
            self.sock, self.recv, self.send = sock, watched(sock.recv), watched(sock.send)

        def __getattr__(self, name):
            return getattr(self.sock, name)

    plain = locked._socket
    locked._socket = Watched(plain)
    echoing = Call(echo, far, 4_000_000)
    reading = Call(read_exactly, locked, 4_000_000)
    for _ in range(1000):
        locked.send(bytes(4000))
    assert reading.result() == 4_000_000
    echoing.result()
    locked._socket = plain
    assert next(company) == 0


def echo(sock, total):
    while total:
        data = sock.recv(65536)
        sock.sendall(data)
        total -= len(data)


def read_exactly(locked, total):
    read = 0
    while read < total:
        read += len(locked.recv(1000))
    return read


LOAD_SERVER = """
import socket, ssl, select, sys, zlib

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
context.maximum_version = ssl.TLSVersion[sys.argv[2]]
size = int(sys.argv[3])
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
sock = context.wrap_socket(listener.accept()[0], server_side=True)
sock.setblocking(False)
received = sent = received_crc = sent_crc = 0
rest = tail = b''
while True:
    idle = True
    try:
        data = sock.recv(65536)
        received, received_crc, idle = received + len(data), zlib.crc32(data, received_crc), False
        tail = (tail + data)[-7:]
        if tail == b'the end':
            break
    except ssl.SSLWantReadError:
        pass
    try:
        rest = rest or sent.to_bytes(8, 'big') + bytes(size - 8)
        count = sock.send(rest)
        sent, sent_crc, rest, idle = sent + count, zlib.crc32(rest[:count], sent_crc), rest[count:], False
    except ssl.SSLWantWriteError:
        pass
    if idle:
        select.select([sock], [sock], [])
sock.close()
print(received, received_crc, sent, sent_crc)
"""


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("size", [640, 16000])
def test_load_both_ways(authority, tmp_path, version, size):
    """As fast as both can, next to nothing but TLS: without the lock the larger size may fail within seconds."""
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    client = ssl.create_default_context()
    authority.configure_trust(client)
    command = [sys.executable, "-c", LOAD_SERVER, str(tmp_path / "server.pem"), version, str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
        until = time.monotonic() + SOON
        locked.connect(("127.0.0.1", int(server.stdout.readline())), deadline=until)
        locked.start_tls(client, server_hostname="127.0.0.1", deadline=until)
        reading = Call(read_to_the_end, locked)
        sent = sent_crc = frames = 0
        until = time.monotonic() + LOAD_SECONDS / 3
        while time.monotonic() < until:
            data = sent.to_bytes(8, "big") + bytes(size - 8)
            sent, sent_crc, frames = sent + locked.send(data), zlib.crc32(data, sent_crc), frames + 1
            assert reading.is_alive(), reading.outcome
        sent, sent_crc = sent + locked.send(b"the end"), zlib.crc32(b"the end", sent_crc)
        received, received_crc, reads = reading.result()
        locked.close()
        report = [int(number) for number in server.stdout.read().split()]
    print(f"\n{version}, {size} bytes: {frames} sends, {reads} reads")
    assert report == [sent, sent_crc, received, received_crc]
    assert received > size


def read_to_the_end(locked):
    received = crc = reads = 0
    while data := locked.recv(16384):
        received, crc, reads = received + len(data), zlib.crc32(data, crc), reads + 1
    return received, crc, reads


def test_connect_tells_why_not():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
        with pytest.raises(ConnectionRefusedError):
            locked.connect(unused.getsockname(), deadline=time.monotonic() + SOON)
        locked.close()


@pytest.fixture
def deaf_address():
    """A listener whose queue is full: connecting to it waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_connect_keeps_its_deadline(deaf_address):
    locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
    with pytest.raises(TimeoutError):
        locked.connect(deaf_address, deadline=time.monotonic() + 0.1)
    locked.close()


def test_shutdown_ends_a_connect(deaf_address):
    locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
    connecting = Call(lambda: locked.connect(deaf_address, deadline=time.monotonic() + SOON))
    until_inside(locked, 1)
    began = time.monotonic()
    locked.shutdown()
    assert isinstance(connecting.result(), OSError)
    assert time.monotonic() - began < 1
    locked.close()
