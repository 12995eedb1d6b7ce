"""The common part of the sources that read a pipe: how often it is read, and when nothing has come for too long."""

import abc
import time

from mpengine.capture.absence import Patience
from mpengine.capture.byte_stream import ByteStream
from mpengine.capture.notes import Notes
from mpengine.capture.pace import Pace
from mpengine.capture.pipe import Pipe
from mpengine.capture.source import Block, Source
from mpengine.capture.wav_format import WavError
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, DeviceError

# A pipe holds more than this, unless it is narrow or its audio has many channels. Reads a third of that apart leave
# room for two that are late.
_PIPE_S = 1.0
_SHARE_OF_PIPE = 1 / 3
_UNPACED_STEP_S = 0.02


class Piped(Source):
    """A source that reads `_stream` by a timer: some programs write 400 times a second."""

    def __init__(self, audio: AudioConfig) -> None:
        self._audio = audio
        self._notes = Notes()
        self._stream: ByteStream | None = None  # while it is open
        self._known: ByteStream | None = None  # the same, also in a pause and while nothing comes
        self._pipe: Pipe
        self._is_lost = self._is_paused = False
        self._why_lost = ""
        self._patience = Patience(0.0)
        self._pace = self._new_pace()
        self._next_read_ns = 0

    def keep_notes(self, fd: int) -> None:
        """See Source."""
        self._notes = Notes(fd)

    def due_s(self, now_ns: int) -> float | None:
        """See Source."""
        return None if self._stream is None else (self._next_read_ns - now_ns) / 1e9

    def is_file(self) -> bool:
        """See Source."""
        return self._stream is not None and self._stream.is_file

    def read(self, now_ns: int, room: int) -> list[Block]:
        """See Source."""
        stream = self._stream
        if stream is None or now_ns < self._next_read_ns:  # the work loop calls whenever it is awake
            return []
        try:
            blocks = stream.read(now_ns, room)
        except (WavError, ConfigError) as error:
            if self._is_paused:
                return []
            self._lose()
            self._known = None
            raise self._unreadable(error) from None
        for block in blocks:
            self._pace.heard(block.pcm)
        if self._is_paused:  # closed: this is the rest, and nothing can be lost any more
            return blocks
        self._pace.has_looked(len(blocks) * self._audio.block_samples / self._audio.sample_rate)
        self._next_read_ns = now_ns + int(self._step_s(stream, has_read=bool(blocks)) * 1e9)
        waits_for_us = stream.is_file and stream.has_block
        need_not_come = stream.has_ended or waits_for_us or self._audio.is_unpaced or self._is_starting(now_ns)
        if self._patience.is_over(now_ns / 1e9, has_come=bool(blocks) or need_not_come):
            self._lose()
            self._why_lost = self._words_of_silence
            raise DeviceError(self._why_lost)
        return blocks

    def close(self) -> None:
        """Read no more. The writer has to wait when the pipe is full, and can go on after a pause."""
        self._is_paused = self._known is not None and not self._is_lost
        self._next_read_ns = 0

    def _go_on(self, stream: ByteStream) -> None:
        """Read `stream` from now on. What a live writer wrote in a pause is passed over."""
        if self._is_paused and not (self._audio.is_unpaced or stream.is_file):
            stream.discard()
        self._is_lost = self._is_paused = False
        self._stream = stream
        self._patience = Patience(time.monotonic())
        self._pace = self._new_pace()
        self._next_read_ns = 0

    def _lose(self) -> None:
        """The source is lost until `open` succeeds again."""
        self._is_lost, self._stream = True, None

    def _is_at_end(self, blocks: list[Block]) -> bool:
        """Whether the writer has gone, and everything was read: `blocks`, the last read, is empty."""
        return not (blocks or self._is_paused) and self._stream is not None and self._stream.has_ended

    def _step_s(self, stream: ByteStream, *, has_read: bool) -> float:
        most_s = stream.holds_s * _SHARE_OF_PIPE
        if self._audio.is_unpaced:
            return 0.0 if has_read else min(_UNPACED_STEP_S, most_s)
        return min(self._pace.first_step_s(stream.remainder_s), most_s)

    def _new_pace(self) -> Pace:
        block_s = self._audio.block_samples / self._audio.sample_rate
        return Pace(block_s=block_s, quiet_s=self._audio.quiet_ms / 1000, buffer_s=_PIPE_S, has_periods=False)

    def _is_starting(self, now_ns: int) -> bool:  # noqa: ARG002
        """Whether the first audio may take longer than the audio after it."""
        return False

    @property
    @abc.abstractmethod
    def _words_of_silence(self) -> str:
        """Why the source counts as lost when nothing has come for too long."""

    @abc.abstractmethod
    def _unreadable(self, error: WavError | ConfigError) -> Exception:
        """The error for a stream that is no audio."""
