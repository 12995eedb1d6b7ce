"""`mpengine resume` opens the microphone of a paused engine again, and says so once it is open."""

import argparse

from mpengine.cli.options import add_target, target_of
from mpengine.cli.target import Target, wait_for_status
from mpengine.shared import messages
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.text import harmless

_OPEN_LIMIT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "query", "command")


def main(arguments: argparse.Namespace) -> int:
    """See `resume`."""
    return resume(target_of(arguments))


def resume(target: Target) -> int:
    """Resume the engine, and print it when its device is open. Returns 0, also for an engine that was not paused.

    Raises EngineUnreachable, and MpengineError when the engine refuses, or its device has not opened.
    """
    target.tell(messages.Resume())
    last = wait_for_status(target, lambda status: status.device is not None, _OPEN_LIMIT_S)
    if last.device is None:
        why = last.reason or f"the engine is {last.state}"
        raise MpengineError(f"{target.name} goes on, but no device is open after {_OPEN_LIMIT_S:g} s: {harmless(why)}")
    print(f"resumed: {harmless(last.device)} is open")
    return int(ExitCode.OK)
