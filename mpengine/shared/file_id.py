"""Which file a path stands for."""

import contextlib
import os
from typing import TypeAlias

FileId: TypeAlias = tuple[int, int]
"""Device and inode: no other file has both, as long as this one is open or has a name."""


def file_id(found: os.stat_result) -> FileId:
    """The identity of a file from its `stat`."""
    return (found.st_dev, found.st_ino)


def find(path: str) -> FileId | None:
    """What stands at `path`, a link itself; None if there is nothing to be seen."""
    with contextlib.suppress(OSError):
        return file_id(os.lstat(path))
    return None
