"""Entry point of the recogniser process; the supervisor spawns it in local mode."""

import sys

from mpengine.processes import beginning
from mpengine.shared import logs


def main() -> None:
    """Be the recogniser process."""
    settings = beginning.receive(beginning.RecogniserSettings, "recogniser")
    logs.setup("recogniser", settings.log_level, settings.log_format)

    from mpengine.recogniser.process import run  # noqa: PLC0415  it takes long to load, and may log

    sys.exit(run(settings))


if __name__ == "__main__":
    main()
