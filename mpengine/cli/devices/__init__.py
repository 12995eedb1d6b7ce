"""`mpengine devices` lists the microphones under the names that `audio.device` takes, or shows how loud they are."""

import argparse
import os
import threading

from mpengine.capture import sound_server
from mpengine.cli.chosen import found_file
from mpengine.processes import beginning
from mpengine.shared.errors import ExitCode
from mpengine.shared.standard_streams import complain

_LIST_LIMIT_S = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--config", metavar="FILE", help="mark the one that this configuration means (default: that of `mpengine run`)"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument(
        "--levels", action="store_true", help="show how loud each of them is, until Ctrl-C; this opens all of them"
    )


def main(arguments: argparse.Namespace) -> int:
    """See `devices`."""
    return devices(arguments.config or found_file(os.environ), as_json=arguments.json, as_levels=arguments.levels)


def devices(config_path: str | None, *, as_json: bool, as_levels: bool) -> int:
    """Print the microphones. Returns exit code 3 when none can be opened. Raises DeviceError, ConfigError.

    PortAudio may hang for ever, as a device does. Then a line says so, and the process ends with 3.
    """
    beginning.silence_native_stderr()  # PortAudio writes to stderr as it loads
    watchdog = threading.Timer(_LIST_LIMIT_S, _give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        sound_server.check()
        if as_levels:
            from mpengine.cli.devices.levels import show_levels  # noqa: PLC0415

            return show_levels(config_path, watchdog.cancel)
        from mpengine.cli.devices.listing import list_them  # noqa: PLC0415

        return list_them(config_path, as_json=as_json)
    finally:
        watchdog.cancel()


def _give_up() -> None:
    complain(f"PortAudio has not answered for {_LIST_LIMIT_S:g} s: a device hangs, or the sound server")
    os._exit(int(ExitCode.DEVICE))
