"""`mpengine check` looks for all that would stand in the way of a run, and says what would mend it."""

import argparse
import contextlib
import os
import signal
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from mpengine.cli.options import seconds
from mpengine.shared.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from mpengine.capture.tried import Level
    from mpengine.cli.check.lines import Line
    from mpengine.shared.config import Config
    from mpengine.shared.config_tables import AudioConfig

_LISTENS_S = 3.0
_READS_S = 15.0  # a program may write a key into a pipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--config", metavar="FILE", help="TOML file (default: the one that mpengine run takes)")
    parser.add_argument("--local", action="store_true", help="check a run with the recogniser of this machine")
    parser.add_argument("--name", help="the engine's name, instead of engine.name in the file (default: default)")
    parser.add_argument(
        "--set",
        metavar="TABLE.KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the configuration; may be repeated",
    )
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


def checks(arguments: argparse.Namespace, on_level: "Callable[[Level, float], None]") -> "Generator[Line, None, None]":
    """All checks, one after the other; each has a deadline. `on_level`: see `microphone`."""
    # A command that only shows its help needs none of these.
    from mpengine.cli.check import machine, verdicts  # noqa: PLC0415
    from mpengine.cli.check.lines import skipped  # noqa: PLC0415
    from mpengine.cli.check.microphone import microphone  # noqa: PLC0415
    from mpengine.cli.check.recogniser import recogniser, tls_library  # noqa: PLC0415

    needs = "it needs the configuration"
    config, path, line = _configuration(arguments)
    yield line
    directory = engine = None
    if config is None:
        yield skipped("runtime_directory", needs)
    else:
        line, directory = machine.runtime_directory(config)
        yield line
    if config is None or directory is None:
        yield skipped("engine", "it needs the runtime directory")
    else:
        line, engine = machine.engine(config, directory)
        yield line
    libraries: list[str] = []
    audio = _audio(path, arguments.set) if config is None else config.audio
    if audio is None:
        yield from (skipped(check, needs) for check in verdicts.MICROPHONE)
    else:
        listens_s = 0.0 if arguments.no_level else arguments.seconds
        yield from microphone(audio, seconds=listens_s, engine=engine, on_level=on_level, libraries=libraries)
    yield machine.clock()
    if config is None:
        yield from (skipped(check, needs) for check in verdicts.NETWORK)
    else:
        yield from recogniser(config)
    if config is None or directory is None:
        yield skipped("room", "it needs the runtime directory")
    else:
        yield machine.room(config, directory)
    yield machine.descriptors(config)
    yield machine.unit(path)
    if config is not None:
        libraries.append(tls_library(config.remote))
    yield machine.versions(libraries)


def _configuration(arguments: argparse.Namespace) -> "tuple[Config | None, str | None, Line]":
    """The configuration that a run would have, and the path of its file. Each is None where there is none."""
    from mpengine.cli.check.deadline import within  # noqa: PLC0415
    from mpengine.cli.check.lines import failed, ok  # noqa: PLC0415
    from mpengine.cli.chosen import NothingChosen, choose  # noqa: PLC0415
    from mpengine.shared.config import Config  # noqa: PLC0415
    from mpengine.shared.config.file import parse_override  # noqa: PLC0415

    check, path = "configuration", arguments.config
    try:
        overrides: dict[str, Any] = dict(map(parse_override, arguments.set))
        if arguments.name is not None:
            overrides["engine.name"] = arguments.name
        chosen = choose(path, overrides, os.environ, is_local=arguments.local)
        path = chosen.path
        config = within(_READS_S, lambda: Config.load(path, overrides=chosen.overrides))
    except NothingChosen as error:
        ways = "`mpengine run --local`, `DEEPGRAM_API_KEY=KEY mpengine run`, or `mpengine init`"
        return None, path, failed(check, str(error).partition(". ")[0], f"begin with {ways}", error.exit_code)
    except ConfigError as error:
        keys = "`mpengine help configuration` has all keys"
        mend = keys if error.path else "see that the path and the file are right"
        return None, path, failed(check, str(error), mend, error.exit_code)
    except TimeoutError as error:
        return None, path, failed(check, f"{path}: {error}", "see that its disk works", ExitCode.CONFIG)
    where = os.path.abspath(path) if path else "without a file"
    why = f" ({chosen.why})" if chosen.why else ""
    return config, path, ok(check, f'{where}: engine "{config.engine.name}", mode "{config.remote.mode}"{why}')


def _audio(path: str | None, overrides: Sequence[str]) -> "AudioConfig | None":
    """The source of audio, where another table of the configuration is wrong; None if it cannot be known."""
    from mpengine.cli.check.deadline import within  # noqa: PLC0415
    from mpengine.shared.config import Config  # noqa: PLC0415

    if any(text.lstrip().startswith("audio.") for text in overrides):
        return None
    try:
        return within(_READS_S, lambda: Config.load_audio(path))
    except (ConfigError, TimeoutError):
        return None
