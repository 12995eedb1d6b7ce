"""Entry point of the recogniser process; the supervisor spawns it in local mode."""

import sys

from mpengine.shared import boot, logs

if __name__ == "__main__":
    settings = boot.receive(boot.RecogniserBoot)
    logs.setup("recogniser", settings.log_level)

    from mpengine.recogniser.process import run

    sys.exit(run(settings))
