"""The engine with one bad child: `python -m tests.rig.bad_engine CHILD KIND LIVES --config FILE`.

The first LIVES lives of CHILD are `tests.rig.bad_child`'s, of that KIND, or `tests.rig.thief`'s; all others are real
ones.
"""

import argparse
import os
import random
import sys

from mpengine import Config, Supervisor
from mpengine.processes.beginning import ChildSettings
from mpengine.shared import logs
from mpengine.supervisor.children.process import ChildProcess, Spawned
from mpengine.supervisor.children.spawner import Spawner
from tests.rig.bad_child import KIND, KINDS
from tests.rig.thief import STEALS

ALL = 1_000_000


def command(child: str, kind: str, lives: int = ALL) -> tuple[str, ...]:
    """The command for EngineProcess."""
    return (sys.executable, "-m", "tests.rig.bad_engine", child, kind, str(lives))


class BadSpawner(Spawner):
    """Starts a bad child in the place of a good one."""

    def __init__(self, child: str, lives: int) -> None:
        super().__init__()
        self._child = child
        self._lives = lives

    def start(self, name: str, settings: ChildSettings, *, inherit_fd: int | None = None) -> ChildProcess:
        """See Spawner."""
        if name == self._child and self._lives:
            self._lives -= 1
            module = "tests.rig.thief" if os.environ[KIND] == STEALS else "tests.rig.bad_child"
            return Spawned(name, settings, inherit_fd=inherit_fd, module=module)
        return super().start(name, settings, inherit_fd=inherit_fd)


def main() -> int:
    """Run the engine; returns its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("child", choices=["capture", "streaming", "recogniser"])
    parser.add_argument("kind", choices=sorted([*KINDS, STEALS]))
    parser.add_argument("lives", type=int)
    parser.add_argument("--config", required=True)
    arguments = parser.parse_args()
    os.environ[KIND] = arguments.kind
    # Every wait before a restart is as long as chance could make it: so a test knows how long it must be.
    random.random = lambda: 1.0
    logs.setup("supervisor")
    return Supervisor(Config.load(arguments.config), spawner=BadSpawner(arguments.child, arguments.lives)).run()


if __name__ == "__main__":
    sys.exit(main())
