"""One file that is being written, and its JSON. It owns the file's descriptor.

Audio goes through the encoder into pieces that wait for the disk. A disk that is full leaves them waiting: nothing is
lost, and `flush` may be tried again.
"""

import collections
import os
from collections.abc import Callable, Iterable

from mpengine.recorder.encoders import Encoder, Piece
from mpengine.recorder.recording import Missing, Recording
from mpengine.recorder.shelf import Shelf
from mpengine.shared import one_writer

EncoderFor = Callable[[int, int], Encoder]
"""Makes an encoder for a sample rate and so many channels."""
_MOST_NAMES = 1000


class Segment:
    """The open file."""

    def __init__(self, shelf: Shelf, found: Recording, encoder: EncoderFor) -> None:
        """Make the file and its JSON. Raises OSError; then there is neither."""
        self._shelf = shelf
        self.recording = found
        self._pieces: collections.deque[Piece] = collections.deque()
        self._is_closed = False
        self._fd = _new_file(shelf, found)
        try:
            shelf.note(found)
            self._encoder = encoder(found.sample_rate, found.channels)
        except BaseException:
            os.close(self._fd)
            os.unlink(shelf.path(found.file))
            raise
        shelf.recordings.append(found)

    @property
    def is_nameless(self) -> bool:
        """Whether somebody has removed the file."""
        return os.fstat(self._fd).st_nlink == 0

    def write(self, pcm: bytes) -> None:
        """Take audio. It waits for `flush`."""
        self._encoder.write(pcm)
        self._pieces += self._encoder.take()
        self.recording.ends_at(self.recording.end_sample + len(pcm) // (2 * self.recording.channels))

    def tell(self, missing: Iterable[Missing]) -> None:
        """Have the JSON tell all that is missing so far. Raises OSError."""
        self.recording.missing = list(missing)
        self._shelf.note(self.recording)

    def flush(self) -> None:
        """Write what waits. Raises OSError; the rest waits on."""
        while self._pieces:
            place, data = self._pieces[0]
            written = os.pwrite(self._fd, data, place)
            if written == len(data):
                self._pieces.popleft()
            else:
                self._pieces[0] = Piece(place + written, data[written:])

    def finish(self, missing: Iterable[Missing]) -> None:
        """End the file and its JSON. Raises OSError; then call it again."""
        if not self._is_closed:
            self._is_closed = True
            self._encoder.close()
            self._pieces += self._encoder.take()
        self.flush()
        os.fsync(self._fd)
        self.recording.is_whole = True
        try:
            self.tell(missing)
        except OSError:
            self.recording.is_whole = False
            raise
        os.close(self._fd)

    def give_up(self) -> None:
        """Leave the file as it is."""
        os.close(self._fd)
        self._pieces.clear()


def _new_file(shelf: Shelf, found: Recording) -> int:
    """Make the file; where its name is taken, with another one. Raises OSError."""
    stem, ending = os.path.splitext(found.file)
    for number in range(2, _MOST_NAMES):
        path = shelf.path(found.file)
        if not os.path.lexists(f"{os.path.splitext(path)[0]}.json"):
            try:
                return one_writer.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                pass
        found.file = f"{stem}-{number}{ending}"
    raise FileExistsError(f"{shelf.path(stem)}: no name is free")
