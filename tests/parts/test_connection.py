"""Connection against real servers on the loopback: a whole one, and hand-written ones that misbehave."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref

import pytest
import trustme
from websockets.sync.server import serve

from mpengine.shared.errors import ConnectionLost
from mpengine.streaming.websocket.connection import Connection
from mpengine.streaming.websocket.events import (
    NO_CLOSE_CODE,
    CloseReceived,
    Failed,
    Opened,
    PingReceived,
    PongReceived,
    Received,
    Refused,
)

SOON = 5.0  # no wait in these tests comes near it, but on a very busy machine
LOAD_SECONDS = float(os.environ.get("MPENGINE_LOAD_SECONDS", "3"))
SECRET = "k3y-that-nobody-may-see"
WANTED = ("dg-request-id", "dg-error")
HEADERS = (f"Authorization: Token {SECRET}", "User-Agent: test")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)
        assert not thread.is_alive(), thread


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Authority:
    """A CA in a file, and a server's half of its TLS."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.file)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = authority.issue_cert("127.0.0.1", "recogniser.test")
        certificate.configure_cert(self.server)
        self.certificate = str(folder / "server.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.certificate)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["ws", "wss"])
def tls(request, authority):
    return authority if request.param == "wss" else None


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


# What works


def test_everything_goes_both_ways(tls):
    seen = {}

    def handler(peer):
        seen.update(peer.request.headers.raw_items())
        for message in peer:
            peer.send(message)

    with whole_server(handler, tls) as url, connection(url, tls) as made:
        assert next_event(made) == Opened()
        made.send_text("grüße")
        assert next_event(made) == Received("grüße")
        made.send_audio(b"raw pcm")
        assert next_event(made) == Received("raw pcm")
        made.send_audio(memoryview(bytes(70000)))
        assert next_event(made) == Received("\0" * 70000)
        made.send_ping(b"20 s")
        assert next_event(made) == PongReceived(b"20 s")
        made.send_close(1000, "done")
        assert next_event(made) == CloseReceived(1000, "done")
        assert next_event(made) == Failed("connection closed")
        with pytest.raises(ConnectionLost, match="connection closed"):
            made.send_text("too late")
    assert seen["Authorization"] == f"Token {SECRET}"
    assert "Origin" not in seen


def until_gone_after_upgrade(sock):
    upgrade(sock)
    until_gone(sock)


def test_small_frames_are_not_held_back():
    with opened(until_gone_after_upgrade) as made:
        assert made._socket._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_fragments_become_one_message_with_control_frames_between(tls):
    pieces = [
        frame(TEXT, b"gr", fin=0),
        frame(PING, b"are you there"),
        frame(0, "ü".encode()[:1], fin=0),
        frame(0, b"", fin=0),
        frame(0, "ü".encode()[1:] + b"n"),
        frame(TEXT, b""),
    ]
    with opened(after_upgrade(*pieces), tls) as made:
        assert next_events(made, 3) == [PingReceived(b"are you there"), Received("grün"), Received("")]


def test_a_pong_is_sent_by_the_owner_alone():
    answered = []

    def script(sock):
        upgrade(sock)
        sock.sendall(frame(PING, b"ping"))
        head = sock.recv(2)
        mask, payload = sock.recv(4), sock.recv(4)
        answered.extend([head, bytes(a ^ b for a, b in zip(mask, payload, strict=True))])

    with opened(script) as made:
        assert next_event(made) == PingReceived(b"ping")
        assert answered == []
        made.send_pong(b"ping")
        next_event(made)
    assert answered == [bytes([0x80 | PONG, 0x80 | 4]), b"ping"]


def test_bytes_that_are_no_text_are_read_leniently():
    with opened(after_upgrade(frame(BINARY, b"a\xffb"), frame(TEXT, b"\xc3"))) as made:
        assert next_events(made, 2) == [Received("a\ufffdb"), Received("\ufffd")]


def test_the_peers_close_is_told_and_answered_by_the_owner(tls):
    reason = "did not receive audio data. See https://dpgr.am/net0001"
    codes = []

    def handler(peer):
        peer.close(1011, reason)
        codes.append(peer.protocol.close_rcvd.code)

    with whole_server(handler, tls) as url, connection(url, tls) as made:
        assert next_events(made, 2)[1] == CloseReceived(1011, reason)
        made.send_close(1011)
        assert next_event(made) == Failed("connection closed")
    assert codes == [1011]


@pytest.mark.parametrize("cut", [b"\xff", b"\xc3"])
def test_a_close_reason_that_is_no_text_costs_no_code(cut):
    with opened(after_upgrade(frame(CLOSE, struct.pack("!H", 1011) + b"NET-0001" + cut))) as made:
        assert next_event(made) == CloseReceived(1011, "NET-0001\ufffd")


def test_a_close_without_a_code_is_answered_without_one():
    answers = []

    def script(sock):
        upgrade(sock)
        sock.sendall(frame(CLOSE) + frame(TEXT, b"nobody hears this"))
        answers.append(sock.recv(100)[:2])

    with opened(script) as made:
        assert next_event(made) == CloseReceived(NO_CLOSE_CODE, "")
        made.send_close(NO_CLOSE_CODE)
        assert next_event(made) == Failed("connection closed")
    assert answers == [bytes([0x80 | CLOSE, 0x80])]


def test_a_full_queue_makes_the_peer_wait_and_loses_nothing():
    count = 5000
    sent = threading.Event()

    def script(sock):
        upgrade(sock)
        for number in range(count):
            sock.sendall(frame(TEXT, b"%d" % number + b"." * 2000))
        sent.set()
        until_gone(sock)

    with opened(script) as made:
        assert not sent.wait(0.3)
        assert len(made._waiting) == 256
        numbers = [int(event.text.rstrip(".")) for event in taken_early[made]]
        while len(numbers) < count:
            assert select.select([made], [], [], SOON)[0]
            numbers += [int(event.text.rstrip(".")) for event in made.events()]
        assert numbers == list(range(count))


def test_a_second_address_is_tried(monkeypatch):
    real = socket.getaddrinfo
    with socket.socket() as unused, crooked_server(until_gone_after_upgrade) as url:
        unused.bind(("127.0.0.1", 0))
        dead = (socket.AF_INET, socket.SOCK_STREAM, 6, "", unused.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [dead, *real(*a, **k)])
        with connection(url) as made:
            assert next_event(made) == Opened({"dg-request-id": "request-7"})


def test_a_proxy_from_the_environment_is_used(monkeypatch, authority):
    asked = []

    def script(sock):
        asked.append(read_request(sock).split("\r\n")[0])
        sock.sendall(b"HTTP/1.1 200 tunnel\r\n\r\n")
        with authority.server.wrap_socket(sock, server_side=True) as inner:
            until_gone_after_upgrade(inner)

    with crooked_server(script) as proxy:
        monkeypatch.setenv("https_proxy", proxy.replace("ws:", "http:"))
        with connection("wss://recogniser.test:4/", authority) as made:
            assert next_event(made) == Opened({"dg-request-id": "request-7"})
    assert asked == ["CONNECT recogniser.test:4 HTTP/1.1"]


# What is refused


def answers(data):
    def script(sock):
        read_request(sock)
        sock.sendall(data)
        until_gone(sock)

    return script


@pytest.mark.parametrize("status", ["401 Unauthorized", "429 Too Many Requests"])
def test_a_refusal_is_told_in_the_peers_words(tls, status):
    body = json.dumps({"err_code": "INVALID_AUTH", "err_msg": f"Token {SECRET} is unknown"}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nDG-Error: wrong key {SECRET}\r\ndg-request-id: r-1\r\nServer: x\r\n"
        f"Content-Length: {len(body)}"
    )
    with crooked_server(answers(head.encode() + b"\r\n\r\n" + body), tls) as url:
        refused = outcome_of(url, tls)
    assert refused == Refused(
        int(status[:3]),
        status[4:],
        body.decode().replace(SECRET, "***"),
        {"dg-error": "wrong key ***", "dg-request-id": "r-1"},
    )


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", Refused(503, "Busy", "")),
        (b"HTTP/1.1 402\r\nContent-Length: 2\r\n\r\n\xff!", Refused(402, "", "\ufffd!")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Refused(200, "OK", "hi")),
        (b"HTTP/1.1 500 x\r\nContent-Length: none\r\n\r\n", Refused(500, "x", "")),
    ],
)
def test_refusals_of_other_kinds(answer, refused):
    with crooked_server(answers(answer)) as url:
        assert outcome_of(url) == refused


def test_a_refusal_whose_body_stops_short_is_still_one():
    def script(sock):
        read_request(sock)
        sock.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nhalf")

    with crooked_server(script) as url:
        assert outcome_of(url) == Refused(401, "No", "half")


def test_an_endless_body_is_cut():
    def script(sock):
        read_request(sock)
        sock.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 1073741824\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x" * 65536)

    with crooked_server(script) as url:
        refused = outcome_of(url)
    assert refused == Refused(401, "No", "x" * 4096)


def test_an_endless_header_is_cut():
    def script(sock):
        read_request(sock)
        sock.sendall(b"HTTP/1.1 101 Switching\r\n")
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x: y\r\n" * 1000)

    with crooked_server(script) as url:
        assert outcome_of(url) == Failed("127.0.0.1 closed the connection without an answer")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_key_nowhere(status):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        place = f"ws://127.0.0.1:{elsewhere.getsockname()[1]}/"
        answer = f"HTTP/1.1 {status} Over there\r\nLocation: {place}\r\n\r\n".encode()
        with crooked_server(answers(answer)) as url:
            assert outcome_of(url) == Refused(status, "Over there", "")
        assert select.select([elsewhere], [], [], 0)[0] == []


@pytest.mark.parametrize(
    "answer",
    [
        b"\0\1\2 garbage \xff\r\n\r\n",
        b"HTTP/1.1 101 OK\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_no_websocket_server_is_told(answer):
    with crooked_server(answers(answer)) as url:
        assert outcome_of(url) == Failed("127.0.0.1 did not answer as a WebSocket server")


# What fails


def test_connection_refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/"
        assert outcome_of(url) == Failed("connection refused by 127.0.0.1")


def test_an_unknown_host(monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    reason = "host name nowhere.test not resolved: Name or service not known"
    assert outcome_of("ws://nowhere.test/") == Failed(reason)


@pytest.mark.parametrize("url", ["", "nonsense", "http://host/", "ws://", "ws://host:port/", f"ws://{'x' * 70}/"])
def test_an_address_that_is_none(url):
    assert outcome_of(url) == Failed("not a WebSocket address")


def test_an_untrusted_certificate(authority, tmp_path):
    stranger = Authority(tmp_path)
    with crooked_server(until_gone_after_upgrade, authority) as url:
        failed = outcome_of(url, stranger)
    assert failed.reason.startswith("TLS certificate of 127.0.0.1 not trusted: ")


def test_a_certificate_of_another_host(authority, monkeypatch):
    with crooked_server(until_gone_after_upgrade, authority) as url:
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1", *a, **k))
        failed = outcome_of(url.replace("127.0.0.1", "elsewhere.test"), authority)
    assert "elsewhere.test not trusted: Hostname mismatch" in failed.reason


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ca_file(authority, tmp_path, content):
    authority_file = tmp_path / "ca.pem"
    if content:
        authority_file.write_text(content)
    made = Connection(number=1, url="wss://127.0.0.1/", ca_file=str(authority_file))
    made.start()
    assert next_event(made).reason.startswith(f"CA file {authority_file} cannot be used: ")
    assert made.join(SOON)


def test_tls_to_a_server_without_it():
    with crooked_server(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        failed = outcome_of(url.replace("ws:", "wss:"))
    assert failed.reason.startswith("TLS with 127.0.0.1 failed: ")


def test_a_proxy_that_refuses(monkeypatch):
    with crooked_server(answers(b"HTTP/1.1 407 Who are you\r\n\r\n")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("ws:", "http:"))
        reason = "the HTTP proxy opened no tunnel to host.test: it answered 407"
        assert outcome_of("ws://host.test/") == Failed(reason)


@contextlib.contextmanager
def deaf_server():
    """A listener whose queue is full: connecting to it waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"


def silent_server():
    return crooked_server(until_gone)


@pytest.mark.parametrize("server", [deaf_server, silent_server])
@pytest.mark.parametrize("scheme", ["ws:", "wss:"])
def test_a_server_that_never_answers(server, scheme):
    with server() as url:
        failed = outcome_of(url.replace("ws:", scheme), connect_timeout_s=0.3)
    assert failed == Failed("no answer from 127.0.0.1 within 0.3 s")


@pytest.mark.parametrize("server", [deaf_server, silent_server])
@pytest.mark.parametrize("scheme", ["ws:", "wss:"])
def test_abandoned_while_connecting(server, scheme):
    with server() as url, connection(url.replace("ws:", scheme)) as made:
        deadline = time.monotonic() + SOON
        while made._socket is None or not made._socket._inside:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        began = time.monotonic()
        made.abandon()
        assert time.monotonic() - began < 0.1
        assert made.join(SOON)
        assert time.monotonic() - began < 1
        assert made.events() == []
        assert select.select([made], [], [], 0)[0] == []


def test_late_results_of_an_abandoned_lookup_are_dropped(monkeypatch):
    looking, found = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(*args, **kwargs):
        looking.set()
        assert found.wait(SOON)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    made = Connection(number=1, url="ws://127.0.0.1:9/")
    made.start()
    assert looking.wait(SOON)
    made.abandon()
    assert not made.join(0)
    found.set()
    assert made.join(SOON)
    assert made.events() == []


def test_abandoned_before_it_was_started():
    made = Connection(number=1, url="ws://127.0.0.1:9/")
    made.abandon()
    assert made.join(0)
    made.start()
    assert made.join(SOON)
    assert made.events() == []


def test_reset_by_the_peer(tls):
    def script(sock):
        upgrade(sock)
        assert leave.wait(SOON)  # a reset throws away what was not read yet
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    leave = threading.Event()
    with opened(script, tls) as made:
        leave.set()
        failed = next_event(made)
        with pytest.raises(ConnectionLost, match=failed.reason):
            made.send_text("too late")
    reasons = {"connection lost: reset by peer"}
    if tls:  # CPython 3.11 takes a reset under TLS for the end of the stream
        reasons.add("connection lost: ended by the peer without a close frame")
    assert failed.reason in reasons


@pytest.mark.parametrize("beginning", [b"", frame(TEXT, b"hal", length=4), b"\x81"])
def test_half_closed_by_the_peer(tls, beginning):
    def script(sock):
        upgrade(sock)
        sock.sendall(beginning)
        socket.socket.shutdown(sock, socket.SHUT_WR)
        until_gone(sock)

    with opened(script, tls) as made:
        assert next_event(made) == Failed("connection lost: ended by the peer without a close frame")


@pytest.mark.parametrize(
    "garbage",
    [
        frame(TEXT, b"x", rsv=4),
        frame(TEXT, b"\0\0\0\0x", length=1, mask=1),
        frame(3, b"x"),
        frame(11, b"x"),
        frame(PING, bytes(126)),
        frame(PING, b"x", fin=0),
        frame(0, b"nothing before it"),
        frame(TEXT, b"a", fin=0) + frame(TEXT, b"b"),
        frame(CLOSE, b"x"),
        frame(CLOSE, struct.pack("!H", 999)),
        frame(CLOSE, struct.pack("!H", NO_CLOSE_CODE)),
        b"HTTP/1.1 500 Too late\r\n\r\n",
        bytes(range(255, 0, -1)),
    ],
)
def test_garbage_ends_the_connection_in_one_sentence(garbage, caplog):
    with opened(after_upgrade(garbage)) as made:
        failed = next_event(made)
        assert failed.reason.startswith("connection lost: protocol broken by the peer: ")
        assert made.join(SOON)
    assert not caplog.records


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_an_oversize_frame_is_refused_by_its_header(opcode):
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        with opened(after_upgrade(frame(opcode, b"abc", length=1 << 30))) as made:
            assert next_event(made) == Failed("message of 1073741824 bytes refused: over 1048576")
            assert tracemalloc.get_traced_memory()[1] - before < 1 << 20
    finally:
        tracemalloc.stop()


def test_fragments_are_refused_as_soon_as_they_are_too_much():
    fragments = [frame(TEXT, bytes(600), fin=0), frame(0, bytes(400), fin=0), frame(0, b"", fin=0, length=1)]
    with opened(after_upgrade(*fragments), max_message_bytes=1000) as made:
        assert next_event(made) == Failed("message of 1001 bytes refused: over 1000")


def test_the_largest_message_is_taken():
    fragments = [frame(TEXT, b"x" * 600, fin=0), frame(0, b"x" * 400)]
    with opened(after_upgrade(*fragments), max_message_bytes=1000) as made:
        assert next_event(made) == Received("x" * 1000)


# A peer that stops reading


def deaf_after_upgrade(leave):
    def script(sock):
        upgrade(sock)
        assert leave.wait(2 * SOON)

    return script


def send_until_lost(made):
    while True:
        made.send_audio(bytes(64000))


def test_a_send_past_its_deadline_is_the_end(tls):
    leave = threading.Event()
    with opened(deaf_after_upgrade(leave), tls, send_timeout_s=0.3) as made:
        with pytest.raises(ConnectionLost, match=r"frame not sent within 0\.3 s"):
            send_until_lost(made)
        assert next_event(made) == Failed("frame not sent within 0.3 s")
        with pytest.raises(ConnectionLost, match=r"frame not sent within 0\.3 s"):
            made.send_text("more")
        leave.set()


def test_abandon_ends_a_blocked_send_and_the_reader_at_once(tls):
    leave = threading.Event()
    abandoned_at = []

    def abandon():
        deadline = time.monotonic() + SOON
        while made._socket._inside < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        both_inside.join(0.3)  # until the send has run into the full buffer
        abandoned_at.append(time.monotonic())
        made.abandon()

    with opened(deaf_after_upgrade(leave), tls) as made:
        both_inside = threading.Thread(target=leave.wait, args=(0.3,))
        both_inside.start()
        other = threading.Thread(target=abandon)
        other.start()
        with pytest.raises(ConnectionLost, match="abandoned"):
            send_until_lost(made)
        assert made.join(1)
        assert time.monotonic() - abandoned_at[0] < 1
        other.join(SOON)
        assert made.events() == []
        leave.set()


def test_a_reader_that_waits_for_room_is_ended_too():
    with opened(after_upgrade(frame(TEXT, b"x") * 1000)) as made:
        deadline = time.monotonic() + SOON
        while len(made._waiting) < 256:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        made.abandon()
        assert made.join(1)
        assert made.events() == []


def test_a_lost_connection_ends_a_blocked_send_though_nobody_takes_events():
    def script(sock):
        upgrade(sock)
        sock.sendall(frame(TEXT, b"x") * 256 + b"garbage")
        assert leave.wait(2 * SOON)

    leave = threading.Event()
    with opened(script) as made:
        with pytest.raises(ConnectionLost, match="protocol broken"):
            send_until_lost(made)
        leave.set()
        assert isinstance(next_events(made, 257)[-1], Failed)


# What a caller may not do, and what nobody may see


def test_misuse_is_refused():
    with opened(until_gone_after_upgrade) as made:
        for misuse in (
            lambda: made.send_audio(b""),
            lambda: made.send_audio(memoryview(b"")),
            lambda: made.send_ping(bytes(126)),
            lambda: made.send_close(1000, "x" * 124),
        ):
            with pytest.raises(ValueError):
                misuse()
        refusals = []

        def elsewhere():
            with pytest.raises(RuntimeError):
                made.send_text("from another thread")
            refusals.append(1)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert refusals == [1]
    with pytest.raises(ValueError, match="line break"):
        Connection(number=1, url="ws://h/", headers=["A: b\r\nC: d"])


def test_nothing_can_be_sent_before_it_is_open():
    with silent_server() as url, connection(url) as made, pytest.raises(ConnectionLost, match="not open yet"):
        made.send_text("too early")


def test_no_secret_is_shown(caplog):
    caplog.set_level("DEBUG")
    with opened(until_gone_after_upgrade) as made:
        shown = repr(made) + repr(vars(made))
    assert SECRET not in shown + caplog.text


def test_descriptors_go_with_their_object():
    def count():
        return len(list(pathlib.Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        with opened(until_gone_after_upgrade) as made:
            pass
        del made
    assert count() == before


# Load

LOAD_SERVER = """
import asyncio, json, ssl, sys
import websockets

async def handle(peer):
    received = sent = disorder = 0
    size = int(peer.request.path[1:])
    over = asyncio.Event()

    async def speak():
        nonlocal sent
        while not over.is_set():
            await peer.send(f'{sent} ' + 'x' * (sent % size))
            sent += 1
            if sent % 64 == 0:
                await asyncio.sleep(0)

    speaking = asyncio.create_task(speak())
    async for message in peer:
        if isinstance(message, str):
            break
        disorder += int.from_bytes(message[:8], 'big') != received or len(message) != size
        received += 1
    over.set()
    await speaking
    await peer.send(json.dumps({'received': received, 'sent': sent, 'disorder': disorder}))

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    async with websockets.serve(handle, '127.0.0.1', 0, ssl=context, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def load_server(authority):
    """A process of its own, so that its TLS is not in the test's threads and the machine is really busy."""
    command = [sys.executable, "-c", LOAD_SERVER, authority.certificate]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"wss://127.0.0.1:{process.stdout.readline().strip()}/"
        process.stdin.close()
        assert process.wait(SOON) == 0


@pytest.mark.parametrize("size", [640, 16000])
def test_load_both_ways_over_tls(load_server, authority, size):
    """Every frame arrives, in order, both ways, and the stream ends where it should and nowhere else."""
    sent = received = 0
    report = None
    ended = []

    def take(events):
        nonlocal received, report
        for event in events:
            match event:
                case Received(text) if text.startswith("{"):
                    report = json.loads(text)
                case Received(text):
                    number, _, filling = text.partition(" ")
                    assert (int(number), len(filling)) == (received, received % size)
                    received += 1
                case PingReceived(payload):
                    made.send_pong(payload)
                case _:
                    ended.append(event)

    with connection(f"{load_server}{size}", authority) as made:
        assert next_event(made) == Opened()
        take(taken_early[made])
        until = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < until:
            made.send_audio(sent.to_bytes(8, "big") + bytes(size - 8))
            sent += 1
            take(made.events())
            assert not ended
        made.send_text("over")
        while len(ended) < 1:
            assert select.select([made], [], [], SOON)[0]
            take(made.events())
        made.send_close()
        while len(ended) < 2:
            assert select.select([made], [], [], SOON)[0]
            take(made.events())
    print(f"\n{LOAD_SECONDS:g} s of {size} bytes: {sent} frames sent, {received} received")
    assert report == {"received": sent, "sent": received, "disorder": 0}
    assert ended == [CloseReceived(1000, ""), Failed("connection closed")]
    assert sent > 100 * LOAD_SECONDS
    assert received > 100 * LOAD_SECONDS
