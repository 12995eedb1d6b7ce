"""LockedSocket against real sockets: a socket pair, plain and under TLS."""

import contextlib
import itertools
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from mpengine.streaming.websocket.locked_socket import LockedSocket
from tests.parts.peers import LOAD_SECONDS, NEVER, SOON, deaf_address, until_inside
from tests.rig.waiting import wait_until


class Watch:
    """Watches each single read and write of a socket from within."""

    def __init__(self):
        self.steps = itertools.count()
        self.company = itertools.count()
        self._inside = threading.Lock()

    def kind(self, base):
        """A class of sockets like `base` that is watched."""

        def watched(step):
            def call(*args):
                next(self.steps)
                if not self._inside.acquire(blocking=False):
                    next(self.company)
                    return step(*args)
                try:
                    return step(*args)
                finally:
                    self._inside.release()

            return call

        return type(base.__name__, (base,), {"recv": watched(base.recv), "send": watched(base.send)})


@pytest.fixture(params=["plain", "tls"])
def make_pair(request):
    """Makes a LockedSocket and its blocking peer; a `watch` watches the LockedSocket's own socket."""
    with contextlib.ExitStack() as stack:

        def make(send_timeout_s=NEVER, watch=None):
            near, far = socket.socketpair()
            if watch:
                near = watch.kind(socket.socket)(fileno=near.detach())
            locked = LockedSocket(near, send_timeout_s=send_timeout_s)
            if request.param == "tls":
                far = secured(
                    locked, far, request.getfixturevalue("authority"), watch.kind(ssl.SSLSocket) if watch else None
                )
            far.settimeout(SOON)
            stack.callback(far.close)
            stack.callback(locked.close)
            return locked, far

        yield make


@pytest.fixture
def pair(make_pair):
    """A LockedSocket, which waits for room for ever, and its blocking peer."""
    return make_pair()


def secured(locked, far, authority, kind=None):
    """Both ends take up TLS; returns the far one's new socket."""
    client = authority.client_context()
    client.sslsocket_class = kind or ssl.SSLSocket
    wrapped = []
    shaking = threading.Thread(target=lambda: wrapped.append(authority.server.wrap_socket(far, server_side=True)))
    shaking.start()
    locked.start_tls(client, server_hostname="127.0.0.1", deadline=time.monotonic() + SOON)
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


def fill(locked):
    """Leave no room for another byte."""
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


def test_recv_waits_without_turning_round(make_pair):
    watch = Watch()
    locked, far = make_pair(watch=watch)
    reading = Call(locked.recv, 10)
    until_inside(locked, 1)
    reading.join(0.3)  # time to turn round, if it does
    assert reading.is_alive()
    far.sendall(b"x")
    assert reading.result() == b"x"
    assert next(watch.steps) < 10


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


def test_send_past_its_deadline_ends_the_connection_for_both(make_pair):
    locked, _ = make_pair(send_timeout_s=0.05)
    reading = Call(locked.recv, 10)
    until_inside(locked, 1)
    fill(locked)
    assert reading.result() == b""
    with pytest.raises(ConnectionAbortedError):
        locked.send(b"more")


def test_a_peer_that_sips_does_not_stretch_the_deadline(make_pair):
    """To sip all of it would take half an hour."""
    locked, far = make_pair(send_timeout_s=0.3)
    sending = Call(locked.send, bytes(1 << 24))
    until = time.monotonic() + SOON
    with contextlib.suppress(OSError):
        while sending.is_alive() and time.monotonic() < until:
            far.recv(100)
            sending.join(0.01)
    assert isinstance(sending.result(), TimeoutError)


def test_one_that_waits_for_room_wakes_now_and_then_so_that_it_is_not_taken_for_blocked(pair):
    locked, _ = pair
    sending = Call(locked.send, bytes(1 << 24))
    until_inside(locked, 1)
    room = select.poll()
    room.register(locked, select.POLLOUT)
    wait_until(lambda: not room.poll(0), SOON, "a full socket")

    def switches():
        status = Path(f"/proc/self/task/{sending.native_id}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    before = switches()
    wait_until(lambda: switches() >= before + 3, SOON, "the sending thread to wake")
    assert sending.is_alive()
    locked.shutdown()
    assert isinstance(sending.result(), OSError)


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_both_blocked_calls_are_ended_at_once_and_the_last_one_closes(pair, end):
    locked, _ = pair
    reading, sending = Call(locked.recv, 10), Call(locked.send, bytes(1 << 24))
    until_inside(locked, 2)
    descriptor = locked.fileno()
    getattr(locked, end)()
    assert reading.result() == b""
    assert isinstance(sending.result(), OSError)
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
    seen = []

    class Seen(ssl.SSLSocket):
        def do_handshake(self, *args):
            seen.append(self)
            super().do_handshake(*args)

    near, far = socket.socketpair()
    locked = LockedSocket(near, send_timeout_s=SOON)
    far = secured(locked, far, authority, Seen)
    locked.shutdown()
    assert seen[0].version() is not None
    locked.close()
    far.close()


def test_never_two_threads_inside(make_pair):
    """The one rule, watched from within: a step that finds company says so."""
    watch = Watch()
    locked, far = make_pair(watch=watch)
    echoing = Call(echo, far, 4_000_000)
    reading = Call(read_exactly, locked, 4_000_000)
    for _ in range(1000):
        locked.send(bytes(4000))
    assert reading.result() == 4_000_000
    echoing.result()
    assert next(watch.company) == 0
    assert next(watch.steps) > 1000


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


@pytest.mark.slow
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("size", [640, 16000])
def test_load_both_ways(authority, version, size):
    """As fast as both can, next to nothing but TLS: without the lock the larger size may fail within seconds."""
    command = [sys.executable, "-c", LOAD_SERVER, authority.certificate, version, str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
        until = time.monotonic() + SOON
        locked.connect(("127.0.0.1", int(server.stdout.readline())), deadline=until)
        locked.start_tls(authority.client_context(), server_hostname="127.0.0.1", deadline=until)
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


def test_connect_keeps_its_deadline():
    locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
    with deaf_address() as address, pytest.raises(TimeoutError):
        locked.connect(address, deadline=time.monotonic() + 0.1)
    locked.close()


def test_shutdown_ends_a_connect():
    locked = LockedSocket(socket.socket(), send_timeout_s=SOON)
    with deaf_address() as address:
        connecting = Call(lambda: locked.connect(address, deadline=time.monotonic() + NEVER))
        until_inside(locked, 1)
        locked.shutdown()
        assert isinstance(connecting.result(), OSError)
    locked.close()
