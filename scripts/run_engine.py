#!/usr/bin/env python3
"""Runs an engine until Ctrl-C: `scripts/run_engine.py mic.toml`.

Without a file it transcribes the microphone on this machine, without an account. It publishes results for any number of
other processes; scripts/subscribe.py is one of them.
"""

import logging
import sys

from mpengine import Config, Supervisor


def main() -> int:
    """Run the engine and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = Config.load(sys.argv[1]) if len(sys.argv) > 1 else Config.parse({"remote": {"mode": "local"}})
    return Supervisor(config).run()


if __name__ == "__main__":
    sys.exit(main())
