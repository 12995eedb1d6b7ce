"""Options that several commands have."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpengine.cli.target import Target

_SERVER_KEY = "MPENGINE_CURVE_SERVER_KEY"
_CLIENT_KEY = "MPENGINE_CURVE_CLIENT_KEY_FILE"
KEY_OPTION = "--server-key"


def add_target(parser: argparse.ArgumentParser, *endpoints: str, is_several: bool = False) -> None:
    """The options that name an engine and those of its `endpoints` that the command uses: publish, query, command.

    With `is_several` the name may be repeated, and is a list.
    """
    parser.set_defaults(publish=None, query=None, command_at=None)
    about = "the engine's name, engine.name (default: default)"
    if is_several:
        parser.add_argument("--name", action="append", default=[], help=f"{about}; repeat it for several engines")
    else:
        parser.add_argument("--name", default="default", help=about)
    for endpoint in endpoints:
        more = "; alone, without --query: no history" if endpoint == "publish" else ""
        parser.add_argument(
            f"--{endpoint}",
            metavar="ENDPOINT",
            dest="command_at" if endpoint == "command" else endpoint,
            help=f"the engine's bus.{endpoint}, if it is configured{more}",
        )
    parser.add_argument(
        KEY_OPTION,
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


def target_of(arguments: argparse.Namespace) -> "Target":
    """The engine that the options of `add_target` name. Raises ConfigError."""
    from mpengine.cli.target import Target  # noqa: PLC0415

    return Target(
        arguments.name,
        arguments.publish,
        arguments.query,
        arguments.server_key,
        arguments.command_at,
        key_of(arguments),
    )


def key_of(arguments: argparse.Namespace) -> str | None:
    """The secret CURVE key that the options of `add_target` name, if any. Raises ConfigError."""
    from mpengine.cli.target import read_key  # noqa: PLC0415

    return read_key(arguments.client_key) if arguments.client_key else None


def seconds(least: float, most: float) -> Callable[[str], float]:
    """The type of an option that takes seconds from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least:.12g} to {most:.12g} seconds")
        return value

    return read
