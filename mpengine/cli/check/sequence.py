"""All checks of `mpengine check`, one after the other: which of them need which others."""

import argparse
import os
from collections.abc import Callable, Generator, Sequence

from mpengine.capture.tried import Level
from mpengine.cli.check import machine, verdicts
from mpengine.cli.check.deadline import within
from mpengine.cli.check.lines import Line, failed, ok, skipped
from mpengine.cli.check.microphone import microphone
from mpengine.cli.check.recogniser import recogniser, tls_library
from mpengine.cli.chosen import NothingChosen, choose, read_overrides
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, ExitCode

_READS_S = 15.0  # a program may write a key into a pipe


def checks(arguments: argparse.Namespace, on_level: Callable[[Level, float], None]) -> Generator[Line, None, None]:
    """All checks, one after the other; each has a deadline. `on_level`: see `microphone`."""
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


def _configuration(arguments: argparse.Namespace) -> tuple[Config | None, str | None, Line]:
    """The configuration that a run would have, and the path of its file. Each is None where there is none."""
    check, path = "configuration", arguments.config
    try:
        overrides = read_overrides(arguments.set)
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


def _audio(path: str | None, overrides: Sequence[str]) -> AudioConfig | None:
    """The source of audio, where another table of the configuration is wrong; None if it cannot be known."""
    if any(text.lstrip().startswith("audio.") for text in overrides):
        return None
    try:
        return within(_READS_S, lambda: Config.load_audio(path))
    except (ConfigError, TimeoutError):
        return None
