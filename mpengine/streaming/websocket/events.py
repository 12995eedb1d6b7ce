"""The events of a connection, for its owner. Pure.

`Refused` or `Failed` comes at most once, and is the last event.
"""

from collections.abc import Mapping

import msgspec

NO_CLOSE_CODE = 1005  # RFC 6455, section 7.4.1: means that a close frame has no code, and is never on the wire


class Opened(msgspec.Struct, frozen=True):
    """The connection is open, and the owner may send.

    `headers`: the headers of the answer that the owner had asked for, by their names in lower case.
    """

    headers: Mapping[str, str] = {}


class Received(msgspec.Struct, frozen=True):
    """One whole message of the peer. Bytes that are no UTF-8 have become U+FFFD."""

    text: str


class PingReceived(msgspec.Struct, frozen=True):
    """The peer's ping. The owner sends a pong with its payload."""

    payload: bytes


class PongReceived(msgspec.Struct, frozen=True):
    """The peer's pong, be it an answer to a ping or not."""

    payload: bytes


class CloseReceived(msgspec.Struct, frozen=True):
    """The peer's close frame, which the owner answers. `code` is NO_CLOSE_CODE if the frame had none."""

    code: int
    reason: str


class Refused(msgspec.Struct, frozen=True):
    """The peer answered the upgrade with a status other than 101. Its words are cut and hold none of our secrets.

    The `phrase` of a redirect has the address to which it leads.
    `retry_after_s`: how long the peer asks us to wait.
    """

    status: int
    phrase: str
    body: str
    headers: Mapping[str, str] = {}
    retry_after_s: float = 0.0


class Failed(msgspec.Struct, frozen=True):
    """The connection was not opened, or has ended. `reason` is one sentence without secrets."""

    reason: str


Event = Opened | Received | PingReceived | PongReceived | CloseReceived | Refused | Failed
