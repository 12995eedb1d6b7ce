"""The folder of the recordings: its lock, the recordings in it, and the removal of those that are too old or too many.

A recorder owns the recordings of its engine in the folder, and holds the lock of them. It touches no other file: each
recording is known by its JSON, which names its file.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from mpengine.recorder import recording
from mpengine.recorder.encoders import WAV_HEADER_BYTES, Wav, wav_header
from mpengine.recorder.flac_end import LARGEST_FRAME_BYTES, STREAMINFO_BYTES, flac_end, with_total
from mpengine.recorder.recording import Recording
from mpengine.shared import one_writer
from mpengine.shared.errors import MpengineError

_LARGEST_JSON = 16 << 20
_TAIL_BYTES = 2 * LARGEST_FRAME_BYTES
# A machine without a clock of its own may start in 1970: such a time says nothing of a recording's age.
_LEAST_TIME_NS = 1_577_836_800_000_000_000  # 2020
_DAY_NS = 86_400_000_000_000


class Work(NamedTuple):
    """What was done with recordings: with which of them, and with which not, each with the reason."""

    done: list[Recording]
    failures: list[str]


class Shelf:
    """The recordings of one engine in one folder, the oldest first."""

    def __init__(self, directory: str, engine: str) -> None:
        """Make the folder if it is missing, and lock the engine's recordings. Raises MpengineError."""
        self.directory = directory
        self._engine = engine
        self._lock = -1
        self.make()
        try:
            self.recordings = sorted(self._found(), key=lambda each: (each.start_time_ns, each.file))
        except OSError as error:
            os.close(self._lock)
            raise MpengineError(f"cannot read the folder {directory}: {error.strerror}") from None
        # A recorder before this one was killed while it wrote them.
        self._torn = [each for each in self.recordings if not each.is_whole]

    def make(self) -> None:
        """Make the folder, for this user alone, and lock the engine's recordings there, if that is not so already.

        Somebody may have moved the folder away. Raises MpengineError.
        """
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise MpengineError(f"cannot make the folder {self.directory}: {error.strerror}") from None
        try:
            self._lock = one_writer.kept_lock(self.path(f".{self._engine}.lock"), self._lock, is_optional=True)
        except BlockingIOError:
            text = f'another mpengine record writes recordings of the engine "{self._engine}" into {self.directory}'
            raise MpengineError(f"{text}: stop that one, or choose another --output") from None
        except OSError as error:
            raise MpengineError(f"cannot write recordings into {self.directory}: {error.strerror}") from None

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._lock)

    def path(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.directory, name)

    def position_in(self, run: str) -> int | None:
        """Where the recordings of `run` end; None where there are none."""
        return max((each.end_sample for each in self.recordings if each.run == run), default=None)

    def note(self, found: Recording) -> None:
        """Write the JSON of a recording. A kill or a power cut leaves it or the one before, whole. Raises OSError."""
        os.close(one_writer.put_in_place(self.path(_json_of(found)), recording.written(found), is_synced=True))

    def mend(self) -> Work:
        """Make whole the recordings of a recorder that was killed. Those that cannot be mended now may be later."""
        mended, failures = [], []
        for each in list(self._torn):
            try:
                if self._mend(each):
                    mended.append(each)
            except OSError as error:
                failures.append(f"{each.file}: {error.strerror}")
            else:
                self._torn.remove(each)
        return Work(mended, failures)

    def _mend(self, each: Recording) -> bool:
        """Make one recording whole. False if there is nothing of it. Raises OSError."""
        path = self.path(each.file)
        try:
            fd = one_writer.open_file(path, os.O_RDWR)
        except FileNotFoundError:
            self.remove(each)
            return False
        try:
            samples = _mend_wav(fd, each) if each.file.endswith(f".{Wav.ending}") else _mend_flac(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        if samples is None and os.path.getsize(path) <= LARGEST_FRAME_BYTES:  # no audio, but the beginning of some
            self.remove(each)
            return False
        each.is_damaged = samples is None
        each.cut_at(each.first_sample + (samples or 0))
        each.is_whole = True
        try:
            self.note(each)
        except OSError:
            each.is_whole = False
            raise
        return True

    def remove(self, found: Recording) -> None:
        """Remove a recording. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(found.file))
        self.forget(found)

    def forget(self, found: Recording) -> None:
        """Remove the JSON of a recording that is gone; what stands in its place is not ours. Raises OSError."""
        self.remove_json(found)
        if found in self.recordings:
            self.recordings.remove(found)

    def remove_json(self, found: Recording) -> None:
        """Remove the JSON of a recording, for now. Raises OSError."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self.path(_json_of(found)))

    def sweep(self, *, now_ns: int, keep_days: float | None, keep_mb: float | None) -> Work:
        """Remove what is older than `keep_days`, and the oldest recordings while all together have more than `keep_mb`.

        A recording that is not whole stays. In place of one that cannot be removed a younger one goes.
        """
        removed, failures = [], []
        sizes = {each.file: self._size(each) for each in self.recordings} if keep_mb is not None else {}
        total = sum(sizes.values())
        for each in [each for each in self.recordings if each.is_whole]:
            age_ns = now_ns - each.end_time_ns if each.start_time_ns >= _LEAST_TIME_NS else 0
            is_old = keep_days is not None and age_ns > keep_days * _DAY_NS
            if is_old or (keep_mb is not None and total > keep_mb * 1e6):
                try:
                    self.remove(each)
                except OSError as error:
                    failures.append(f"{each.file}: {error.strerror}")
                    continue
                total -= sizes.get(each.file, 0)
                removed.append(each)
        return Work(removed, failures)

    def _size(self, found: Recording) -> int:
        size = 0
        for name in (found.file, _json_of(found)):
            with contextlib.suppress(OSError):
                size += os.stat(self.path(name)).st_size
        return size

    def _found(self) -> Iterator[Recording]:
        half_written = re.compile(rf"{self._engine}-\d{{8}}T\d{{6}}\.\d{{3}}Z(-\d+)*\.json\.new")
        for entry in os.scandir(self.directory):
            if half_written.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
            if not (entry.name.startswith(f"{self._engine}-") and entry.name.endswith(".json")):
                continue
            try:
                found = _read(entry.path)
            except OSError:
                continue
            if found is not None and found.engine == self._engine and _json_of(found) == entry.name:
                yield found


def _read(path: str) -> Recording | None:
    fd = one_writer.open_file(path, os.O_RDONLY)
    try:
        return recording.read(os.read(fd, min(os.fstat(fd).st_size, _LARGEST_JSON)))
    finally:
        os.close(fd)


def _json_of(found: Recording) -> str:
    return f"{os.path.splitext(found.file)[0]}.json"


def _mend_wav(fd: int, found: Recording) -> int | None:
    """Have the header tell the length. Returns the samples of each channel; None if there is no audio."""
    frame_bytes = 2 * found.channels
    samples = max(0, os.fstat(fd).st_size - WAV_HEADER_BYTES) // frame_bytes
    if not samples:
        return None
    os.ftruncate(fd, WAV_HEADER_BYTES + samples * frame_bytes)
    os.pwrite(fd, wav_header(found.sample_rate, found.channels, samples * frame_bytes), 0)
    return samples


def _mend_flac(fd: int) -> int | None:
    """Cut off a torn frame, and tell the length in the header. Returns the samples of each channel; None without."""
    size = os.fstat(fd).st_size
    streaminfo = os.pread(fd, STREAMINFO_BYTES, 0)
    end = size
    while end > STREAMINFO_BYTES:
        begin = max(0, end - _TAIL_BYTES)
        found = flac_end(streaminfo, os.pread(fd, end - begin, begin), begin)
        if found is not None:
            os.ftruncate(fd, found.end)
            os.pwrite(fd, with_total(streaminfo, found.samples), 0)
            return found.samples
        end = begin + LARGEST_FRAME_BYTES if begin else 0  # a frame may lie across
    return None
