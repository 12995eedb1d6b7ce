"""A WAV file as a source: at the pace of speech, or as fast as the window has room.

The file belongs to capture's main thread. Samples of another format are converted; others are handed on as they are.
"""

import logging
import os
import stat

from mpengine.capture.convert import Converter, converter
from mpengine.capture.source import Block, Source, SourceInfo
from mpengine.capture.wav_format import HeaderParser, WavError, WavFormat
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, DeviceError
from mpengine.shared.logs import Event

# How far an unpaced file is read in one turn of the work loop.
_BLOCKS_AT_ONCE = 50
# A paced file makes up for at most this delay of its reader.
_LATE_NS = 1_000_000_000

log = logging.getLogger(__name__)


class WavFile(Source):
    """A file of PCM samples. It waits for its reader, so that no sample is lost."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._block_bytes = audio.block_samples * 2 * audio.channels
        self._fd: int | None = None
        self._frame_bytes = 0  # of the file
        self._samples = 0  # of the whole file, as they are sent
        self._read_bytes = self._block_bytes  # what makes about a block
        self._left = 0  # bytes of audio in the file that were not read yet
        self._converter: Converter | None = None
        self._ready = b""  # samples that are converted, and shorter than a block
        self._next_due_ns = 0
        self._has_ended = False
        self._has_told = False  # whether a wrong length of the file was logged

    def open(self, first_sample: int) -> SourceInfo:
        """Open the file at `first_sample`. Raises ConfigError when there is no file, or none that can be read."""
        path = self._audio.source
        try:
            # A FIFO must not make this call wait.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            size = _size(self._fd)
            found = self._header(self._fd)
        except (OSError, WavError) as error:
            self.close()
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigError("audio.source", f"cannot read the WAV file {path}: {why}") from None
        try:
            self._begin(found, size, first_sample)
        except ConfigError:
            self.close()
            raise
        self._next_due_ns = 0
        self._has_ended = False
        return SourceInfo(path, 0.0, samples=self._samples)

    def read(self, now_ns: int, room: int) -> list[Block]:
        """The blocks that are due, at most `room`. Those of an unpaced file are always due. Raises DeviceError."""
        blocks: list[Block] = []
        if self._fd is None:
            return blocks
        block_ns = self._audio.block_ms * 1_000_000
        self._next_due_ns = self._next_due_ns or now_ns + block_ns
        most = min(_BLOCKS_AT_ONCE, room)
        while len(blocks) < most and (now_ns >= self._next_due_ns or not self._audio.paced):
            pcm = self._block()
            if not pcm:
                self._has_ended = True
                break
            blocks.append(Block(pcm, now_ns))
            self._next_due_ns += block_ns
        self._next_due_ns = max(self._next_due_ns, now_ns - _LATE_NS)
        return blocks

    def due_s(self, now_ns: int) -> float | None:
        """Seconds until the next block."""
        if self._fd is None or self._has_ended:
            return None
        return (self._next_due_ns - now_ns) / 1e9 if self._audio.paced else 0.0

    def has_ended(self) -> bool:
        """Whether the last sample has been read."""
        return self._has_ended

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _header(self, fd: int) -> WavFormat:
        """Raises WavError, OSError."""
        parser = HeaderParser()
        found = None
        while found is None:
            found = parser.take(os.pread(fd, parser.size, parser.position))
        return found

    def _begin(self, found: WavFormat, size: int, first_sample: int) -> None:
        """Go to `first_sample` of a file of `size` bytes. Raises ConfigError."""
        self._frame_bytes = found.frame_bytes
        present = max(0, size - found.data_at)
        length = present if found.data_bytes is None else min(present, found.data_bytes)
        frames = length // found.frame_bytes
        if not frames:
            raise ConfigError("audio.source", f"{self._audio.source} has no samples")
        if length != found.data_bytes and not self._has_told:
            self._has_told = True
            log.warning(
                Event(
                    "wav_length_wrong",
                    path=self._audio.source,
                    declared_bytes=found.data_bytes,
                    present_bytes=present,
                    consequence="it is read to its end; was its recorder killed?",
                )
            )
        self._converter = converter(
            rate_hz=found.rate_hz, channels=found.channels, sample_format=found.sample_format, audio=self._audio
        )
        self._samples = frames * self._audio.sample_rate // found.rate_hz
        per_block = max(1, self._audio.block_samples * found.rate_hz // self._audio.sample_rate)
        self._read_bytes = per_block * found.frame_bytes
        self._ready = b""
        begin = min(self._converter.seek(first_sample) if self._converter is not None else first_sample, frames)
        self._left = (frames - begin) * found.frame_bytes
        assert self._fd is not None
        os.lseek(self._fd, found.data_at + begin * found.frame_bytes, os.SEEK_SET)

    def _block(self) -> bytes:
        """The next block, shorter at the end of the file, and empty behind it. Raises DeviceError."""
        if self._converter is None:
            return self._frames(self._read_bytes)
        while len(self._ready) < self._block_bytes and self._left:
            data = self._frames(self._read_bytes)
            self._ready += self._converter.convert(data)
            if not self._left:
                self._ready += self._converter.flush()
        block, self._ready = self._ready[: self._block_bytes], self._ready[self._block_bytes :]
        return block

    def _frames(self, most_bytes: int) -> bytes:
        """The next whole frames of the file, at most `most_bytes`. Raises DeviceError."""
        assert self._fd is not None
        try:
            data = os.read(self._fd, min(most_bytes, self._left))
        except OSError as error:
            raise DeviceError(f"cannot read {self._audio.source}: {error.strerror}") from None
        if len(data) % self._frame_bytes:  # the file was cut off while it was open
            data = data[: len(data) - len(data) % self._frame_bytes]
        self._left = self._left - len(data) if data else 0
        return data


def _size(fd: int) -> int:
    """The size of the file. Raises WavError where it is none."""
    found = os.fstat(fd)
    if stat.S_ISDIR(found.st_mode):
        raise WavError("it is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise WavError("it is no ordinary file")
    return found.st_size
