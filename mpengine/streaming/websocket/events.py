"""What a connection tells its owner, as plain values. Pure.

Pure: neither websocket nor socket nor threading is imported, so that session logic, which only decides, can
name them.
At most one of `Refused` and `Failed` comes, and nothing after it.
"""

from collections.abc import Mapping

import msgspec

NO_CLOSE_CODE = 1005  # never on the wire: RFC 6455 section 7.4.1 reserves it for this


class Opened(msgspec.Struct, frozen=True):
    """The upgrade was answered with 101: from now on the owner may send.

    `headers`: those of the answer that the owner has asked for, by their names in lower case.
    """

    headers: Mapping[str, str] = {}


class Received(msgspec.Struct, frozen=True):
    """One whole message of the peer; bytes that are no UTF-8 have become U+FFFD."""

    text: str


class PingReceived(msgspec.Struct, frozen=True):
    """The peer wants a pong with this payload; the owner sends it."""

    payload: bytes


class PongReceived(msgspec.Struct, frozen=True):
    """The peer's answer to a ping of ours, or a pong of its own accord."""

    payload: bytes


class CloseReceived(msgspec.Struct, frozen=True):
    """The peer's close frame; the owner answers it. NO_CLOSE_CODE: the frame had none."""

    code: int
    reason: str


class Refused(msgspec.Struct, frozen=True):
    """The upgrade was answered with another status than 101: in the peer's words, cut, without our secrets."""

    status: int
    phrase: str
    body: str
    headers: Mapping[str, str] = {}


class Failed(msgspec.Struct, frozen=True):
    """There is no connection (any more): one sentence without secrets."""

    reason: str


Event = Opened | Received | PingReceived | PongReceived | CloseReceived | Refused | Failed
