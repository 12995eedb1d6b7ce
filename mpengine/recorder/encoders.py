"""Encoders make the bytes of a file out of audio; WAV is one of them. Pure.

No encoder touches the disk: so a full disk costs no audio.

An encoder collects pieces, each with its place in the file. The audio so far is in the pieces, up to the last whole
frame: so a file that has them can be played, even if no more comes.
"""

import struct
from typing import ClassVar, NamedTuple, Protocol

_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
WAV_HEADER_BYTES = _WAV_HEADER.size
_PCM = 1


class Piece(NamedTuple):
    """`data` goes to byte `place` of the file."""

    place: int
    data: bytes


class Encoder(Protocol):
    """Makes the bytes of one file, whose name ends in `ending`. The file takes `most_bytes` of audio."""

    ending: ClassVar[str]
    most_bytes: ClassVar[int]

    def __init__(self, sample_rate: int, channels: int) -> None: ...

    def write(self, pcm: bytes) -> None:
        """Take audio: 16 bits, channels interleaved."""

    def close(self) -> None:
        """Take no more, and tell the file's length in its header."""

    def take(self) -> list[Piece]:
        """The pieces that came since the last time, in the order in which to write them."""


class Wav:
    """WAV. With each piece its header tells the new length of the audio."""

    ending: ClassVar[str] = "wav"
    most_bytes: ClassVar[int] = (1 << 32) - 1024  # its header has 32 bits for a size

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._format = (sample_rate, channels)
        self._bytes = self._told_bytes = 0
        self._pieces: list[Piece] = [Piece(0, wav_header(sample_rate, channels, 0))]

    def write(self, pcm: bytes) -> None:
        """See Encoder."""
        self._pieces.append(Piece(WAV_HEADER_BYTES + self._bytes, pcm))
        self._bytes += len(pcm)

    def close(self) -> None:
        """See Encoder."""

    def take(self) -> list[Piece]:
        """See Encoder."""
        pieces, self._pieces = self._pieces, []
        if self._bytes > self._told_bytes:
            self._told_bytes = self._bytes
            pieces.append(Piece(0, wav_header(*self._format, self._bytes)))
        return pieces


def wav_header(sample_rate: int, channels: int, data_bytes: int) -> bytes:
    """The header of a WAV file with `data_bytes` of audio."""
    frame_bytes = 2 * channels
    more = WAV_HEADER_BYTES - 8 + data_bytes
    rates = (sample_rate, sample_rate * frame_bytes, frame_bytes, 16)
    return _WAV_HEADER.pack(b"RIFF", more, b"WAVE", b"fmt ", 16, _PCM, channels, *rates, b"data", data_bytes)
