"""`mpengine pause` closes the microphone of an engine, `mpengine resume` opens it again. Both say when it is done."""

import argparse

from mpengine.cli.options import add_target, target_of
from mpengine.cli.target import Target, wait_for_status
from mpengine.shared import messages
from mpengine.shared.config_tables import name_option
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.standard_streams import write_lines
from mpengine.shared.text import harmless

_LIMIT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of either command."""
    add_target(parser, "query", "command")


def main(arguments: argparse.Namespace) -> int:
    """See `pause` and `resume`."""
    do = pause if arguments.command == "pause" else resume
    write_lines(do(target_of(arguments)))
    return int(ExitCode.OK)


def pause(target: Target) -> str:
    """Pause the engine, and wait until its device is closed; the line that says so. It may have been paused before.

    Raises EngineUnreachable, and MpengineError when the engine refuses, or its device has not closed.
    """
    target.tell(messages.Pause())
    last = wait_for_status(target, lambda status: status.paused and status.device is None, _LIMIT_S)
    if last.device is not None:
        text = f'"{target.name}" is to pause, but {harmless(last.device)} is still open after {_LIMIT_S:g} s'
        raise MpengineError(text)
    return f"paused: the microphone is closed; `mpengine resume{name_option(target.name)}` opens it again"


def resume(target: Target) -> str:
    """Resume the engine, and wait until its device is open; the line that says so. It may not have been paused.

    Raises EngineUnreachable, and MpengineError when the engine refuses, or its device has not opened.
    """
    target.tell(messages.Resume())
    last = wait_for_status(target, lambda status: status.device is not None, _LIMIT_S)
    if last.device is None:
        why = last.reason or f"the engine is {last.state}"
        raise MpengineError(f'"{target.name}" goes on, but no device is open after {_LIMIT_S:g} s: {harmless(why)}')
    return f"resumed: {harmless(last.device)} is open"
