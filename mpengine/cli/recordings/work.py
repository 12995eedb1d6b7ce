"""The work on one recording, in a folder that outlives a kill: the engine's journal, the results, and decoded audio.

The folder is named after the recording and all settings that its words depend on: with another recording, or other
settings, the work begins anew. One process has the folder at a time: its file `lock` is locked by flock.

    $XDG_CACHE_HOME/mpengine/transcribe/KEY/        (~/.cache without the variable), mode 0700
        lock        locked by the process that works here
        journal     the engine's journal, see `supervisor.bus.journal`
        finals      the finals and gaps so far, as lines of JSON (the engine's `bus.transcript`)
        audio.wav   the decoded audio of a recording that is no WAV file
"""

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from mpengine.shared import one_writer
from mpengine.shared.config import Config
from mpengine.shared.config_tables import Secret
from mpengine.shared.errors import ConfigError, MpengineError
from mpengine.shared.messages import UNREADABLE, Stamp, read_stamp
from mpengine.shared.user_folders import folder_to_write

# What nobody has gone on with for so long is removed when another recording is transcribed.
_OLD_S = 30 * 86400.0
_PIECE_BYTES = 1 << 20


class Work:
    """The folder for `source` with `config`, made and locked."""

    def __init__(self, source: str, config: Config) -> None:
        """Raises ConfigError where there is no such recording, MpengineError where the folder cannot be had."""
        base = _base()
        self.key = _key(source, config)
        self.path = os.path.join(base, self.key)
        self.journal, self.finals, self.audio = (
            os.path.join(self.path, name) for name in ("journal", "finals", "audio.wav")
        )
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            self._lock = one_writer.open_file(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise MpengineError(f"cannot keep work in {self.path}: {error.strerror}; set XDG_CACHE_HOME") from None
        try:
            one_writer.lock(self._lock, is_optional=True)
        except BlockingIOError:
            os.close(self._lock)
            raise MpengineError(f"{source} is being transcribed by another process") from None
        os.utime(self.path)
        _remove_old(base, self.key)

    @property
    def has_finals(self) -> bool:
        """Whether there are results to go on with."""
        return os.path.exists(self.finals) and os.path.getsize(self.finals) > 0

    def begin_anew(self) -> None:
        """Forget what was done before."""
        for path in (self.journal, self.finals, self.audio):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def remove(self) -> None:
        """Remove the folder: all is done."""
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let another process have the folder. Without results to go on with, it is removed."""
        if not self.has_finals:
            self.remove()
        os.close(self._lock)


class Finals:
    """Reads the lines of the file `finals` as they come, those of one run alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._at = 0
        self.last_seq = 0
        """The `seq` of the last line."""

    def read(self, run: str) -> Iterator[bytes]:
        """The lines that were not read before and belong to `run`. A line that is not whole yet stays."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            rest = b""
            while piece := os.pread(fd, _PIECE_BYTES, self._at + len(rest)):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._at += len(line) + 1
                    stamp = _stamp(line)
                    if stamp is not None and stamp.run == run:
                        self.last_seq = stamp.seq
                        yield line
        finally:
            os.close(fd)

    def run_of_last(self) -> str:
        """The run of the last line; empty without one."""
        with contextlib.suppress(OSError), open(self._path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _PIECE_BYTES))
            for line in reversed(file.read().split(b"\n")):
                if line and (stamp := _stamp(line)) is not None:
                    return stamp.run
        return ""


def _stamp(line: bytes) -> Stamp | None:
    try:
        return read_stamp(line)
    except UNREADABLE:
        return None


def _base() -> str:
    """The directory of all works. Raises MpengineError for a user without a home folder."""
    return os.path.join(folder_to_write("CACHE", os.environ), "mpengine", "transcribe")


def _key(source: str, config: Config) -> str:
    """16 hex digits for the recording as it is now, and the settings that its words depend on."""
    try:
        os.path.abspath(source).encode()
        found = os.stat(source)
    except OSError as error:
        raise ConfigError("", f"cannot read {source}: {error.strerror}") from None
    except ValueError:  # a NUL, or bytes that are no text
        raise ConfigError("", f"cannot read {source!r}: its name is no text") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "it is a directory" if stat.S_ISDIR(found.st_mode) else "it is no ordinary file"
        raise ConfigError("", f"cannot read {source}: {kind}")
    facts = [
        os.path.realpath(source),
        found.st_size,
        found.st_mtime_ns,
        config.remote,
        msgspec.structs.replace(config.audio, source="", device=None, command=None),
        config.engine.user_name,
    ]
    packed = msgspec.msgpack.encode(facts, enc_hook=_without_secret)
    return hashlib.blake2b(packed, digest_size=8).hexdigest()


def _without_secret(value: Any) -> Any:
    if isinstance(value, Secret):
        return ""
    raise TypeError(type(value).__name__)


def _remove_old(base: str, key: str) -> None:
    """Remove the work of long ago that nobody has locked."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(base):
            is_old = entry.stat(follow_symlinks=False).st_mtime < time.time() - _OLD_S
            if entry.name != key and is_old and not one_writer.is_held(os.path.join(entry.path, "lock")):
                shutil.rmtree(entry.path, ignore_errors=True)
