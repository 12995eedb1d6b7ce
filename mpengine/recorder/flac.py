"""FLAC as an encoder, by libsndfile. No other module needs the extra `record`."""

from typing import ClassVar

import soundfile

from mpengine.recorder.encoders import Piece


class _Sink:
    """What soundfile takes for a file."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._at = self._size = 0

    def write(self, data: bytes) -> int:
        self.pieces.append(Piece(self._at, bytes(data)))
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def read(self, _size: int) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at


class Flac:
    """FLAC by libsndfile. It keeps back up to one frame of audio (4096 samples)."""

    ending: ClassVar[str] = "flac"
    most_bytes: ClassVar[int] = 1 << 36  # its header has 36 bits for the number of samples

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._sink = _Sink()
        self._file = soundfile.SoundFile(self._sink, "w", sample_rate, channels, "PCM_16", format="FLAC")

    def write(self, pcm: bytes) -> None:
        """See Encoder."""
        self._file.buffer_write(pcm, "int16")

    def close(self) -> None:
        """See Encoder."""
        self._file.close()

    def take(self) -> list[Piece]:
        """See Encoder."""
        pieces, self._sink.pieces = self._sink.pieces, []
        return pieces
