"""The private parts of websocket-client that the engine uses.

No other module imports the library's private modules, overrides its methods or reads its fields. pyproject.toml keeps
the library below version 2. tests/pure/test_library.py names each private part, so that a release without it fails a
test before it fails a user.
"""

import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import websocket
from websocket._http import _tunnel
from websocket._url import parse_url


class Header(NamedTuple):
    """The first two bytes of a frame. `length` is at most 125; 126 and 127 say that the length follows."""

    final: int
    rsv1: int
    rsv2: int
    rsv3: int
    opcode: int
    is_masked: int
    length: int


class FrameReader(websocket.frame_buffer):
    """Reads frames. `receive` gets up to so many bytes, none at the end of the stream.

    A subclass judges each header and each length before the rest is read. After an exception nothing more can be read.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        def receive_some(size: int) -> bytes:
            if data := receive(size):
                return data
            raise EOFError

        super().__init__(receive_some, skip_utf8_validation=True)  # the subclass decodes the text

    def next_frame(self) -> websocket.ABNF:
        """Wait for the next whole frame.

        Raises the exceptions of `receive`, `judge_header` and `judge_length`, EOFError at the end of the stream, and
        websocket.WebSocketProtocolException.
        """
        return self.recv_frame()

    def judge_header(self, header: Header) -> None:
        """Raise an exception if the frame must not come."""

    def judge_length(self, opcode: int, length: int) -> None:
        """Raise an exception if the payload of `length` bytes is too long."""

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
    """The part of a socket that an HTTP exchange needs."""

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end of the stream."""

    def send(self, data: bytes) -> int:
        """Send bytes; returns how many went out."""

    def gettimeout(self) -> float:
        """Seconds that the library waits for the socket; 0.0 if `recv` and `send` wait themselves."""


def parts_of(url: str) -> Address:
    """The parts of a ws:// or wss:// address. Raises ValueError."""
    return Address(*parse_url(url))


def ask_for_tunnel(link: SocketLike, host: str, port: int, user: tuple[str, str] | None) -> None:
    """Ask the HTTP proxy of `link` for a tunnel. Raises websocket.WebSocketProxyException if it opens none."""
    _tunnel(cast("socket.socket", link), f"[{host}]" if ":" in host else host, port, user)
