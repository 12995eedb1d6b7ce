"""What a capture process leaves for the next one that reads the same pipe.

The notes stand in a file without a name, which the supervisor keeps open. They end with the supervisor, as its standard
input does.
"""

import os

import msgspec

from mpengine.capture.wav_format import WavFormat
from mpengine.shared.file_id import FileId, file_id

_MOST_BYTES = 4096


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A pipe whose header was read, or that has none.

    `file_id`: which pipe it is. `format`: that of its frames. `left_bytes`: the audio that it still has, where the
    header says so. `next_sample`: the sample that comes next, on the run's sample clock; only of a source that waits
    for its reader.
    """

    file_id: FileId
    format: WavFormat
    left_bytes: int | None
    next_sample: int


class Notes:
    """The file of the notes; without a descriptor there are none, and nothing is kept."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd

    def load(self, pipe_fd: int) -> Noted | None:
        """What was noted about the pipe of `pipe_fd`; None: nothing."""
        if self._fd is None:
            return None
        try:
            noted = msgspec.msgpack.decode(os.pread(self._fd, _MOST_BYTES, 0), type=Noted)
        except msgspec.MsgspecError:  # nothing was noted yet
            return None
        return noted if noted.file_id == file_id(os.fstat(pipe_fd)) else None

    def keep(self, noted: Noted) -> None:
        """Replace the notes."""
        if self._fd is not None:
            data = msgspec.msgpack.encode(noted)
            os.pwrite(self._fd, data, 0)
            os.ftruncate(self._fd, len(data))

    def forget(self) -> None:
        """Another writer comes: nothing is known of its audio."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
