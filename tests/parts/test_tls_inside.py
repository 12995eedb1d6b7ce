"""TLS inside of TLS over an outer socket that is never quite ready: nothing is lost, and nothing is sent twice."""

import random
import ssl

import pytest

from mpengine.streaming.websocket.tls_inside import TlsInside


class Outer:
    """In place of the outer socket: takes and gives pieces of any length, or nothing at all. The peer is behind it."""

    def __init__(self, authority, chance):
        self._chance = chance
        self._to_peer, self._from_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = authority.server.wrap_bio(self._to_peer, self._from_peer, server_side=True)
        self.heard = b""
        self.is_over = False
        self._has_shaken_hands = False

    def send(self, data):
        if self._chance.random() < 0.5:
            raise ssl.SSLWantWriteError
        return self._to_peer.write(bytes(data[: self._chance.randint(1, 5000)]))

    def recv(self, size):
        self.work()
        if self._chance.random() < 0.5 or not (self._from_peer.pending or self.is_over):
            raise ssl.SSLWantReadError
        return self._from_peer.read(min(size, self._chance.randint(1, 5000)))

    def work(self):
        """Let the peer do what it can."""
        try:
            if not self._has_shaken_hands:
                self.peer.do_handshake()
                self._has_shaken_hands = True
            while True:
                self.heard += self.peer.read(1 << 16)
        except ssl.SSLWantReadError:
            pass


def until_done(step, *arguments):
    for _ in range(100_000):
        try:
            return step(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
    raise AssertionError("never done")


@pytest.fixture
def ends(authority, request):
    outer = Outer(authority, random.Random(request.param))
    inner = TlsInside(outer, authority.client_context(), "recogniser.test")
    until_done(inner.do_handshake)
    return inner, outer


@pytest.mark.parametrize("ends", range(5), indirect=True)
def test_every_byte_goes_each_way_once_and_in_order(ends):
    inner, outer = ends
    sent = random.Random(1).randbytes(500_000)
    rest = sent
    while rest:
        rest = rest[until_done(inner.send, rest[:70_000]) :]
    outer.work()
    assert outer.heard == sent
    for first in range(0, len(sent), 10_000):
        outer.peer.write(sent[first : first + 10_000])
    got = b""
    while len(got) < len(sent):
        got += until_done(inner.recv, 3000)
    assert got == sent


@pytest.mark.parametrize("ends", [1], indirect=True)
def test_the_certificate_is_that_of_the_peer(ends):
    inner, _ = ends
    assert ("DNS", "recogniser.test") in inner.getpeercert()["subjectAltName"]
    assert inner.version().startswith("TLSv1.")


@pytest.mark.parametrize("ends", [1], indirect=True)
@pytest.mark.parametrize("is_clean", [True, False])
def test_the_end_of_the_stream_is_no_error(ends, is_clean):
    inner, outer = ends
    outer.work()  # the peer has not read the last words of the handshake
    if is_clean:
        with pytest.raises(ssl.SSLWantReadError):
            outer.peer.unwrap()
    outer.is_over = True
    assert until_done(inner.recv, 100) == b""


def test_a_certificate_of_another_host_is_refused(authority):
    outer = Outer(authority, random.Random(1))
    inner = TlsInside(outer, authority.client_context(), "elsewhere.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        until_done(inner.do_handshake)
