"""The session's instructions to the work loop, which performs them in order. Pure.

Audio is none of them: `Session.audio` says why.
"""

from typing import NamedTuple

from mpengine.shared import control
from mpengine.shared.errors import ExitCode


class Connect(NamedTuple):
    """Begin the connection `number`."""

    number: int


class Drop(NamedTuple):
    """End the current connection at once, without reading further from it."""


class SendText(NamedTuple):
    """Send one text frame."""

    text: str


class SendPing(NamedTuple):
    """Send a WebSocket ping."""

    payload: bytes


class SendPong(NamedTuple):
    """Answer a ping, with its payload."""

    payload: bytes


class SendClose(NamedTuple):
    """Send a close frame and go on reading."""

    code: int


class Tell(NamedTuple):
    """Send `message` to the supervisor. It must arrive."""

    message: control.Up


class Mention(NamedTuple):
    """Send `message` to the supervisor if the socket has room."""

    message: control.Up


class Note(NamedTuple):
    """Log that a message of this kind was not understood."""

    kind: str


class Leave(NamedTuple):
    """End the process."""

    exit_code: ExitCode


Action = Connect | Drop | SendText | SendPing | SendPong | SendClose | Tell | Mention | Note | Leave
