"""The coordinator's actions, as values. The supervisor's loop performs them in order. Pure."""

import enum
from typing import Any, NamedTuple

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Error, Stamped


class Child(enum.StrEnum):
    """The processes below the supervisor."""

    CAPTURE = "capture"
    STREAMING = "streaming"
    RECOGNISER = "recogniser"


class Spawn(NamedTuple):
    """Start a process."""

    child: Child


class Send(NamedTuple):
    """Send a message to a child."""

    child: Child
    message: control.Down


class Terminate(NamedTuple):
    """Ask a process to end now."""

    child: Child


class LookAt(NamedTuple):
    """Look at what a silent process does, and report that to `Lives.looked`."""

    child: Child


class Abort(NamedTuple):
    """Have a process write its stacks to the log, and end."""

    child: Child


class Kill(NamedTuple):
    """End a process at once."""

    child: Child


class Publish(NamedTuple):
    """Publish a message; a final is journalled first, with the position up to which it covers the audio."""

    message: Stamped
    covers: int = 0


class KeepGap(NamedTuple):
    """Note in the journal that a gap of samples [first, end) is published."""

    first: int
    end: int


class KeepDevice(NamedTuple):
    """Note in the journal that the run has had the device of this `identity` open."""

    identity: str


class Acknowledge(NamedTuple):
    """Published finals cover all audio before `sample`: note that in the journal."""

    sample: int


class Log(NamedTuple):
    """Write a line of the log."""

    level: str
    event: str
    fields: dict[str, Any]


class Exit(NamedTuple):
    """All children are gone: end the engine."""

    exit_code: ExitCode


Action = Spawn | Send | Terminate | LookAt | Abort | Kill | Publish | KeepGap | KeepDevice | Acknowledge | Log | Exit


def report(error: Error, level: str = "warning") -> list[Action]:
    """Log `error` under its code, and publish it."""
    return [Log(level, error.code, {"message": error.message}), Publish(error)]
