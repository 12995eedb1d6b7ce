"""Whether the engine's names in the file system are still its own, and which are to be made again. Pure.

Others reach the engine by names: of the runtime directory, of its lock and its sockets. A supervisor that is started
again finds journal and window by theirs. All of them can vanish: a user logs out, a program cleans up, somebody makes
order. What a name stands for is known by device and inode.
"""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from mpengine.shared.file_id import FileId

LOOK_S = 2.0
# So often all names are touched: programs that clean up remove what nobody has touched for days or hours.
TOUCH_S = 60.0
# A second bind costs a descriptor, which comes back with the end of the process only.
_MOST_LOSSES = 16


class Name(enum.StrEnum):
    """The names, in the order in which they are told."""

    DIRECTORY = "the directory"
    LOCK = "lock"
    CONTROL = "control"
    RESULTS = "results"
    QUERY = "query"
    COMMAND = "command"
    ENDPOINTS = "endpoints"
    JOURNAL = "journal"
    FRAMES = "frames"
    WINDOW = "window"


_OF_CAPTURE = frozenset({Name.FRAMES, Name.WINDOW})


class Lost(NamedTuple):
    """The names that are lost, all of them and the new ones. `is_too_often`: they must not be made again."""

    names: list[Name]
    new: list[Name]
    is_too_often: bool


class Names:
    """What the looks have found."""

    def __init__(self) -> None:
        self._capture: int | None = None  # the pid of the process that made its names
        self._made: dict[Name, FileId] = {}  # by that process, as they were first seen
        self._lost: list[Name] = []
        self._losses = 0

    def looked(
        self, own: Mapping[Name, FileId], found: Mapping[Name, FileId | None], *, capture: int | None
    ) -> Lost | None:
        """A look. `own`: what the supervisor holds; `found`: what stands at each path now. None: all is well.

        `capture`: the pid of a capture process that works. What it made is known by sight alone.
        """
        if capture != self._capture:
            self._capture = capture
            self._made.clear()
        if capture is not None:
            for name in _OF_CAPTURE & found.keys():
                seen = found[name]
                if seen is not None:
                    self._made.setdefault(name, seen)
        expected = {**own, **self._made}
        watched = [name for name in Name if name in found and (name in expected or capture is not None)]
        lost = [name for name in watched if found[name] is None or found[name] != expected[name]]
        new = [name for name in lost if name not in self._lost]
        self._lost = lost
        self._losses += bool(new)
        for name in lost:
            self._made.pop(name, None)
        return Lost(lost, new, self._losses > _MOST_LOSSES) if lost else None
