#!/usr/bin/env python3
"""The engine started from a script: `scripts/run_engine.py mic.toml` blocks until Ctrl-C.

Without a file it transcribes the microphone on this machine, without an account. Results are published for any number
of other processes; scripts/subscribe.py shows one of them.
"""

import logging
import sys

from mpengine import Config, Supervisor


def main() -> int:
    """Run the engine; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = Config.load(sys.argv[1]) if len(sys.argv) > 1 else Config.parse({"remote": {"mode": "local"}})
    return Supervisor(config).run()


if __name__ == "__main__":
    sys.exit(main())
