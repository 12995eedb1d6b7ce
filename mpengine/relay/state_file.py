"""The file in which a relay notes what the broker has of one engine, and its lock: one relay for the two.

Each writing makes a new file, fsyncs it and puts it in the place of the old one: after a kill or a loss of power either
the old or the new one is there, whole.
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
        self._directory, self._path = directory, os.path.join(directory, f"{engine}.json")
        self.complaint = ""
        self._writing = threading.Lock()
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._lock_fd = one_writer.open_file(os.path.join(directory, f"{engine}.lock"), os.O_RDWR | os.O_CREAT)
            try:
                one_writer.lock(self._lock_fd, is_optional=True)
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
            self._write(position)

    def _write(self, position: Position) -> None:
        new = f"{self._path}.new"
        fd = one_writer.open_file(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            body = memoryview(msgspec.json.encode(position) + b"\n")
            while body:
                body = body[os.write(fd, body) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(new, self._path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

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
