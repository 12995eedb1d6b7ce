"""Reads an engine's transcript file (bus.transcript), with those that were rotated away, the oldest first."""

import errno
import os
from collections.abc import Iterator

from mpengine.shared import one_writer

_MOST_FILES = 1000
_LONGEST_LINE = 1 << 20


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of all files there are, without their ends. Raises OSError.

    All files are opened before the first line is read: so a rotation meanwhile hides none of them.
    """
    with_numbers = [f"{path}.{number}" for number in range(_MOST_FILES - 1, 0, -1)]
    files = [one_writer.open_file(each, os.O_RDONLY) for each in (*with_numbers, path) if os.path.exists(each)]
    if not files:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    try:
        for fd in files:
            with os.fdopen(os.dup(fd), "rb") as file:
                while line := file.readline(_LONGEST_LINE):
                    if line.endswith(b"\n"):  # the last one may be half written
                        yield line.rstrip(b"\n")
    finally:
        for fd in files:
            os.close(fd)
