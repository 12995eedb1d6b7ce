"""A WAV file as a source: at the pace of speech, or as fast as the window has room."""

import wave

from mpengine.capture.source import Block, Source, SourceInfo
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError

# How far an unpaced file is read in one turn of the work loop.
_BLOCKS_AT_ONCE = 50
# A paced file makes up for at most this delay of its reader.
_LATE_NS = 1_000_000_000


class WavFile(Source):
    """A 16-bit PCM file of the configured rate and channels. It waits for its reader, so that no sample is lost."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._sample_bytes = 2 * audio.channels
        self._file: wave.Wave_read | None = None
        self._next_due_ns = 0
        self._has_ended = False

    def open(self, first_sample: int) -> SourceInfo:
        """Open the file at `first_sample`. Raises ConfigError when it is missing or has another format."""
        path, audio = self._audio.source, self._audio
        try:
            file = wave.open(path, "rb")  # noqa: SIM115  closed by close()
        except (OSError, EOFError, wave.Error) as error:
            why = error.strerror if isinstance(error, OSError) else str(error) or "it is cut short"
            raise ConfigError("audio.source", f"cannot read the WAV file {path}: {why}") from None
        found = (file.getsampwidth() * 8, file.getframerate(), file.getnchannels())
        if found != (16, audio.sample_rate, audio.channels):
            file.close()
            raise ConfigError(
                "audio.source",
                f"{path} is {found[0]} bit, {found[1]} Hz, {found[2]} channel(s); expected 16 bit, "
                f"{audio.sample_rate} Hz, {audio.channels}: set audio.sample_rate and audio.channels, "
                f"or convert it: sox {path} -b 16 -r {audio.sample_rate} -c {audio.channels} out.wav",
            )
        file.setpos(min(first_sample, file.getnframes()))
        self._file = file
        self._next_due_ns = 0
        self._has_ended = False
        return SourceInfo(path, 0.0)

    def read(self, now_ns: int, room: int) -> list[Block]:
        """The blocks that are due, at most `room`. Those of an unpaced file are always due."""
        blocks: list[Block] = []
        if self._file is None:
            return blocks
        block_ns = self._audio.block_ms * 1_000_000
        self._next_due_ns = self._next_due_ns or now_ns + block_ns
        most = min(_BLOCKS_AT_ONCE, room)
        while len(blocks) < most and (now_ns >= self._next_due_ns or not self._audio.paced):
            pcm = self._file.readframes(self._audio.block_samples)
            pcm = pcm[: len(pcm) - len(pcm) % self._sample_bytes]  # a truncated file may end within a sample
            if not pcm:
                self._has_ended = True
                break
            blocks.append(Block(pcm, now_ns))
            self._next_due_ns += block_ns
        self._next_due_ns = max(self._next_due_ns, now_ns - _LATE_NS)
        return blocks

    def due_s(self, now_ns: int) -> float | None:
        """Seconds until the next block."""
        if self._file is None or self._has_ended:
            return None
        return (self._next_due_ns - now_ns) / 1e9 if self._audio.paced else 0.0

    def has_ended(self) -> bool:
        """Whether the last sample has been read."""
        return self._has_ended

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
