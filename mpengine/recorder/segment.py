"""One file that is being written, and its JSON. It owns the file's descriptor.

Audio goes through the encoder into pieces that wait for the disk. While the disk is full they wait: nothing is lost,
and `flush` may be called again.
"""

import collections
import contextlib
import errno
import os
from collections.abc import Iterable, Iterator

from mpengine.recorder.encoders import Encoder, Piece
from mpengine.recorder.recording import Missing, Recording
from mpengine.recorder.shelf import Shelf
from mpengine.shared import one_writer
from mpengine.shared.file_id import file_id

_MOST_NAMES = 1000


class Segment:
    """The open file. It is made together with its header: so whoever finds it can play it."""

    def __init__(self, shelf: Shelf, found: Recording, encoder: type[Encoder]) -> None:
        """Make the JSON. Raises OSError; then there is no JSON."""
        self._shelf = shelf
        self.recording = found
        self._pieces: collections.deque[Piece] = collections.deque()
        self._is_closed = False
        self._fd = -1
        self._encoder = encoder(found.sample_rate, found.channels)
        _choose_name(shelf, found)
        shelf.note(found)
        shelf.recordings.append(found)

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed the file, or moved it elsewhere."""
        if self._fd < 0:
            return False
        try:
            found = os.lstat(self._shelf.path(self.recording.file))
        except OSError as error:
            return error.errno in {errno.ENOENT, errno.ENOTDIR}
        return file_id(found) != file_id(os.fstat(self._fd))

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
        if self._pieces and self._fd < 0:
            self._fd = self._made()
        self._pieces = collections.deque(_joined(self._pieces))
        while self._pieces:
            place, data = self._pieces[0]
            written = os.pwrite(self._fd, data, place)
            if written == len(data):
                self._pieces.popleft()
            else:
                self._pieces[0] = Piece(place + written, data[written:])

    def finish(self, missing: Iterable[Missing]) -> None:
        """End the file and its JSON. Raises OSError; then call it again."""
        self._end()
        self.recording.is_whole = True
        try:
            self.tell(missing)
        except OSError:
            self.recording.is_whole = False
            raise
        os.close(self._fd)

    def give_up(self) -> None:
        """End a file that is gone. One that was moved is whole where it is now, if the disk there takes the rest."""
        with contextlib.suppress(OSError):
            self._end()
        os.close(self._fd)

    def _end(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._encoder.close()
            self._pieces += self._encoder.take()
        self.flush()
        os.fsync(self._fd)

    def _made(self) -> int:
        """Make the file, under another name where somebody has made one of its name meanwhile. Raises OSError."""
        while True:
            try:
                return one_writer.open_file(self._shelf.path(self.recording.file), os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                self._shelf.remove_json(self.recording)
                _choose_name(self._shelf, self.recording)
                self._shelf.note(self.recording)


def _choose_name(shelf: Shelf, found: Recording) -> None:
    """Give the file another name where its own is taken. Only one recorder of an engine is in a folder."""
    stem, ending = os.path.splitext(found.file)
    for number in range(2, _MOST_NAMES):
        path = shelf.path(found.file)
        if not (os.path.lexists(path) or os.path.lexists(f"{os.path.splitext(path)[0]}.json")):
            return
        found.file = f"{stem}-{number}{ending}"
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), shelf.path(found.file))


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """`pieces` in as few as possible: a header and the frames behind it go to the file in one write."""
    parts: list[bytes] = []
    place = end = 0
    for piece in pieces:
        if parts and piece.place != end:
            yield Piece(place, b"".join(parts))
            parts.clear()
        if not parts:
            place = end = piece.place
        parts.append(piece.data)
        end += len(piece.data)
    if parts:
        yield Piece(place, b"".join(parts))
