"""The file of `listen --state`: up to where messages were handed over, for each engine. One listener at a time has it.

It is one line of JSON, written in place by one call, so that whenever this process is killed, the file is whole.
"""

import os

import msgspec

from mpengine.shared import one_writer
from mpengine.shared.errors import ConfigError, MpengineError
from mpengine.shared.messages import UNREADABLE

_OPTION = "--state"
_MOST_LATER = 30
_MOST_BYTES = 4096  # one page: such a write is never done in part


class Place(msgspec.Struct, omit_defaults=True):
    """Up to where the messages of one engine were handed over.

    `done`: the `seq` of the last final, behind which nothing is missing. `later`: those of other messages behind it.
    `doing`: that of a message which may have been handed over. `is_over`: the run had ended, and nothing was missing.
    """

    run: str
    done: int
    doing: int = 0
    is_over: bool = False
    later: list[int] = []


class _Content(msgspec.Struct):
    engines: dict[str, Place]
    v: int = 1


class PositionFile:
    """Reads and writes the file at `path`. A file that is not there is made."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError when the file cannot be used, is no such file, or another listener has it."""
        self._path = path
        try:
            self._descriptor = one_writer.open_file(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise ConfigError(_OPTION, f"{path}: {error.strerror}") from None
        try:
            one_writer.lock(self._descriptor, is_optional=True)
            self.places = self._read()
        except BlockingIOError:
            self.close()
            raise ConfigError(_OPTION, f"{path} is in use by another listener") from None
        except (OSError, ConfigError):
            self.close()
            raise

    def _read(self) -> dict[str, Place]:
        data = os.pread(self._descriptor, _MOST_BYTES, 0).partition(b"\n")[0]
        if not data.strip(b"\0"):
            return {}
        try:
            return msgspec.json.decode(data, type=_Content).engines
        except UNREADABLE:
            text = f"{self._path} is no file of positions, or is damaged; name another one, or remove it to begin anew"
            raise ConfigError(_OPTION, text) from None

    def adopt(self, name: str, run: str, seq: int) -> None:
        """Begin behind the message `seq`, for an engine that has no place yet."""
        if name not in self.places:
            self._note(name, Place(run, seq))

    def begin(self, name: str, run: str, seq: int) -> None:
        """From now on the message `seq` may be handed over at any moment."""
        place = self._of(name, run)
        self._note(name, Place(run, place.done, doing=seq, later=place.later))

    def finish(self, name: str, run: str, seq: int, *, is_final: bool) -> None:
        """The message `seq` is handed over."""
        place = self._of(name, run)
        done = max(place.done, seq) if is_final else place.done
        later = [*place.later, *([] if is_final else [seq])][-_MOST_LATER:]
        self._note(name, Place(run, done, later=[each for each in later if each > done]))

    def left(self, name: str, run: str, seq: int, *, may_be_done: bool, is_final: bool) -> None:
        """The message `seq` is to be handed over once more."""
        place = self._of(name, run)
        done = min(place.done, seq - 1) if is_final else place.done
        later = [each for each in place.later if each != seq]
        self._note(name, Place(run, done, doing=seq if may_be_done else 0, later=later))

    def end(self, name: str, run: str) -> None:
        """The run has ended, and all its messages are handed over."""
        place = self.places.get(name)
        if place is not None and place.run == run:
            self._note(name, Place(run, place.done, is_over=True, later=place.later))

    def _of(self, name: str, run: str) -> Place:
        place = self.places.get(name)
        return place if place is not None and place.run == run else Place(run, 0)

    def _note(self, name: str, place: Place) -> None:
        """Write the place of the engine called `name`. Raises MpengineError."""
        self.places[name] = place
        data = msgspec.json.encode(_Content(self.places)) + b"\n"
        if len(data) > _MOST_BYTES:
            raise MpengineError(f"{self._path} has no room for so many engines; use a file for each")
        try:
            written = os.pwrite(self._descriptor, data, 0)
            os.ftruncate(self._descriptor, written)  # what stands behind the line end says nothing
        except OSError as error:
            raise MpengineError(f"cannot write {self._path}: {error.strerror}") from None
        if written != len(data):
            raise MpengineError(f"cannot write {self._path}: the disk is full")

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        os.close(self._descriptor)
