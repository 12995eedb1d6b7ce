"""The coordinator's actions, as values. The supervisor's loop performs them in order. Pure."""

import enum
from typing import Any, NamedTuple

import msgspec

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Error, Stamped, Transcript


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


def traced(action: Action) -> Log | None:
    """The line of the level debug about `action`: what children are told, and what is published and acknowledged.

    None for actions that say nothing, or have a line of their own. No line has words that somebody said.
    """
    match action:
        case Send(child=child, message=message):
            return Log("debug", "told", {"child": child, **_fields_of(message)})
        case Acknowledge(sample=sample):
            return Log("debug", "acknowledged", {"sample": sample})
        case Publish(message=Transcript(is_final=True) as final, covers=covers):
            fields = {"start_s": final.start_s, "end_s": final.end_s, "connection": final.connection, "covers": covers}
            return Log("debug", "final", {**fields, "characters": len(final.text), "replayed": final.replayed})
        case Spawn(child=child) | Terminate(child=child) | Abort(child=child):
            return Log("debug", type(action).__name__.lower(), {"child": child})
    return None


def heard(child: Child, message: control.Up) -> Log:
    """The line of the level debug about a `message` of `child`."""
    return Log("debug", "heard", {"child": child, **_fields_of(message)})


def _fields_of(message: control.Up | control.Down) -> dict[str, Any]:
    fields = {f"{key}_" if key == "child" else key: value for key, value in msgspec.structs.asdict(message).items()}
    return {"message_type": type(message).__name__, **fields}
