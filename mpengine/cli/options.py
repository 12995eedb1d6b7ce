"""Options that several commands have."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpengine.cli.interrupts import at_once
from mpengine.shared.errors import ConfigError

if TYPE_CHECKING:
    from mpengine.cli.target import Target

_SERVER_KEY = "MPENGINE_CURVE_SERVER_KEY"
_CLIENT_KEY = "MPENGINE_CURVE_CLIENT_KEY_FILE"
_SETS = "override a key of the configuration; may be repeated"
KEY_OPTION = "--server-key"
MOST_ENGINES = 32
"""So many engines one process serves or relays at most."""
COMMAND_OPTIONS = ("--exec", "--exec-each")
"""Behind one of them stands a command of the user's, with options of its own."""


def add_target(parser: argparse.ArgumentParser, *endpoints: str, is_several: bool = False) -> None:
    """The options that name an engine and those of its `endpoints` that the command uses: publish, query, command.

    With `is_several` the name may be repeated, and is a list.
    """
    parser.set_defaults(publish=None, query=None, command_at=None)
    about = "the engine's name, engine.name (default: default)"
    if is_several:
        parser.add_argument("--name", action="append", default=[], help=f"{about}; repeat it for several engines")
    else:
        parser.add_argument("--name", help=about)
    parser.add_argument("--config", metavar="FILE", help="the engine of this configuration: its name and its endpoints")
    for endpoint in endpoints:
        more = "; alone, without --query: no history" if endpoint == "publish" else ""
        parser.add_argument(
            f"--{endpoint}",
            metavar="ENDPOINT",
            dest="command_at" if endpoint == "command" else endpoint,
            help=f"the engine's bus.{endpoint}, if it is not found by its name{more}",
        )
    parser.add_argument(
        KEY_OPTION,
        metavar="KEY",
        help="the public key of the engine, if it has bus.curve_secret_key and is not found by its name "
        f"(default: ${_SERVER_KEY})",
    )
    parser.add_argument(
        "--client-key",
        metavar="FILE",
        default=os.environ.get(_CLIENT_KEY) or None,
        help=f"a file with a secret key of your own, if the engine has bus.curve_clients (default: ${_CLIENT_KEY})",
    )


def target_of(arguments: argparse.Namespace) -> "Target":
    """The engine that the options of `add_target` name, of several the first one. Raises ConfigError."""
    return _target(arguments, next(iter(arguments.name), None) if isinstance(arguments.name, list) else arguments.name)


def targets_of(arguments: argparse.Namespace) -> "list[Target]":
    """The engines that the options of `add_target` name: one or more. Raises ConfigError as `names_of` does."""
    return [_target(arguments, name) for name in names_of(arguments) or (None,)]


def _target(arguments: argparse.Namespace, name: str | None) -> "Target":
    with at_once():
        from mpengine.cli.target import Target, of_config  # noqa: PLC0415
        from mpengine.client.finding import is_noted  # noqa: PLC0415
        from mpengine.shared.config_tables import USUAL_NAME  # noqa: PLC0415

    if arguments.config is not None:
        target = of_config(arguments.config, name)
    else:
        target = Target(USUAL_NAME if name is None else name)
    ends = {"publish": arguments.publish, "query": arguments.query, "command": arguments.command_at}
    given = {end: at for end, at in ends.items() if at is not None}
    key = arguments.server_key or target.server_key
    if key is None and (given or not is_noted(target.name)):  # the variable is not for an engine that tells its key
        key = os.environ.get(_SERVER_KEY) or None
    return target._replace(**given, server_key=key, client_key=_client_key(arguments.client_key))


def target_named(name: str) -> "Target":
    """The engine of this user called `name`, with the client key of the environment. Raises ConfigError."""
    from mpengine.cli.target import Target  # noqa: PLC0415

    return Target(name, client_key=_client_key(os.environ.get(_CLIENT_KEY)))


def _client_key(path: str | None) -> str | None:
    from mpengine.shared.secret import secret_in  # noqa: PLC0415

    return secret_in(path, "--client-key") if path else None


def names_of(arguments: argparse.Namespace, *, most: int | None = None) -> tuple[str, ...]:
    """The engines that `--name` of `add_target` names, each once; none where nobody has named one.

    Raises ConfigError for more than `most`, and for several with an option that is about one engine.
    """
    names = tuple(dict.fromkeys(arguments.name))
    if most is not None and len(names) > most:
        raise ConfigError("--name", f"expected {most} engines at most")
    about_one = {"--config": arguments.config, "--publish": arguments.publish, "--query": arguments.query}
    option = next((option for option, given in about_one.items() if given is not None), None)
    if len(names) > 1 and option is not None:
        raise ConfigError(option, "expected one --name with it: it is about one engine")
    return names


def add_set(parser: argparse.ArgumentParser, about: str = _SETS) -> None:
    """The option that sets keys of the configuration; `chosen.read_overrides` reads it."""
    parser.add_argument("--set", metavar="TABLE.KEY=VALUE", action="append", default=[], help=about)


def add_format(parser: argparse.ArgumentParser) -> None:
    """The option that chooses the format of an output."""
    from mpengine.formats import FORMATS  # noqa: PLC0415  `run` stays for months, and has no output

    about = ", ".join(f"{name} ({about})" for name, (_, about) in FORMATS.items())
    parser.add_argument(
        "--format",
        metavar="FORMAT",
        choices=tuple(FORMATS),
        help=f"{about}; by default the ending of the output file decides, otherwise text",
    )


def seconds(least: float, most: float) -> Callable[[str], float]:
    """The type of an option that takes seconds from `least` to `most`."""
    return number(least, most, " seconds")


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least} to {most}")
        return value

    return read


def number(least: float, most: float, unit: str = "") -> Callable[[str], float]:
    """The type of an option that takes numbers from `least` to `most`, which errors show with their `unit`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least:.12g} to {most:.12g}{unit}")
        return value

    return read
