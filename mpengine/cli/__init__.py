"""The `mpengine` command: reads its arguments, hands over to one module a command, prints errors as one line."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import mpengine
from mpengine.cli.streams import ensure_standard_streams
from mpengine.cli.text import harmless
from mpengine.shared.errors import ExitCode, MpengineError

if TYPE_CHECKING:
    from mpengine.cli.target import Target

_SERVER_KEY = "MPENGINE_CURVE_SERVER_KEY"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`; returns the exit code. No traceback for a closed pipe or Ctrl-C."""
    ensure_standard_streams()
    arguments = _parser().parse_args(argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except MpengineError as error:
        print(f"mpengine: {harmless(str(error))}", file=sys.stderr)
        return int(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone (head, less): nothing to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        return int(ExitCode.OK)
    return code


def _run(arguments: argparse.Namespace) -> int:
    # Each command imports what it needs, and no more: `run` is a process that stays for months.
    match arguments.command:
        case "run":
            from mpengine.cli.run import run  # noqa: PLC0415

            return run(arguments.config, arguments.set, arguments.log_level)
        case "listen":
            from mpengine.cli.listen import listen  # noqa: PLC0415

            return listen(
                _target(arguments),
                output_format=arguments.format,
                finals_only=arguments.finals,
                exit_on_stop=arguments.exit_on_stop,
            )
        case "status":
            from mpengine.cli.status import status  # noqa: PLC0415

            return status(_target(arguments), as_json=arguments.json)
        case "devices":
            from mpengine.cli.devices import devices  # noqa: PLC0415

            return devices(as_json=arguments.json)
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
    run.add_argument("--config", metavar="FILE", help="TOML file; see the README for its keys")
    run.add_argument("--set", metavar="TABLE.KEY=VALUE", action="append", default=[], help="overrides a key")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    listen = commands.add_parser("listen", help="show what an engine hears, live")
    _add_target(listen, "publish", "query")
    listen.add_argument("--format", choices=("text", "jsonl"), default="text", help="jsonl: every message, a line each")
    listen.add_argument("--finals", action="store_true", help="without interim results")
    listen.add_argument("--exit-on-stop", action="store_true", help="end when the engine has stopped, or is gone")

    status = commands.add_parser("status", help="show how an engine is")
    _add_target(status, "query")
    status.add_argument("--json", action="store_true", help="for programs")

    devices = commands.add_parser("devices", help="list the audio inputs")
    devices.add_argument("--json", action="store_true", help="for programs")

    stop = commands.add_parser("stop", help="stop an engine, its last words published, and wait for its end")
    _add_target(stop, "query")
    stop.add_argument("--timeout", type=float, default=40.0, metavar="SECONDS", help="how long to wait for its end")
    return parser


def _add_target(parser: argparse.ArgumentParser, *endpoints: str) -> None:
    parser.set_defaults(publish=None, query=None)
    parser.add_argument("--name", default="default", help="the engine's name (engine.name)")
    for endpoint in endpoints:
        parser.add_argument(f"--{endpoint}", metavar="ENDPOINT", help=f"its bus.{endpoint}, if that was configured")
    parser.add_argument(
        "--server-key",
        metavar="KEY",
        default=os.environ.get(_SERVER_KEY) or None,
        help=f"the public part of its bus.curve_secret_key, if that was configured (else ${_SERVER_KEY})",
    )
