"""What the session wants done, as values; the work loop performs them in order. Pure.

Audio is none of them: it goes its own way, see `Session.audio`.
"""

from typing import NamedTuple

from mpengine.shared import control
from mpengine.shared.errors import ExitCode


class Connect(NamedTuple):
    """Begin attempt `number`."""

    number: int


class Drop(NamedTuple):
    """End the current connection at once; nothing of it is wanted any more."""


class SendText(NamedTuple):
    """One text frame."""

    text: str


class SendPing(NamedTuple):
    """A WebSocket ping."""

    payload: bytes


class SendPong(NamedTuple):
    """The answer to a ping, with its payload."""

    payload: bytes


class SendClose(NamedTuple):
    """A close frame; what still comes is read."""

    code: int


class Tell(NamedTuple):
    """Tell the supervisor; it must arrive."""

    message: control.Up


class Mention(NamedTuple):
    """Tell the supervisor if there is room."""

    message: control.Up


class Leave(NamedTuple):
    """End the process."""

    exit_code: ExitCode


Action = Connect | Drop | SendText | SendPing | SendPong | SendClose | Tell | Mention | Leave
