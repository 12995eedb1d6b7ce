"""Entry point of the streaming process; the supervisor spawns it."""

import sys

from mpengine.processes import beginning
from mpengine.shared import logs
from mpengine.streaming.process import run


def main() -> None:
    """Be the streaming process."""
    settings = beginning.receive(beginning.StreamingSettings, "streaming")
    logs.setup("streaming", settings.log_level, settings.log_format)
    sys.exit(run(settings))


if __name__ == "__main__":
    main()
