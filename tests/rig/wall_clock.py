"""A wall clock that a test sets, for the processes that get its environment: no privilege, and no other clock moves."""

import mmap
import os
import struct
import sys
from pathlib import Path

_BUILT = Path(sys.prefix) / "rig" / "clock.so"
_NS = struct.Struct("q")


class WallClock:
    """The clock is right at first. `path` is where its file is made; it belongs into a directory of the test's."""

    def __init__(self, path: Path) -> None:
        if not _BUILT.exists():
            raise AssertionError(f"no {_BUILT}: run scripts/install --test")
        path.write_bytes(_NS.pack(0))
        self._path = path
        self.ahead_ns = 0
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _NS.size)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the processes that shall have this clock, beside another one's LD_PRELOAD: see `beside`."""
        return {"LD_PRELOAD": str(_BUILT), "MPENGINE_RIG_CLOCK": str(self._path)}

    def beside(self, environment: dict[str, str]) -> dict[str, str]:
        """`environment`, and this clock: both preloaded libraries are kept."""
        both = filter(None, (environment.get("LD_PRELOAD"), self.environment["LD_PRELOAD"]))
        return environment | self.environment | {"LD_PRELOAD": os.pathsep.join(both)}

    def step(self, seconds: float) -> None:
        """Set the clock ahead, or back, by so much."""
        self.ahead_ns += round(seconds * 1e9)
        self._map[:] = _NS.pack(self.ahead_ns)
