"""`mpengine run` runs an engine in this terminal until it is stopped."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpengine.cli.interrupts import at_once
from mpengine.cli.options import add_set
from mpengine.processes import beginning, proc_title, tricks, zygote
from mpengine.shared.config import Config, secrets

if TYPE_CHECKING:
    from mpengine.processes.zygote import ForkedZygote
    from mpengine.supervisor.process import Supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file, see `mpengine init` (default: mic.toml in ~/.config/mpengine or in /etc/mpengine, if there)",
    )
    parser.add_argument(
        "--local",
        action="store_true",
        help="use the recogniser of this machine, whatever the file says: no account, no network, English only",
    )
    parser.add_argument("--name", help="the engine's name, instead of engine.name in the file (default: default)")
    add_set(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="end for a wrong configuration alone: wait where the recogniser refuses, or there is no device",
    )
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="write log lines of this level and above: debug, info (default), warning or error",
    )
    parser.add_argument(
        "--log-format",
        metavar="FORMAT",
        choices=("person", "text", "json"),
        help="person: sentences (default on a terminal); text: lines with key=value (default otherwise); json: one "
        "JSON object per line",
    )


def main(arguments: argparse.Namespace) -> int:
    """See `run`."""
    return run(
        arguments.config,
        arguments.name,
        arguments.set,
        arguments.log_level,
        arguments.log_format,
        wait=arguments.wait,
        is_local=arguments.local,
    )


def run(
    config_path: str | None,
    name: str | None,
    overrides: Sequence[str],
    log_level: str,
    log_format: str | None,
    *,
    wait: bool = False,
    is_local: bool = False,
) -> int:
    """Run the engine and return its exit code. Call it early, in a process that has one thread.

    `log_format` is None where a terminal at standard error decides. `overrides` are texts such as
    ``audio.block_ms=40``; `name` overrides the engine's name, `wait` the key `supervisor.wait`, and `is_local` the
    recogniser.
    """
    beginning.leave_no_core()
    environment = dict(os.environ)
    forked = _forked_zygote()
    with at_once():  # these must not be in the memory of the zygote
        import logging  # noqa: PLC0415

        from mpengine.cli.chosen import choose  # noqa: PLC0415
        from mpengine.shared import logs  # noqa: PLC0415
        from mpengine.supervisor.children.spawner import Spawner  # noqa: PLC0415
        from mpengine.supervisor.process import Supervisor  # noqa: PLC0415

    spawner = Spawner(zygote=forked)
    try:
        values = _values(overrides, name, wait=wait)
        chosen = choose(config_path, values, environment, is_local=is_local)
        config = Config.load(chosen.path, overrides=chosen.overrides, environment=environment)
        log_format = logs.format_for(log_format, sys.stderr)
        logs.setup("supervisor", log_level, log_format)
        if chosen.why:
            event = logs.Event("configuration_chosen", reason=chosen.why)
            logging.getLogger("mpengine.supervisor").info(event)
        supervisor = Supervisor(config, log_level=log_level, log_format=log_format, spawner=spawner, ends_process=True)
        return _run_with_bar(supervisor, config, log_format)
    finally:
        spawner.close()


def _values(overrides: Sequence[str], name: str | None, *, wait: bool = False) -> dict[str, Any]:
    from mpengine.cli.chosen import read_overrides  # noqa: PLC0415  not for the zygote's memory

    named = {} if name is None else {"engine.name": name}
    waiting = {"supervisor.wait": True} if wait else {}
    return read_overrides(overrides) | named | waiting


def _forked_zygote() -> "ForkedZygote | None":
    """Fork a zygote while this process holds little more than a zygote does. None: the supervisor starts one itself.

    Other processes can read the zygote's environment, a copy of ours: so the secrets are taken out of it first.
    """
    variables = set(secrets().values())
    is_hidden = proc_title.hide(variables)
    for name in variables:
        os.environ.pop(name, None)
    if not (is_hidden and tricks.is_used(tricks.Trick.PROC_TITLE)):
        return None
    try:
        return zygote.fork()
    except OSError:
        return None


def _run_with_bar(supervisor: "Supervisor", config: Config, log_format: str) -> int:
    """Run it, on a terminal with a bar below the log that shows how far a file is."""
    if log_format == "json" or not config.audio.kind.seekable:
        return supervisor.run()
    from mpengine.cli.terminal import bar  # noqa: PLC0415  a microphone has no end, and needs none

    if not bar.is_possible():
        return supervisor.run()
    from mpengine.shared import logs  # noqa: PLC0415

    supervisor.on_progress = bar.below(os.path.basename(config.audio.source), logs.draw)
    try:
        return supervisor.run()
    finally:
        logs.draw("")
