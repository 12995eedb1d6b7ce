"""Connection against real servers on the loopback: what works, and what a caller may not do."""

import base64
import contextlib
import os
import select
import socket
import ssl
import struct
import threading
from urllib.parse import urlsplit

import pytest

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
)
from tests.parts.peers import (
    BINARY,
    CLOSE,
    NEVER,
    PING,
    PONG,
    SECRET,
    SOON,
    TEXT,
    after_upgrade,
    connection,
    crooked_server,
    frame,
    next_event,
    next_events,
    opened,
    read_request,
    silent_server,
    socket_of,
    until_gone_after_upgrade,
    upgrade,
    whole_server,
)
from tests.rig.processes import descriptors_here

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_proxy")

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


def test_small_frames_are_not_held_back():
    with opened(until_gone_after_upgrade) as made, socket.socket(fileno=os.dup(socket_of(made).fileno())) as same:
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


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


class Tunnel(threading.Thread):
    """A proxy that speaks TLS: it opens one tunnel to `target`, whatever it is asked for."""

    def __init__(self, authority, target):
        super().__init__()
        self._authority, self._target = authority, target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = ""

    def run(self):
        with self._listener:
            accepted, _ = self._listener.accept()
        accepted.settimeout(NEVER)
        with (
            self._authority.server.wrap_socket(accepted, server_side=True) as near,
            socket.create_connection(self._target, NEVER) as far,
        ):
            self.asked = read_request(near)
            near.sendall(b"HTTP/1.1 200 tunnel\r\n\r\n")
            with contextlib.suppress(OSError):
                self._carry(near, far)

    def _carry(self, near, far):
        while True:
            ready, _, _ = select.select([near, far], [], [], NEVER)
            for one, other in ((near, far), (far, near)):
                if one in ready and not self._passed_on(one, other):
                    return

    def _passed_on(self, one, other):
        data = one.recv(65536)
        while data and isinstance(one, ssl.SSLSocket) and one.pending():
            data += one.recv(65536)
        other.sendall(data)
        return bool(data)


def echo(server):
    for message in server:
        server.send(message.hex() if isinstance(message, bytes) else message)


@pytest.mark.parametrize("encrypted", [True, False], ids=["wss", "ws"])
def test_a_proxy_that_speaks_tls_carries_the_connection(monkeypatch, authority, encrypted):
    with whole_server(echo, authority if encrypted else None) as url:
        port = urlsplit(url).port
        tunnel = Tunnel(authority, ("127.0.0.1", port))
        tunnel.start()
        monkeypatch.setenv("https_proxy" if encrypted else "http_proxy", tunnel.address.replace("//", "//me:hid%64en@"))
        with connection(url.replace("127.0.0.1", "recogniser.test"), authority) as made:
            assert isinstance(next_event(made), Opened)
            sent = [bytes([number]) * 60_000 for number in range(20)]
            for pcm in sent:
                made.send_audio(pcm)
            assert next_events(made, len(sent)) == [Received(pcm.hex()) for pcm in sent]
            made.send_close(1000)
            assert next_event(made) == CloseReceived(1000, "")
            assert isinstance(next_event(made), Failed)
        tunnel.join(SOON)
        assert not tunnel.is_alive()
    assert tunnel.asked.startswith(f"CONNECT recogniser.test:{port} HTTP/1.1\r\n")
    login = base64.b64encode(b"me:hidden").decode()
    assert f"\r\nProxy-Authorization: Basic {login}\r\n" in tunnel.asked


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


@pytest.mark.slow
def test_descriptors_go_with_their_object():
    before = descriptors_here()
    for _ in range(3):
        with opened(until_gone_after_upgrade) as made:
            pass
        del made
    assert descriptors_here() == before
