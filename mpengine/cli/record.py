"""`mpengine record` keeps the audio of an engine in files, as a process of its own."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpengine.cli.options import add_target, key_of
from mpengine.shared import logs, runtime
from mpengine.shared.config_tables import NAME, NAME_VALUES
from mpengine.shared.errors import ConfigError, MpengineError

if TYPE_CHECKING:
    from mpengine.recorder.segment import EncoderFor

_MINUTES = 60.0
_LONGEST_MINUTES = 24 * 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "publish", "query")
    parser.add_argument(
        "--output", metavar="DIR", required=True, help="the folder of the recordings; it is made for you alone"
    )
    parser.add_argument("--format", choices=("flac", "wav"), default="flac", help="default: flac")
    parser.add_argument(
        "--segment",
        metavar="MINUTES",
        type=_number(0.05, _LONGEST_MINUTES),
        default=_MINUTES,
        help=f"the longest file (default: {_MINUTES:g})",
    )
    parser.add_argument(
        "--keep-days", metavar="N", type=_number(0.001, 1e5), help="remove what is older (default: keep all)"
    )
    parser.add_argument(
        "--keep-mb",
        metavar="N",
        type=_number(1, 1e9),
        help="remove the oldest recordings while all together have more (default: keep all)",
    )
    parser.add_argument(
        "--buffer", metavar="DIR", help="the engine's buffer.directory, if it is configured: its window is there"
    )


def main(arguments: argparse.Namespace) -> int:
    """Record until Ctrl-C. Raises ConfigError, and MpengineError where the package of the extra is missing."""
    name = arguments.name
    if not NAME.fullmatch(name):
        raise ConfigError("engine.name", f"expected {NAME_VALUES}")
    # None of the other commands needs these.
    from mpengine.recorder.process import Options, record  # noqa: PLC0415

    encoder = _encoder(arguments.format)
    logs.setup("record")
    directory = arguments.buffer or runtime.runtime_path(name)
    return record(
        Options(
            name=name,
            window=os.path.join(directory, f"{name}.window"),
            output=os.path.abspath(os.path.expanduser(arguments.output)),
            ending=arguments.format,
            encoder=encoder,
            segment_s=arguments.segment * 60,
            keep_days=arguments.keep_days,
            keep_mb=arguments.keep_mb,
            publish=arguments.publish,
            query=arguments.query,
            server_key=arguments.server_key,
            client_key=key_of(arguments),
        )
    )


def _encoder(ending: str) -> "EncoderFor":
    """What makes files with that `ending`."""
    if ending == "wav":
        from mpengine.recorder.encoders import Wav  # noqa: PLC0415

        return Wav
    try:
        from mpengine.recorder.flac import Flac  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mpengine"):
            raise
        text = f"{error.name} is not installed; pip install 'mpengine-stt[record]' installs it"
        raise MpengineError(f"{text} (--format wav needs nothing)") from None
    return Flac


def _number(least: float, most: float) -> Callable[[str], float]:
    """The type of an option that takes numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least:.12g} to {most:.12g}")
        return value

    return read
