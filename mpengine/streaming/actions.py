"""What the session wants done, as values; the work loop performs them in order. Pure."""

from typing import NamedTuple

from mpengine.shared import control
from mpengine.shared.errors import ExitCode


class Connect(NamedTuple):
    """Begin attempt `number`."""

    number: int


class Drop(NamedTuple):
    """End the current connection at once; nothing of it is wanted any more."""


class SendAudio(NamedTuple):
    """One binary frame of whole samples."""

    pcm: bytes | memoryview


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


Action = Connect | Drop | SendAudio | SendText | SendPing | SendPong | SendClose | Tell | Mention | Leave


def joined(actions: list[Action], most_bytes: int) -> list[Action]:
    """The same with audio that follows upon audio in one frame, of at most `most_bytes` unless one alone is longer."""
    if len(actions) < 2:
        return actions
    result: list[Action] = []
    together: list[bytes | memoryview] = []
    size = 0
    for action in actions:
        pcm = action.pcm if isinstance(action, SendAudio) else None
        if together and (pcm is None or size + len(pcm) > most_bytes):
            result.append(SendAudio(b"".join(together)))
            together, size = [], 0
        if pcm is None:
            result.append(action)
        else:
            together.append(pcm)
            size += len(pcm)
    return [*result, SendAudio(b"".join(together))] if together else result
