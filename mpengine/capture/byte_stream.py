"""Cuts the bytes of a pipe into blocks of samples: WAV by its header, otherwise int16 as `audio` sends it.

Only whole blocks are taken from the pipe, as long as more may come. `mpengine.capture.pipe` says why. A block of many
channels may be larger than the pipe: then it is taken in pieces.
"""

import logging
import math
import os

from mpengine.capture.allowance import Allowance
from mpengine.capture.convert import Converter, converter
from mpengine.capture.notes import Noted, Notes
from mpengine.capture.pipe import Pipe
from mpengine.capture.source import Block
from mpengine.capture.wav_format import OTHER_FILES, WAV_NAMES, HeaderStream, WavFormat
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.file_id import file_id
from mpengine.shared.logs import Event

log = logging.getLogger("mpengine.capture")

_MAGIC_BYTES = 4
# Programs that write into a pipe give such sizes, because they cannot know the true one.
_NO_SIZE_BYTES = 0x7FFF0000
_BLOCKS_AT_ONCE = 50


class ByteStream:
    """The audio of one writer. `name` is that of the source, for messages."""

    def __init__(self, pipe: Pipe, audio: AudioConfig, *, name: str, notes: Notes, next_sample: int = 0) -> None:
        """Go on where the process before this one was killed, if there was one. `next_sample` is on the run's clock."""
        self._pipe = pipe
        self._audio = audio
        self._name = name
        self._notes = notes
        self._waits = audio.is_unpaced
        self._header: HeaderStream | None = None
        self._head = b""  # bytes that were taken, and are audio
        self._format: WavFormat | None = None
        self._converter: Converter | None = None
        self._rest = b""  # converted samples that do not fill a block
        self._left_bytes: int | None = None
        self._allowance: Allowance | None = None
        self._has_told = False  # whether a second stream was logged
        self._lost = 0  # samples that went with the process before; the next block tells them
        self._taken_bytes = self._seen_bytes = 0
        self._seen_ns = 0  # when the last byte so far was seen first
        self._next_sample = next_sample
        self.has_given = False
        """Whether a sample has come out of this pipe, also in an earlier process."""
        self.has_ended = False
        """Whether the last sample was read."""
        noted = notes.load(pipe.fileno())
        if noted is not None:
            self.has_given = True
            self._begin(noted.format, noted.left_bytes)
            if self._waits:
                self._lost = max(0, noted.next_sample - next_sample)
                self._next_sample = next_sample + self._lost

    @property
    def is_file(self) -> bool:
        """Whether the audio turned out not to be live: it waits for its reader."""
        return self._allowance is not None and self._allowance.is_file

    @property
    def rate_hz(self) -> int:
        """The rate of the audio in the pipe; 0 before it is known."""
        return self._format.rate_hz if self._format else 0

    @property
    def remainder_s(self) -> float:
        """How long the audio is that waits in the pipe, to fill a block."""
        if self._format is None:
            return 0.0
        return self._pipe.waiting() // self._frame_bytes % self._block_frames / self._format.rate_hz

    @property
    def holds_s(self) -> float:
        """How much audio the pipe holds: its writer has to wait when it is not read for so long."""
        if self._format is None:
            return math.inf
        return max(self._frame_bytes, self._pipe.holds_bytes()) / self._frame_bytes / self._format.rate_hz

    @property
    def has_block(self) -> bool:
        """Whether a whole block waits. A part of one is not read until the rest comes."""
        if self._format is None:
            return False
        return len(self._head) + self._pipe.waiting() >= self._block_frames * self._frame_bytes

    def discard(self) -> None:
        """Throw away what waits: it is old."""
        if self._format is None:
            return
        size = self._pipe.waiting()
        if self._left_bytes is not None:
            size = min(size, self._left_bytes)
            self._left_bytes -= size - size % self._frame_bytes
        self._taken_bytes += len(self._pipe.read(size - size % self._frame_bytes))
        if self._converter is not None:
            self._converter.reset()
        self._rest = b""

    def read(self, now_ns: int, room: int) -> list[Block]:
        """The blocks that have come, at most `room`. Raises WavError for a stream that cannot be read."""
        is_over = self._pipe.is_over()  # asked first, so that all that was written before is counted
        if self.has_ended or room <= 0 or not self._knows_format(is_over=is_over):
            return []
        assert self._format is not None
        waiting = len(self._head) + self._pipe.waiting()
        if self._left_bytes is not None and waiting >= self._left_bytes:
            waiting, is_last = self._left_bytes, True
        else:
            is_last = is_over
        # What waits is not younger because nothing came behind it: its writer may have ended.
        if self._taken_bytes + waiting > self._seen_bytes:
            self._seen_bytes, self._seen_ns = self._taken_bytes + waiting, now_ns
        there = waiting // self._frame_bytes
        wanted = min(there, min(room, _BLOCKS_AT_ONCE) * self._block_frames)
        if not self._waits:
            wanted = self._allowed(wanted, there, now_ns)
        if wanted < there or not is_last:
            is_last = False
            wanted -= wanted % self._block_frames
        pcm = self._take(wanted)
        if self._pipe.is_file:
            blocks = self._blocks(pcm, now_ns, behind_s=0.0, is_last=is_last)
        else:
            behind_s = (there - wanted) / self._format.rate_hz
            blocks = self._blocks(pcm, self._seen_ns, behind_s=behind_s, is_last=is_last)
        if is_last:
            self._pass_over()
            self.has_ended = is_over
        if is_last or (blocks and (self._waits or self._left_bytes is not None or not self.has_given)):
            self._note()
        self.has_given |= bool(blocks)
        return blocks

    def _pass_over(self) -> None:
        """Throw away what waits behind the audio of a WAV stream: other chunks, or another stream."""
        begin = self._pipe.skip()
        if begin.startswith(WAV_NAMES) and not self._has_told:
            self._has_told = True
            log.warning(
                Event(
                    "second_wav_passed_over",
                    source=self._name,
                    reason="another WAV stream comes behind the end of the first; only the first is heard. Join them "
                    "into one (sox A.wav B.wav -t wav -)",
                )
            )

    def _knows_format(self, *, is_over: bool) -> bool:
        if self._format is not None:
            return True
        if self._header is None:
            self._head += self._pipe.read(min(_MAGIC_BYTES - len(self._head), self._pipe.waiting()))
            if len(self._head) == _MAGIC_BYTES:
                self._choose(self._head)
            elif is_over:
                self.has_ended = True  # less than four bytes are no audio
        while self._header is not None and self._format is None:
            size = min(self._header.wanted, self._pipe.waiting())
            found = self._header.feed(self._pipe.read(size)) if size else None
            if found is not None:
                wav = found[0]
                has_size = wav.data_bytes is not None and wav.data_bytes < _NO_SIZE_BYTES
                self._begin(wav, wav.data_bytes if has_size else None)
            elif not size:
                if is_over:
                    raise self._header.finish()
                return False
        return self._format is not None

    def _choose(self, magic: bytes) -> None:
        if magic in WAV_NAMES or magic in OTHER_FILES:
            self._header, self._head = HeaderStream(), b""
            self._header.feed(magic)
        else:
            audio = self._audio
            self._begin(WavFormat(audio.sample_rate, audio.channels, "int16", 0, None), None)

    def _begin(self, wav: WavFormat, left_bytes: int | None) -> None:
        self._format, self._left_bytes = wav, left_bytes
        self._frame_bytes = wav.frame_bytes
        block_frames = wav.rate_hz * self._audio.block_samples // self._audio.sample_rate
        self._block_frames = max(1, min(block_frames, self._pipe.holds_bytes() // wav.frame_bytes))
        self._converter = converter(
            rate_hz=wav.rate_hz, channels=wav.channels, sample_format=wav.sample_format, audio=self._audio
        )

    def _allowed(self, wanted: int, there: int, now_ns: int) -> int:
        """How many of the `wanted` frames may be read now, when `there` frames wait: `Allowance` sets the pace."""
        assert self._format is not None
        if self._allowance is None:
            self._allowance = Allowance(
                rate_hz=self._format.rate_hz, waiting=there, now_ns=now_ns, is_file=self._pipe.is_file
            )
        allowed = min(wanted, self._allowance.frames(now_ns))
        taken = allowed if allowed == there else allowed - allowed % self._block_frames
        if self._allowance.took(taken, now_ns, is_more=there - taken >= 2 * self._block_frames):
            log.warning(
                Event(
                    "source_is_file",
                    source=self._name,
                    reason="it is faster than real time; it is read at the pace of speech from now on. "
                    "With audio.paced = false it is read as fast as the recogniser takes it",
                )
            )
        return taken

    def _take(self, frames: int) -> bytes:
        size = frames * self._frame_bytes
        head, self._head = self._head[:size], self._head[size:]
        pcm = head + self._pipe.read(size - len(head))
        self._taken_bytes += len(pcm)
        if self._left_bytes is not None:
            self._left_bytes -= len(pcm)
        return pcm

    def _blocks(self, pcm: bytes, seen_ns: int, *, behind_s: float, is_last: bool) -> list[Block]:
        if self._converter is not None:
            pcm = self._converter.convert(pcm)
            behind_s += self._converter.held_s
            if is_last:
                pcm += self._converter.flush()
        pcm = self._rest + pcm
        sample_bytes = 2 * self._audio.channels
        size = self._audio.block_samples * sample_bytes
        whole = len(pcm) if is_last else len(pcm) - len(pcm) % size
        self._rest = pcm[whole:]
        end_ns = seen_ns - int(behind_s * 1e9)
        blocks = []
        for at in range(0, whole, size):
            piece = pcm[at : min(at + size, whole)]
            behind = (len(pcm) - at - len(piece)) // sample_bytes
            blocks.append(Block(piece, end_ns - behind * 1_000_000_000 // self._audio.sample_rate, self._lost))
            self._lost = 0
        self._next_sample += whole // sample_bytes
        return blocks

    def _note(self) -> None:
        assert self._format is not None
        self._notes.keep(
            Noted(
                file_id=file_id(os.fstat(self._pipe.fileno())),
                format=self._format,
                left_bytes=self._left_bytes,
                next_sample=self._next_sample,
            )
        )
