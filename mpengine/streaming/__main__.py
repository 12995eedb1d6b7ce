"""Entry point of the streaming process; the supervisor spawns it."""

import sys

from mpengine.shared import boot, logs
from mpengine.streaming.process import run

if __name__ == "__main__":
    settings = boot.receive(boot.StreamingBoot)
    logs.setup("streaming", settings.log_level)
    sys.exit(run(settings))
