"""A small file system that can really be full: a tmpfs in a mount namespace of its own.

It needs no root where a user may have a user namespace; root, who may not have one in a chroot, does without.
"""

import contextlib
import functools
import subprocess
from pathlib import Path
from types import TracebackType

_UNSHARES = (("unshare", "--map-root-user", "--mount"), ("unshare", "--mount"))
_TRY = ("mount", "-t", "tmpfs", "-o", "size=64k", "small-disk", "/mnt")
_MOUNT = 'mount -t tmpfs -o size="$1"k small-disk "$0" && echo mounted && exec cat'


class SmallDisk:
    """As a context manager, the directory; it is gone at the end, with all that is in it.

    where    an empty directory, below which only the holder of the namespace sees the tmpfs
    kib      its size
    """

    def __init__(self, where: Path, kib: int = 64) -> None:
        self._where, self._kib = where, kib

    @staticmethod
    def is_possible() -> bool:
        """Whether this system lets us."""
        return bool(unshare())

    def __enter__(self) -> Path:
        command = [*unshare(), "sh", "-c", _MOUNT, str(self._where), str(self._kib)]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        return Path(f"/proc/{self._holder.pid}/root{self._where}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._holder:  # closes its input, upon which it ends
            pass


@functools.cache
def unshare() -> tuple[str, ...]:
    """The command that makes a namespace in which a tmpfs can be mounted; empty where none does."""
    for command in _UNSHARES:
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*command, *_TRY], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return command
    return ()


def fill(directory: Path) -> Path:
    """Leave no room there; returns the file that has it all."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler
