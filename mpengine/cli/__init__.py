"""The `mpengine` command: reads the arguments, calls the module of the command, prints an error as one line."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import mpengine
from mpengine.cli.formats import FORMATS
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.standard_streams import complain, drop_output, ensure_standard_streams

if TYPE_CHECKING:
    from mpengine.cli.target import Target

_SERVER_KEY = "MPENGINE_CURVE_SERVER_KEY"
_CLIENT_KEY = "MPENGINE_CURVE_CLIENT_KEY_FILE"
_KEY_OPTION = "--server-key"
_MOST_DIGITS = 19


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` and return the exit code. A closed pipe and Ctrl-C are no errors."""
    try:
        ensure_standard_streams()
        _look_for_a_namesake()
        parser = _parser()
        arguments = parser.parse_args(_with_key(sys.argv[1:] if argv is None else argv))
        if arguments.command is None:
            parser.print_help(sys.stderr)
            return int(ExitCode.CONFIG)
        code = _run(arguments)
        sys.stdout.flush()
    except MpengineError as error:
        complain(str(error))
        return int(error.exit_code)
    except BrokenPipeError:
        return int(ExitCode.OK)  # the reader of the output has gone (head, less)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # this process is about to end: a second one changes nothing
        drop_output()
        return int(ExitCode.OK)
    return code


def _look_for_a_namesake() -> None:
    """Warn of another distribution that uses the folder mpengine/ too, and say how to separate the two.

    The package index has one, called mpengine. pip installs both into one folder without a warning, and removing one
    removes files of the other. Raises MpengineError where the other one's `__init__.py` has replaced ours.
    """
    site = os.path.dirname(os.path.dirname(os.path.abspath(mpengine.__file__)))
    try:
        names = os.listdir(site)
    except OSError:  # a zip file, or a folder that may be searched but not listed
        return
    if not any(name.startswith("mpengine-") and name.endswith((".dist-info", ".egg-info")) for name in names):
        return
    text = (
        "another package, called mpengine, is installed in the same folder as this one (mpengine-stt). "
        "To separate them: pip uninstall mpengine mpengine-stt, then install this one alone"
    )
    if not hasattr(mpengine, "Supervisor"):
        raise MpengineError(text)
    complain(text)


def _with_key(argv: Sequence[str]) -> list[str]:
    """`argv` with the option for the key and the key as one word: one key in 85 begins with a hyphen, as options do."""
    words = list(argv)
    for place, word in enumerate(words[:-1]):
        if word == _KEY_OPTION:
            return [*words[:place], f"{word}={words[place + 1]}", *words[place + 2 :]]
    return words


def _run(arguments: argparse.Namespace) -> int:
    # Each command imports only its own modules: `run` is a process that stays for months.
    match arguments.command:
        case "run":
            from mpengine.cli.run import run  # noqa: PLC0415

            return run(
                arguments.config,
                arguments.name,
                arguments.set,
                arguments.log_level,
                arguments.log_format,
                wait=arguments.wait,
            )
        case "listen":
            from mpengine.cli.formats.base import Style  # noqa: PLC0415
            from mpengine.cli.listen import Options, listen  # noqa: PLC0415

            options = Options(
                output_format=arguments.format,
                output=arguments.output,
                append=arguments.append,
                force=arguments.force,
                finals_only=arguments.finals,
                style=Style(arguments.user, arguments.timestamps, arguments.offset),
                since=arguments.since,
                exit_on_stop=arguments.exit_on_stop,
            )
            return listen(_target(arguments), options)
        case "status" if arguments.watch is not None:
            from mpengine.cli.status import watch  # noqa: PLC0415

            watch(_target(arguments), interval_s=arguments.watch, as_json=arguments.json)
            return int(ExitCode.OK)
        case "status" if arguments.check:
            from mpengine.cli.status import check  # noqa: PLC0415

            return check(_target(arguments))
        case "status":
            from mpengine.cli.status import status  # noqa: PLC0415

            return status(_target(arguments), as_json=arguments.json)
        case "devices":
            from mpengine.cli.devices import devices  # noqa: PLC0415

            return devices(arguments.config, as_json=arguments.json, as_levels=arguments.levels)
        case "service":
            from mpengine.cli.service import service  # noqa: PLC0415

            return service(
                is_user=arguments.user,
                config=arguments.config,
                name=arguments.name,
                is_template=arguments.template,
            )
        case "keys":
            from mpengine.cli.keys import keys  # noqa: PLC0415

            return keys(arguments.directory, client=arguments.client)
        case "help":
            from mpengine.cli.help import show_help  # noqa: PLC0415

            return show_help(arguments.topic)
        case _:
            from mpengine.cli.stop import stop  # noqa: PLC0415

            return stop(_target(arguments), timeout_s=arguments.timeout)


def _target(arguments: argparse.Namespace) -> "Target":
    from mpengine.cli.target import Target, read_key  # noqa: PLC0415

    client_key = read_key(arguments.client_key) if arguments.client_key else None
    return Target(
        arguments.name, arguments.publish, arguments.query, arguments.server_key, arguments.command_at, client_key
    )


def _parser() -> argparse.ArgumentParser:
    pages_of_help = "`mpengine help` lists the pages of the reference; `mpengine help configuration` has all keys."
    parser = argparse.ArgumentParser(prog="mpengine", description=mpengine.__doc__, epilog=pages_of_help)
    parser.add_argument("--version", action="version", version=f"mpengine {mpengine.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    run = _add_command(commands, "run", "Run an engine until it is stopped. A second Ctrl-C ends it at once.")
    run.add_argument("--config", metavar="FILE", help="TOML file; `mpengine help configuration` lists its keys")
    run.add_argument("--name", help="the engine's name, instead of engine.name in the file (default: default)")
    run.add_argument(
        "--set",
        metavar="TABLE.KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the configuration; may be repeated",
    )
    run.add_argument(
        "--wait",
        action="store_true",
        help="end for a wrong configuration alone: wait where the recogniser refuses, or there is no device",
    )
    run.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="write log lines of this level and above (default: info)",
    )
    run.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="text: lines for people (default); json: one JSON object per line",
    )

    _add_listen(_add_command(commands, "listen", "Show live what an engine hears."))

    status = _add_command(commands, "status", "Show the state of an engine.")
    _add_target(status, "query")
    status.add_argument("--json", action="store_true", help="print JSON")
    how = status.add_mutually_exclusive_group()
    how.add_argument(
        "--check",
        action="store_true",
        help="for monitoring: print one line; exit with 0 (it runs), 1 (not so for more than a minute) or 2 (absent)",
    )
    how.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=_seconds(0.1, 86400),
        const=1.0,
        help="repeat every SECONDS (default: 1), in place on a terminal; with --json: one JSON object per line",
    )

    devices = _add_command(commands, "devices", "List the audio inputs.")
    devices.add_argument("--config", metavar="FILE", help="mark the one that this configuration means")
    shape = devices.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument(
        "--levels", action="store_true", help="show how loud each of them is, until Ctrl-C; this opens all of them"
    )

    service = _add_command(commands, "service", "Print a systemd unit. Its first lines say where to put it.")
    whose = service.add_mutually_exclusive_group()
    whose.add_argument("--system", action="store_true", help="a unit for the machine, with ALSA devices (default)")
    whose.add_argument("--user", action="store_true", help="a unit for your user, with the desktop's sound server")
    service.add_argument(
        "--config", metavar="FILE", help="default: mic.toml in /etc/mpengine, with --user in ~/.config/mpengine"
    )
    one_or_several = service.add_mutually_exclusive_group()
    one_or_several.add_argument("--name", help="the engine's name, if the file does not have it")
    one_or_several.add_argument(
        "--template",
        action="store_true",
        help="mpengine@.service for several engines: the instance is the engine's name, and %%i in --config "
        "(default: %%i.toml in the same folder)",
    )

    keys = _add_command(commands, "keys", "Make CURVE keys for a bus beyond this machine. It says which goes where.")
    keys.add_argument("directory", metavar="DIRECTORY", nargs="?", default=".", help="where to put the files")
    keys.add_argument("--client", metavar="NAME", help="make only the key of one more client, in NAME.key")

    stop = _add_command(commands, "stop", "Stop an engine and wait for its end. It publishes its last results first.")
    _add_target(stop, "query", "command")
    stop.add_argument(
        "--timeout",
        type=_seconds(0, 86400),
        default=40.0,
        metavar="SECONDS",
        help="how long to wait for the end (default: 40)",
    )

    pages = _add_command(commands, "help", "List the pages of the reference, or show one of them.")
    pages.add_argument("topic", metavar="TOPIC", nargs="?", help="the name of a page, or its beginning")
    return parser


def _add_command(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    """`about` stands in the command's own help, its first sentence also in the list of commands."""
    short = about[0].lower() + about[1 : about.index(".")]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=short, description=about)
    return parser


def _add_listen(parser: argparse.ArgumentParser) -> None:
    _add_target(parser, "publish", "query")
    about = ", ".join(f"{name} ({about})" for name, (_, about) in FORMATS.items())
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help=f"{about}; by default the ending of FILE decides, otherwise text",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write to this new file as results come, not to standard output"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="append to the output file if it exists")
    existing.add_argument("--force", action="store_true", help="replace the output file if it exists")
    parser.add_argument("--finals", action="store_true", help="leave out interim results")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=_since,
        help="start: with all that the engine remembers (default for files and subtitles); now: only new results "
        "(default otherwise); SEQ or RUN:SEQ: after that message (the format jsonl shows the seq and run of each)",
    )
    parser.add_argument(
        "--timestamps",
        nargs="?",
        choices=("run", "utc", "both"),
        const="run",
        help="text: show when each final was said, on the clock of the run (default) or in UTC",
    )
    parser.add_argument("--user", action="store_true", help="text, srt, vtt: show engine.user_name and the speakers")
    parser.add_argument(
        "--offset",
        metavar="SECONDS",
        type=_seconds(-1e9, 1e9),
        default=0.0,
        help="srt, vtt: add this to all times, which count from the start of the run",
    )
    parser.add_argument("--exit-on-stop", action="store_true", help="exit when the engine has stopped or is gone")


def _since(text: str) -> tuple[str, int] | int | str:
    if text in {"start", "now"}:
        return text
    run, _, seq = text.rpartition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) < _MOST_DIGITS):
        raise argparse.ArgumentTypeError("expected start, now, SEQ or RUN:SEQ")
    return (run, int(seq)) if run else int(seq)


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = float("nan")
        if not least <= seconds <= most:
            raise argparse.ArgumentTypeError(f"expected {least:.12g} to {most:.12g} seconds")
        return seconds

    return read


def _add_target(parser: argparse.ArgumentParser, *endpoints: str) -> None:
    parser.set_defaults(publish=None, query=None, command_at=None)
    parser.add_argument("--name", default="default", help="the engine's name, engine.name (default: default)")
    for endpoint in endpoints:
        more = "; alone, without --query: no history" if endpoint == "publish" else ""
        parser.add_argument(
            f"--{endpoint}",
            metavar="ENDPOINT",
            dest="command_at" if endpoint == "command" else endpoint,
            help=f"the engine's bus.{endpoint}, if it is configured{more}",
        )
    parser.add_argument(
        _KEY_OPTION,
        metavar="KEY",
        default=os.environ.get(_SERVER_KEY) or None,
        help=f"the public key of the engine, if it has bus.curve_secret_key (default: ${_SERVER_KEY})",
    )
    parser.add_argument(
        "--client-key",
        metavar="FILE",
        default=os.environ.get(_CLIENT_KEY) or None,
        help=f"a file with a secret key of your own, if the engine has bus.curve_clients (default: ${_CLIENT_KEY})",
    )
