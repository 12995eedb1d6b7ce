"""The header of a WAV stream: RIFF, RF64 and BW64 with PCM of 8 to 32 bit or floating-point samples. Pure.

`HeaderParser` asks for the bytes that it needs: a file seeks to them. `HeaderStream` takes a pipe's bytes as they come.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

# The sample formats that can be converted, and their sizes in bytes. All are little-endian; full scale of a
# floating-point number is 1.0.
SAMPLE_BYTES = {"int16": 2, "uint8": 1, "int24": 3, "int32": 4, "float32": 4, "float64": 8}
# By format tag, the sample format for each number of bits.
_FORMATS = {1: {8: "uint8", 16: "int16", 24: "int24", 32: "int32"}, 3: {32: "float32", 64: "float64"}}
_EXTENSIBLE = 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_TAG_NAMES = {2: "ADPCM", 6: "A-law", 7: "µ-law", 17: "IMA ADPCM", 49: "GSM", 80: "MPEG", 85: "MP3", 255: "AAC"}
WAV_NAMES = (b"RIFF", b"RF64", b"BW64")
"""The first four bytes of a WAV stream."""
OTHER_FILES = {
    b"RIFX": "a big-endian WAV file",
    b"riff": "a Wave64 file",
    b"FORM": "an AIFF file",
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"caff": "a CAF file",
    b".snd": "an AU file",
    b"ID3\x02": "an MP3 file",
    b"ID3\x03": "an MP3 file",
    b"ID3\x04": "an MP3 file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
}
"""By their first four bytes, files that are refused in words."""
_MEND = "; convert it (ffmpeg -i FILE out.wav)"
_UNKNOWN_SIZE = 0xFFFFFFFF
_MOST_CHUNKS = 1000
_MOST_CHANNELS = 128
# What a pipe may send before its audio. It is read in passing.
_MOST_SKIPPED_BYTES = 16 * 2**20


class WavError(Exception):
    """These bytes are no WAV stream that can be read. The text says why; it continues "cannot read FILE: "."""


class WavFormat(NamedTuple):
    """What a header says. `sample_format` is one of `SAMPLE_BYTES`.

    The audio begins at byte `data_at` and has `data_bytes` bytes. None: the header says nothing about its length, as a
    recorder leaves it that was killed or that writes into a pipe; then the audio lasts to the end of the stream.
    """

    rate_hz: int
    channels: int
    sample_format: str
    data_at: int
    data_bytes: int | None

    @property
    def frame_bytes(self) -> int:
        """The size of a frame: one sample of each channel."""
        return self.channels * SAMPLE_BYTES[self.sample_format]


class HeaderParser:
    """Reads a header bit by bit: give it the `size` bytes at `position`, until it returns the format.

    Unknown chunks are passed over by a new `position`, not read.
    """

    def __init__(self) -> None:
        self.position = 0
        self.size = 12
        self._expects: Callable[[bytes], WavFormat | None] = self._begin
        self._chunks = 0
        self._long_bytes: int | None = None  # the size of the audio in an RF64 file
        self._format: tuple[int, int, str] | None = None
        self._chunk_end = 0

    def take(self, data: bytes) -> WavFormat | None:
        """Go on with the bytes at `position`; fewer than `size` mean the end. None: more is needed. Raises WavError."""
        if len(data) < self.size and self._expects != self._begin:
            raise WavError("it ends before its audio")
        return self._expects(data)

    def _begin(self, data: bytes) -> None:
        if not data:
            raise WavError("it is empty")
        name = data[:4]
        if name not in WAV_NAMES or data[8:12] not in (b"WAVE", b""):
            raise WavError(f"it is {OTHER_FILES.get(name, 'no WAV file')}{_MEND}")
        if len(data) < self.size:
            raise WavError("it ends before its audio")
        self._want_chunk(12)

    def _want_chunk(self, position: int) -> None:
        self._chunks += 1
        if self._chunks > _MOST_CHUNKS:
            raise WavError(f"no audio comes within {_MOST_CHUNKS} chunks")
        self.position, self.size, self._expects = position, 8, self._chunk

    def _chunk(self, data: bytes) -> WavFormat | None:
        name, size = struct.unpack("<4sI", data)
        at = self.position + 8
        self._chunk_end = at + size + size % 2
        if name == b"data":
            return self._found(at, size)
        if name == b"fmt ":
            if size < 16:
                raise WavError("its fmt chunk is too short")
            self.position, self.size, self._expects = at, min(size, 40), self._fmt
        elif name == b"ds64" and size >= 16:
            self.position, self.size, self._expects = at, 16, self._ds64
        else:
            self._want_chunk(self._chunk_end)
        return None

    def _ds64(self, data: bytes) -> None:
        (self._long_bytes,) = struct.unpack_from("<Q", data, 8)
        self._want_chunk(self._chunk_end)

    def _fmt(self, data: bytes) -> None:
        tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", data)
        if tag == _EXTENSIBLE and len(data) == 40 and data[26:] == _GUID_TAIL:
            (tag,) = struct.unpack_from("<H", data, 24)
        formats = _FORMATS.get(tag)
        if formats is None:
            raise WavError(f"its samples are {_TAG_NAMES.get(tag, 'of a kind')} (format {tag}), not PCM{_MEND}")
        bits += -bits % 8  # 12 or 20 bits stand in the upper part of 16 or 24
        if bits not in formats:
            raise WavError(f"its samples have {bits} bits")
        if not 1 <= channels <= _MOST_CHANNELS:
            raise WavError(f"it has {channels} channels")
        if frame_bytes != channels * bits // 8:
            raise WavError(f"{channels} channel(s) of {bits} bits do not make frames of {frame_bytes} bytes")
        if not rate_hz:
            raise WavError("its rate is 0 Hz")
        self._format = rate_hz, channels, formats[bits]
        self._want_chunk(self._chunk_end)

    def _found(self, at: int, size: int) -> WavFormat:
        if self._format is None:
            raise WavError("its audio comes before its format")
        known: int | None = size
        if size == _UNKNOWN_SIZE:
            known = self._long_bytes
        return WavFormat(*self._format, at, known or None)


class HeaderStream:
    """Reads the header from a stream that cannot seek."""

    def __init__(self) -> None:
        self._parser = HeaderParser()
        self._bytes = b""
        self._at = 0

    @property
    def wanted(self) -> int:
        """How many more bytes are needed next. With no more than these, `feed` returns no audio."""
        parser = self._parser
        return max(0, parser.position - self._at) + parser.size - len(self._bytes)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes are kept: those of a chunk that has not come as a whole."""
        return len(self._bytes)

    def feed(self, data: bytes) -> tuple[WavFormat, bytes] | None:
        """Go on with the next bytes. Returns the format and the audio among these bytes; None: more is needed.

        Raises WavError.
        """
        self._bytes += data
        parser = self._parser
        while True:
            if parser.position > _MOST_SKIPPED_BYTES:
                raise WavError("its audio does not come soon enough for a pipe")
            passed = min(parser.position - self._at, len(self._bytes))
            self._at += passed
            self._bytes = self._bytes[passed:]
            if self._at < parser.position or len(self._bytes) < parser.size:
                return None
            found = parser.take(self._bytes[: parser.size])
            if found is not None:
                return found, self._bytes[found.data_at - self._at :]

    def finish(self) -> WavError:
        """The stream has ended before its audio: why it cannot be read."""
        return WavError("it ends before its audio" if self._at or self._bytes else "it is empty")
