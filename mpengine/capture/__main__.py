"""Entry point of the capture process; the supervisor spawns it."""

import sys

from mpengine.processes import beginning
from mpengine.shared import logs


def main() -> None:
    """Be the capture process."""
    settings = beginning.receive(beginning.CaptureSettings, "capture")
    beginning.silence_native_stderr()
    logs.setup("capture", settings.log_level, settings.log_format)

    from mpengine.capture.process import run  # noqa: PLC0415  its libraries write to standard error while they load

    sys.exit(run(settings))


if __name__ == "__main__":
    main()
