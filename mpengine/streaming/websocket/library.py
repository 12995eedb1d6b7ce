"""All that is used of websocket-client beyond what its documentation promises.

No other module imports the library's private modules, overrides its methods or reads its fields. pyproject.toml keeps
the library below version 2, and tests/pure/test_library.py names each private part, so that a release without one of
them fails a test and no user.
"""

import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import websocket
from websocket._http import _tunnel
from websocket._url import get_proxy_info, parse_url

User = tuple[str, str]


class Header(NamedTuple):
    """What the first two bytes of a frame say. `length`: up to 125, or 126 and 127 for a length that follows."""

    final: int
    rsv1: int
    rsv2: int
    rsv3: int
    opcode: int
    is_masked: int
    length: int


class FrameReader(websocket.frame_buffer):
    """Reads frames by means of `receive`: up to so many bytes, none at the end of the stream.

    A subclass judges each header and then each length, before more is read. After an exception nothing more can be
    read.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        def receive_some(size: int) -> bytes:
            if data := receive(size):
                return data
            raise EOFError

        super().__init__(receive_some, skip_utf8_validation=True)  # whoever decodes the text decides

    def next_frame(self) -> websocket.ABNF:
        """Wait for the next whole frame.

        Raises what `receive`, `judge_header` and `judge_length` raise, EOFError at the end of the stream, and
        websocket.WebSocketProtocolException.
        """
        return self.recv_frame()

    def judge_header(self, header: Header) -> None:
        """Raise an exception for a frame that must not come."""

    def judge_length(self, opcode: int, length: int) -> None:
        """Raise an exception for a frame that is too long; `length` is its payload's, in bytes."""

    def recv_header(self) -> None:
        """Override: read the first two bytes of a frame."""
        super().recv_header()
        assert self.header is not None
        self.judge_header(Header(*self.header))

    def recv_length(self) -> None:
        """Override: read the length of a frame."""
        super().recv_length()
        assert self.header is not None
        assert self.length is not None
        self.judge_length(Header(*self.header).opcode, self.length)


class Address(NamedTuple):
    """The parts of a WebSocket address."""

    host: str
    port: int
    resource: str
    is_secure: bool


class SocketLike(Protocol):
    """What an HTTP exchange needs of a socket."""

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end of the stream."""

    def send(self, data: bytes) -> int:
        """Send bytes; returns how many went out."""

    def gettimeout(self) -> float:
        """0.0 where `recv` and `send` wait by themselves, otherwise how long the library shall wait, in seconds."""


def parts_of(url: str) -> Address:
    """The parts of a ws:// or wss:// address. Raises ValueError."""
    return Address(*parse_url(url))


def proxy_for(host: str, *, is_secure: bool) -> tuple[str | None, int, User | None]:
    """Host, port (0: the usual one) and user of the HTTP proxy that the environment names for `host`.

    Raises ValueError, and TypeError for an IPv6 address among the IPv4 networks of `no_proxy`.
    """
    proxy_host, proxy_port, user = get_proxy_info(host, is_secure)
    return proxy_host, proxy_port, user


def ask_for_tunnel(link: SocketLike, host: str, port: int, user: User | None) -> None:
    """Ask the proxy behind `link` for a tunnel. Raises websocket.WebSocketProxyException when it opens none."""
    _tunnel(cast("socket.socket", link), host, port, user)
