"""`mpengine record` keeps the audio of an engine in files, as a process of its own."""

import argparse
import os
from typing import TYPE_CHECKING

from mpengine.cli.extras import needed
from mpengine.cli.options import add_target, number, target_of
from mpengine.shared import logs

if TYPE_CHECKING:
    from mpengine.recorder.encoders import Encoder

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
        type=number(0.05, _LONGEST_MINUTES),
        default=_MINUTES,
        help=f"the longest file (default: {_MINUTES:g})",
    )
    parser.add_argument(
        "--keep-days", metavar="N", type=number(0.001, 1e5), help="remove what is older (default: keep all)"
    )
    parser.add_argument(
        "--keep-mb",
        metavar="N",
        type=number(1, 1e9),
        help="remove the oldest recordings while all together have more (default: keep all)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Record until Ctrl-C. Raises ConfigError, and MpengineError where the package of the extra is missing."""
    target = target_of(arguments)
    # None of the other commands needs these.
    from mpengine.recorder.process import Options, record  # noqa: PLC0415

    encoder = _encoder(arguments.format)
    logs.setup("record")
    return record(
        Options(
            name=target.name,
            output=os.path.abspath(os.path.expanduser(arguments.output)),
            encoder=encoder,
            segment_s=arguments.segment * 60,
            keep_days=arguments.keep_days,
            keep_mb=arguments.keep_mb,
            publish=target.publish,
            query=target.query,
            server_key=target.server_key,
            client_key=target.client_key,
        )
    )


def _encoder(ending: str) -> "type[Encoder]":
    """What makes files with that `ending`."""
    if ending == "wav":
        from mpengine.recorder.encoders import Wav  # noqa: PLC0415

        return Wav
    with needed("record", " (--format wav needs nothing)"):
        from mpengine.recorder.flac import Flac  # noqa: PLC0415
    return Flac
