"""A file system of 64 KiB that can really be full: a tmpfs in a mount namespace of its own, which needs no root."""

import contextlib
import functools
import subprocess
from pathlib import Path
from types import TracebackType

_UNSHARE = ("unshare", "--map-root-user", "--mount")
_MOUNT = 'mount -t tmpfs -o size=64k small-disk "$0" && echo mounted && exec cat'


class SmallDisk:
    """As a context manager, the directory; it is gone at the end, with all that is in it.

    where    an empty directory, below which only the holder of the namespace sees the tmpfs
    """

    def __init__(self, where: Path) -> None:
        self._where = where

    @staticmethod
    @functools.cache
    def is_possible() -> bool:
        """Whether this system lets us."""
        command = [*_UNSHARE, "mount", "-t", "tmpfs", "-o", "size=64k", "small-disk", "/mnt"]
        try:
            return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
        except FileNotFoundError:
            return False

    def __enter__(self) -> Path:
        command = [*_UNSHARE, "sh", "-c", _MOUNT, str(self._where)]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        return Path(f"/proc/{self._holder.pid}/root{self._where}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._holder:  # closes its input, upon which it ends
            pass


def fill(directory: Path) -> Path:
    """Leave no room there; returns the file that has it all."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler
