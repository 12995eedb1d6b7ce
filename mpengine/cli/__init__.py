"""The `mpengine` command: reads its arguments, hands over to one module a command, prints errors as one line."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import mpengine
from mpengine.cli.formats import FORMATS
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.standard_streams import complain, drop_output, ensure_standard_streams

if TYPE_CHECKING:
    from mpengine.cli.target import Target

_SERVER_KEY = "MPENGINE_CURVE_SERVER_KEY"
_KEY_OPTION = "--server-key"
_MOST_DIGITS = 19
_LONGEST_OFFSET_S = 1e9
_SHORTEST_WATCH_S, _LONGEST_WATCH_S = 0.1, 86400.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`; returns the exit code. No traceback for a closed pipe or Ctrl-C."""
    try:
        ensure_standard_streams()
        _look_for_a_namesake()
        code = _run(_parser().parse_args(_with_key(sys.argv[1:] if argv is None else argv)))
        sys.stdout.flush()
    except MpengineError as error:
        complain(str(error))
        return int(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (head, less): nothing to say, and nowhere to say it.
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # we are about to end: a second one changes nothing
        drop_output()
        return int(ExitCode.OK)
    return code


def _look_for_a_namesake() -> None:
    """Say how to part this package from another distribution that uses the folder mpengine/ as well.

    The package index has one, called mpengine. pip installs both into one folder without a word, and to remove either
    removes files of the other one. Raises MpengineError where the other one's `__init__.py` stands in place of ours.
    """
    site = os.path.dirname(os.path.dirname(os.path.abspath(mpengine.__file__)))
    try:
        names = os.listdir(site)
    except OSError:  # a zip file, or a folder that may be searched but not listed
        return
    if not any(name.startswith("mpengine-") and name.endswith((".dist-info", ".egg-info")) for name in names):
        return
    text = (
        "a package of somebody else, called mpengine, is installed in the same folder as this one (mpengine-stt). "
        "To part them: pip uninstall mpengine mpengine-stt, then install this one alone"
    )
    if not hasattr(mpengine, "Supervisor"):
        raise MpengineError(text)
    complain(text)


def _with_key(argv: Sequence[str]) -> list[str]:
    """The same with a key and its option in one word: one key in 85 begins with a hyphen, as options do."""
    words = list(argv)
    for place, word in enumerate(words[:-1]):
        if word == _KEY_OPTION:
            return [*words[:place], f"{word}={words[place + 1]}", *words[place + 2 :]]
    return words


def _run(arguments: argparse.Namespace) -> int:
    # Each command imports what it needs, and no more: `run` is a process that stays for months.
    match arguments.command:
        case "run":
            from mpengine.cli.run import run  # noqa: PLC0415

            return run(arguments.config, arguments.set, arguments.log_level, arguments.log_format)
        case "listen":
            from mpengine.cli.formats.base import Look  # noqa: PLC0415
            from mpengine.cli.listen import Wish, listen  # noqa: PLC0415

            wish = Wish(
                output_format=arguments.format,
                output=arguments.output,
                append=arguments.append,
                force=arguments.force,
                finals_only=arguments.finals,
                look=Look(arguments.user, arguments.timestamps, arguments.offset),
                since=arguments.since,
                exit_on_stop=arguments.exit_on_stop,
            )
            return listen(_target(arguments), wish)
        case "status" if arguments.watch is not None:
            from mpengine.cli.status import watch  # noqa: PLC0415

            watch(_target(arguments), interval_s=arguments.watch, as_json=arguments.json)
            return int(ExitCode.OK)
        case "status":
            from mpengine.cli.status import status  # noqa: PLC0415

            return status(_target(arguments), as_json=arguments.json)
        case "devices":
            from mpengine.cli.devices import devices  # noqa: PLC0415

            return devices(as_json=arguments.json)
        case "service":
            from mpengine.cli.service import service  # noqa: PLC0415

            return service(is_user=arguments.user, config=arguments.config, name=arguments.name)
        case "help":
            from mpengine.cli.help import show_help  # noqa: PLC0415

            return show_help(arguments.topic)
        case _:
            from mpengine.cli.stop import stop  # noqa: PLC0415

            return stop(_target(arguments), timeout_s=arguments.timeout)


def _target(arguments: argparse.Namespace) -> "Target":
    from mpengine.cli.target import Target  # noqa: PLC0415

    return Target(arguments.name, arguments.publish, arguments.query, arguments.server_key)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mpengine", description=mpengine.__doc__)
    parser.add_argument("--version", action="version", version=f"mpengine {mpengine.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run an engine until it is stopped (Ctrl-C; twice: at once)")
    run.add_argument("--config", metavar="FILE", help="TOML file; mpengine help configuration lists its keys")
    run.add_argument("--set", metavar="TABLE.KEY=VALUE", action="append", default=[], help="overrides a key")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    run.add_argument("--log-format", choices=("text", "json"), default="text", help="json: an object a line")

    _add_listen(commands.add_parser("listen", help="show what an engine hears, live"))

    status = commands.add_parser("status", help="show how an engine is")
    _add_target(status, "query")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=_interval_s,
        const=1.0,
        help="again and again (every second), in place on a terminal; with --json an object a line",
    )

    devices = commands.add_parser("devices", help="list the audio inputs")
    devices.add_argument("--json", action="store_true", help="for programs")

    service = commands.add_parser("service", help="print a systemd unit; its first lines say where it belongs")
    whose = service.add_mutually_exclusive_group()
    whose.add_argument("--system", action="store_true", help="of the machine, with ALSA devices (the default)")
    whose.add_argument("--user", action="store_true", help="of a user, with the sound server of a desktop")
    service.add_argument("--config", metavar="FILE", help="else mic.toml in /etc/mpengine, or ~/.config/mpengine")
    service.add_argument("--name", help="the engine's name, if it is not in the file")

    stop = commands.add_parser("stop", help="stop an engine, its last words published, and wait for its end")
    _add_target(stop, "query")
    stop.add_argument("--timeout", type=float, default=40.0, metavar="SECONDS", help="how long to wait for its end")

    pages = commands.add_parser("help", help="list the pages of the reference, or show one of them")
    pages.add_argument("topic", metavar="TOPIC", nargs="?", help="a page, or the beginning of its name")
    return parser


def _add_listen(parser: argparse.ArgumentParser) -> None:
    _add_target(parser, "publish", "query")
    about = "; ".join(f"{name}: {about}" for name, (_, about) in FORMATS.items())
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help=f"else as the output's name ends, else text; {about}",
    )
    parser.add_argument("--output", metavar="FILE", help="write to a new file, live, and not to standard output")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="go on with the output if it exists")
    existing.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.add_argument("--finals", action="store_true", help="without interim results")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=_since,
        help="start: all that the engine remembers (the default for files and subtitles); now (the default else); "
        "SEQ or RUN:SEQ: behind that message",
    )
    parser.add_argument(
        "--timestamps",
        nargs="?",
        choices=("run", "utc", "both"),
        const="run",
        help="text: when each final was said, in seconds of the run (default) or as UTC",
    )
    parser.add_argument("--user", action="store_true", help="text, srt, vtt: with names: engine.user_name, speakers")
    parser.add_argument(
        "--offset",
        metavar="SECONDS",
        type=_offset_s,
        default=0.0,
        help="srt, vtt: added to all times, which count from the start of the run",
    )
    parser.add_argument("--exit-on-stop", action="store_true", help="end when the engine has stopped, or is gone")


def _since(text: str) -> tuple[str, int] | int | str:
    if text in {"start", "now"}:
        return text
    run, _, seq = text.rpartition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) < _MOST_DIGITS):
        raise argparse.ArgumentTypeError("expected start, now, SEQ or RUN:SEQ")
    return (run, int(seq)) if run else int(seq)


def _offset_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("inf")
    if not abs(seconds) <= _LONGEST_OFFSET_S:
        raise argparse.ArgumentTypeError("expected a number of seconds")
    return seconds


def _interval_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST_WATCH_S <= seconds <= _LONGEST_WATCH_S:
        raise argparse.ArgumentTypeError(f"expected {_SHORTEST_WATCH_S:g} to {_LONGEST_WATCH_S:g} seconds")
    return seconds


def _add_target(parser: argparse.ArgumentParser, *endpoints: str) -> None:
    parser.set_defaults(publish=None, query=None)
    parser.add_argument("--name", default="default", help="the engine's name (engine.name)")
    for endpoint in endpoints:
        parser.add_argument(f"--{endpoint}", metavar="ENDPOINT", help=f"its bus.{endpoint}, if that was configured")
    parser.add_argument(
        _KEY_OPTION,
        metavar="KEY",
        default=os.environ.get(_SERVER_KEY) or None,
        help=f"the public part of its bus.curve_secret_key, if that was configured (else ${_SERVER_KEY})",
    )
