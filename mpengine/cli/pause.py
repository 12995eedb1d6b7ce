"""`mpengine pause` closes the microphone of an engine until `mpengine resume`, and says so once it is closed."""

import argparse

from mpengine.cli.options import add_target, target_of
from mpengine.cli.target import Target, wait_for_status
from mpengine.shared import messages
from mpengine.shared.config_tables import name_option
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.text import harmless

_CLOSED_LIMIT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "query", "command")


def main(arguments: argparse.Namespace) -> int:
    """See `pause`."""
    return pause(target_of(arguments))


def pause(target: Target) -> int:
    """Pause the engine, and print it when its device is closed. Returns 0, also for an engine that was paused before.

    Raises EngineUnreachable, and MpengineError when the engine refuses, or its device has not closed.
    """
    target.tell(messages.Pause())
    last = wait_for_status(target, lambda status: status.paused and status.device is None, _CLOSED_LIMIT_S)
    if last.device is not None:
        text = f"{target.name} is to pause, but {harmless(last.device)} is still open after {_CLOSED_LIMIT_S:g} s"
        raise MpengineError(text)
    print(f"paused: the microphone is closed; `mpengine resume{name_option(target.name)}` opens it again")
    return int(ExitCode.OK)
