"""Connection against servers that refuse, fail, or speak no WebSocket."""

import contextlib
import gc
import json
import os
import select
import socket
import struct
import threading
import tracemalloc

import pytest

from mpengine.shared.errors import ConnectionLost
from mpengine.streaming.websocket.connection import Connection
from mpengine.streaming.websocket.events import NO_CLOSE_CODE, Failed, Received, Refused
from mpengine.streaming.websocket.opening import retry_after_s
from tests.parts.peers import (
    BINARY,
    CLOSE,
    NEVER,
    PING,
    SECRET,
    SOON,
    TEXT,
    Authority,
    after_upgrade,
    answers,
    connection,
    crooked_server,
    deaf_address,
    frame,
    next_event,
    opened,
    outcome_of,
    read_request,
    silent_server,
    socket_of,
    until_gone,
    until_gone_after_upgrade,
    until_inside,
    upgrade,
)
from tests.rig.serving import reserve_port

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_proxy")

# What is refused


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


def refused(tls):
    with crooked_server(answers(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), tls) as url:
        return outcome_of(url, tls)


def unreachable(tls):
    return outcome_of(f"{'wss' if tls else 'ws'}://127.0.0.1:{reserve_port()}/", tls)


@pytest.mark.parametrize("attempt", [refused, unreachable])
def test_an_attempt_that_failed_leaves_no_descriptor(tls, attempt):
    """Also where no collector of garbage comes by: it has little to do in a process that tries again and again."""
    attempt(tls)
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            attempt(tls)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


CHUNKED = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", Refused(503, "Busy", "")),
        (b"HTTP/1.1 402\r\nContent-Length: 2\r\n\r\n\xff!", Refused(402, "", "\ufffd!")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Refused(200, "OK", "hi")),
        (b"HTTP/1.1 500 x\r\nContent-Length: none\r\n\r\n", Refused(500, "x", "")),
        (b"HTTP/1.0 401 No\r\n\r\nwhy not", Refused(401, "No", "why not")),
        (CHUNKED + b"3\r\nwhy\r\n4;x=y\r\n not\r\n0\r\n\r\n", Refused(403, "No", "why not")),
        (CHUNKED + b"3\r\nwhy\r\nfff\r\n not", Refused(403, "No", "why not")),
        (CHUNKED + b"3\r\nwhy\r\nnone\r\n not", Refused(403, "No", "why")),
        (CHUNKED + b"-3\r\n" + b"9" * 9000, Refused(403, "No", "")),
        (CHUNKED, Refused(403, "No", "")),
    ],
)
def test_refusals_of_other_kinds(answer, refused):
    with crooked_server(answers(answer)) as url:
        assert outcome_of(url) == refused


NOON = "Sun, 06 Nov 1994 12:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "wait_s"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9" * 4000}, float("inf")),
        ({"retry-after": "Sun, 06 Nov 1994 12:00:30 GMT"}, 40.0),  # by our clock
        ({"retry-after": "Sun, 06 Nov 1994 12:00:30 GMT", "date": NOON}, 30.0),
        ({"retry-after": "Sunday, 06-Nov-94 12:00:30 GMT", "date": "Sun Nov  6 12:00:00 1994"}, 30.0),
        ({"retry-after": NOON, "date": "Sun, 06 Nov 1994 12:00:30 GMT"}, 0.0),
        ({"retry-after": "Sun, 06 Nov 1994 12:00:30 GMT", "date": "soon"}, 40.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1.5"}, 0.0),
        ({"retry-after": "²"}, 0.0),
        ({"retry-after": ""}, 0.0),
        ({}, 0.0),
    ],
)
def test_how_long_to_wait_is_read_in_seconds_and_as_a_date(fields, wait_s):
    assert retry_after_s(fields, 784_123_190.0) == wait_s  # 11:59:50


@pytest.mark.parametrize(("asked", "wait_s"), [("7", 7.0), ("soon", 0.0)])
def test_a_refusal_has_the_wait_that_the_peer_asks_for(asked, wait_s):
    with crooked_server(answers(f"HTTP/1.1 503 Busy\r\nRetry-After: {asked}\r\n\r\n".encode())) as url:
        assert outcome_of(url) == Refused(503, "Busy", "", retry_after_s=wait_s)


@pytest.mark.parametrize("piece", [SECRET[:8], SECRET[-9:], SECRET])
def test_no_piece_of_the_secret_is_told(piece):
    answer = f"HTTP/1.1 401 {piece}\r\nContent-Length: {len(piece)}\r\n\r\n{piece}"
    with crooked_server(answers(answer.encode())) as url:
        assert outcome_of(url) == Refused(401, "***", "***")


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
            assert outcome_of(url) == Refused(status, f"Over there, to {place}", "")
        assert select.select([elsewhere], [], [], 0)[0] == []


@pytest.mark.parametrize(
    ("location", "phrase"),
    [
        ("/login", "Found, to /login"),
        (f"https://portal.test/a?back={SECRET}", "Found, to https://portal.test/a"),
        (f"https://{SECRET}/a", "Found, to https://***/a"),
        ("/" + "x" * 300, "Found, to /" + "x" * 199),
        ("", "Found"),
    ],
)
def test_the_place_to_which_a_redirect_leads_is_told(location, phrase):
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with crooked_server(answers(answer)) as url:
        assert outcome_of(url) == Refused(302, phrase, "")


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
        address = proxy.rstrip("/").replace("ws:", "http:")
        monkeypatch.setenv("http_proxy", address)
        reason = f"the proxy {address} (http_proxy) opened no tunnel to host.test: it answered 407"
        assert outcome_of("ws://host.test/") == Failed(reason)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("http_proxy", "socks5h://me:hidden@10.0.0.1:1080", "the proxy in http_proxy is a socks5h:// one, "),
        ("ALL_PROXY", "http://me:hidden@:80", "the proxy in ALL_PROXY has no usable address: "),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch, variable, value, why):
    monkeypatch.setenv(variable, value)
    failed = outcome_of("ws://host.test/")
    assert failed.reason.startswith(why)
    assert "hidden" not in failed.reason


def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("HTTP_PROXY", f"me:hidden@{address}")
        assert outcome_of("ws://host.test/") == Failed(f"connection refused by the proxy http://{address} (HTTP_PROXY)")


def test_a_proxy_whose_certificate_is_not_trusted(monkeypatch, authority):
    with crooked_server(until_gone, authority) as proxy:
        address = proxy.rstrip("/").replace("wss:", "https:")
        monkeypatch.setenv("https_proxy", address)
        failed = outcome_of("wss://host.test/")
    assert failed.reason.startswith(f"TLS certificate of the proxy {address} (https_proxy) not trusted: ")


@contextlib.contextmanager
def deaf_server():
    with deaf_address() as (host, port):
        yield f"ws://{host}:{port}/"


@pytest.mark.parametrize("server", [deaf_server, silent_server])
@pytest.mark.parametrize("scheme", ["ws:", "wss:"])
def test_a_server_that_never_answers(server, scheme):
    with server() as url:
        failed = outcome_of(url.replace("ws:", scheme), connect_timeout_s=0.3)
    assert failed == Failed("no answer from 127.0.0.1 within 0.3 s")


@pytest.mark.parametrize("server", [deaf_server, silent_server])
@pytest.mark.parametrize("scheme", ["ws:", "wss:"])
def test_abandoned_while_connecting(server, scheme):
    with server() as url, connection(url.replace("ws:", scheme), connect_timeout_s=NEVER) as made:
        until_inside(socket_of(made), 1)
        made.abandon()
        assert made.join(SOON)
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
            assert next_event(made) == Failed("message of 1073741824 bytes refused: over 131072")
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
