"""`mpengine check` looks for all that would stand in the way of a run, and says what would mend it."""

import argparse
import contextlib
import signal

from mpengine.cli.options import add_set, seconds
from mpengine.shared.errors import ExitCode

_LISTENS_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--config", metavar="FILE", help="TOML file (default: the one that mpengine run takes)")
    parser.add_argument("--local", action="store_true", help="check a run with the recogniser of this machine")
    parser.add_argument("--name", help="the engine's name, instead of engine.name in the file (default: default)")
    add_set(parser)
    listening = parser.add_mutually_exclusive_group()
    listening.add_argument(
        "--seconds",
        metavar="SECONDS",
        type=seconds(0.5, 600),
        default=_LISTENS_S,
        help=f"how long to listen to the microphone (default: {_LISTENS_S:g})",
    )
    listening.add_argument("--no-level", action="store_true", help="open the microphone, and do not listen to it")
    parser.add_argument("--json", action="store_true", help="print JSON: a list of {check, result, text, mend}")


def main(arguments: argparse.Namespace) -> int:
    """Print a line a check. The exit code is that of the first check that has failed; 1 after Ctrl-C."""
    from mpengine.cli.check.lines import exit_code  # noqa: PLC0415  the parser needs none of these
    from mpengine.cli.check.printing import Printer  # noqa: PLC0415
    from mpengine.cli.check.sequence import checks  # noqa: PLC0415
    from mpengine.processes import beginning  # noqa: PLC0415

    beginning.leave_no_core()
    printer = Printer(as_json=arguments.json)
    try:
        with contextlib.closing(checks(arguments, printer.show)) as lines:
            for line in lines:
                printer.add(line)
        printer.finish()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # this process is about to end: a second one changes nothing
        printer.interrupted()
        return int(ExitCode.CRASH)
    return exit_code(printer.lines)
