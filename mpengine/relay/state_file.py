"""The file in which a relay notes what the broker has of one engine. Its lock keeps a second relay for the two away.

Each note is put in the place of the one before: a kill or a power cut leaves one of them, whole.
"""

import contextlib
import os
import threading

import msgspec

from mpengine.relay.position import Position
from mpengine.shared import one_writer
from mpengine.shared.errors import MpengineError
from mpengine.shared.messages import UNREADABLE

_MOST_BYTES = 1 << 20
_decoder: msgspec.json.Decoder[Position] = msgspec.json.Decoder(Position)


class StateFile:
    """The note about one engine. `position`: what it said at the start; None if there was none.

    `complaint`: why a note that is there cannot be used.
    """

    def __init__(self, directory: str, engine: str) -> None:
        """Make a missing directory. Raises MpengineError when it cannot be used, or another relay uses it."""
        self._path = os.path.join(directory, f"{engine}.json")
        self.complaint = ""
        self._writing = threading.Lock()
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._lock_path = os.path.join(directory, f"{engine}.lock")
            self._lock_fd = one_writer.kept_lock(self._lock_path, is_optional=True)
            try:
                self.position = self._read()
            except BaseException:
                os.close(self._lock_fd)
                raise
        except BlockingIOError:
            text = f'another relay hands "{engine}" to this broker; stop that one, or name another --state'
            raise MpengineError(text) from None
        except OSError as error:
            text = f"cannot keep notes in {directory}: {error.strerror}; name another directory with --state"
            raise MpengineError(text) from None

    def write(self, position: Position) -> None:
        """Note `position`. Raises OSError; the old note is there then. Threads may call it at the same time."""
        with self._writing:
            # Somebody may have removed the folder, or moved it away.
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._lock_fd = one_writer.kept_lock(self._lock_path, self._lock_fd, is_optional=True)
            os.close(one_writer.put_in_place(self._path, msgspec.json.encode(position) + b"\n", is_synced=True))

    def close(self) -> None:
        """Let another relay have it."""
        os.close(self._lock_fd)

    def _read(self) -> Position | None:
        with contextlib.suppress(FileNotFoundError):
            fd = one_writer.open_file(self._path, os.O_RDONLY)
            with os.fdopen(fd, "rb") as file:
                body = file.read(_MOST_BYTES)
            try:
                return _decoder.decode(body)
            except UNREADABLE:
                self.complaint = f"{self._path} is no note of a relay: what it said is not used"
        return None
