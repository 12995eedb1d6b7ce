"""What the supervisor keeps of a source that is a pipe, so that one capture process can go on where another ended.

The main thread owns both descriptors: the file of the notes, and a reading end of the FIFO. Without a reader, a FIFO's
writer would be ended by its next write. Standard input is there anyway: all processes of the engine inherit it.
"""

import contextlib
import os
import stat

from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.sources import STANDARD_INPUT, path_of


class HeldPipe:
    """The pipe of `audio.source`, which must be one. The supervisor never reads it."""

    def __init__(self, audio: AudioConfig) -> None:
        self._notes = _nameless_file()
        self._path = None if audio.source == STANDARD_INPUT else path_of(audio.source)
        self._fd = -1

    def notes_fd(self) -> int:
        """The descriptor of the notes, for a capture process that starts now."""
        if self._path is not None:
            self._hold(self._path)
        return self._notes

    def close(self) -> None:
        """Let the pipe go."""
        os.close(self._notes)
        self._let_go()

    def _hold(self, path: str) -> None:
        """Open the FIFO, or the one that has taken its place."""
        with contextlib.suppress(OSError):  # capture tells what is wrong with it
            if self._fd >= 0 and os.path.samestat(os.fstat(self._fd), os.stat(path)):
                return
            if stat.S_ISFIFO(os.stat(path).st_mode):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._let_go()
                self._fd = fd

    def _let_go(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mpengine-notes")
    import tempfile  # noqa: PLC0415  it loads much, and Linux does not need it

    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd
