"""Recordings in other formats than WAV: ffmpeg reads them, and their audio is kept in a WAV file.

ffmpeg writes into a pipe of this process, so that it ends when this process does, however that is.
"""

import contextlib
import os
import select
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Self

from mpengine.capture.wav_format import HeaderParser, HeaderStream, WavError, WavFormat
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, MpengineError

_PROGRAM = "ffmpeg"
_HOW_TO_GET_IT = "install it (apt install ffmpeg, dnf install ffmpeg-free, brew install ffmpeg) and try again"
_PIECE_BYTES = 1 << 18
# A file system may hang; and it takes its time to find the audio in a large film.
_SILENCE_LIMIT_S = 120.0
_END_LIMIT_S = 5.0
_MOST_WORDS_BYTES = 4096
_LONGEST_WORDS = 300
_NO_AUDIO = b"matches no streams"  # ffmpeg's words
_RIFF_SIZE_AT, _MOST_RIFF_BYTES = 4, 0xFFFFFFFE


def why_no_wav(path: str) -> str | None:
    """Why the engine itself cannot read the recording at `path`; None if it can. Raises ConfigError for no file."""
    try:
        with open(path, "rb") as file:
            _header_in(file.fileno())
    except OSError as error:
        raise ConfigError("", f"cannot read {path}: {error.strerror}") from None
    except WavError as error:
        return str(error).partition(";")[0]
    return None


def decode(path: str, why: str, to: str, audio: AudioConfig, *, on_progress: Callable[[float], None]) -> str:
    """Decode the first audio track of the recording at `path` into the WAV file `to`, at the rate that is sent.

    `why` is the answer of `why_no_wav`. `on_progress` gets the seconds so far. A kill leaves no file at `to`. Several
    channels become one where one is sent, unless the configuration chooses one. Returns what ffmpeg complained of,
    though it could read on; often nothing.

    Raises ConfigError where ffmpeg is missing or cannot read the recording, MpengineError where the disk is full.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        text = f"cannot read {path}: {why}, and ffmpeg, which reads others, is missing; {_HOW_TO_GET_IT}"
        raise ConfigError("", text)
    command = [program, "-nostdin", "-hide_banner", "-loglevel", "error", "-i", f"file:{path}", "-map", "0:a:0"]
    command += ["-ac", "1"] if audio.channels == 1 and audio.channel is None else []
    command += ["-ar", str(audio.sample_rate), "-c:a", "pcm_s16le", "-f", "wav", "pipe:1"]
    part = f"{to}.part"
    try:
        with open(part, "w+b") as file, _Running(command, path) as running:
            stream = HeaderStream()
            found: WavFormat | None = None
            audio_bytes = 0
            for piece in running.pieces():
                file.write(piece)
                if found is not None:
                    audio_bytes += len(piece)
                elif (begun := stream.feed(piece)) is not None:
                    found, audio_bytes = begun[0], len(begun[1])
                if found is not None:
                    on_progress(audio_bytes / found.frame_bytes / found.rate_hz)
            running.require_success(has_audio=audio_bytes > 0)
            assert found is not None
            file.flush()
            _set_sizes(file.fileno(), found, audio_bytes)
        os.replace(part, to)
    except WavError as error:
        raise ConfigError("", f"cannot read what ffmpeg makes of {path}: {error}") from None
    except OSError as error:
        raise MpengineError(f"cannot keep the decoded audio of {path} in {part}: {error.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
    return running.words


class _Running:
    """ffmpeg at work, ended at the exit. `words`: the last line of what it complained of."""

    def __init__(self, command: list[str], path: str) -> None:
        """Raises OSError when it cannot be started."""
        self._path = path
        self._said = b""
        # A group of its own: Ctrl-C is for this process.
        self._process = subprocess.Popen(  # noqa: S603  the user's own program
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel: it dies when it can
            self._process.wait(_END_LIMIT_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def words(self) -> str:
        """The last line of what it complained of."""
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:_LONGEST_WORDS] if lines else ""

    def pieces(self) -> Iterator[bytes]:
        """What it writes, until its end. Raises MpengineError when nothing comes for too long."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        output, errors = self._process.stdout.fileno(), self._process.stderr.fileno()
        poller = select.poll()
        waiting = {output, errors}
        for fd in waiting:
            poller.register(fd, select.POLLIN)
        give_up = time.monotonic() + _SILENCE_LIMIT_S
        while waiting:
            for fd, _ in poller.poll(max(0, int((give_up - time.monotonic()) * 1000))):
                piece = os.read(fd, _PIECE_BYTES)
                if not piece:
                    poller.unregister(fd)
                    waiting.discard(fd)
                elif fd == output:
                    give_up = time.monotonic() + _SILENCE_LIMIT_S
                    yield piece
                else:
                    self._said = (self._said + piece)[-_MOST_WORDS_BYTES:]
            if time.monotonic() >= give_up:
                raise MpengineError(f"ffmpeg has read nothing of {self._path} for {_SILENCE_LIMIT_S:.0f} s")

    def require_success(self, *, has_audio: bool) -> None:
        """After its last output: raise ConfigError if it failed or found no audio, MpengineError if it does not end."""
        try:
            code = self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise MpengineError(f"ffmpeg has read {self._path}, and does not end; try again") from None
        if code or not has_audio:
            is_mute = not code or _NO_AUDIO in self._said
            why = "it has no audio" if is_mute else self.words or f"ffmpeg has ended with {code}"
            raise ConfigError("", f"cannot read {self._path}: {why}")


def _header_in(fd: int) -> WavFormat:
    """Raises WavError, OSError."""
    parser = HeaderParser()
    found = None
    while found is None:
        found = parser.take(os.pread(fd, parser.size, parser.position))
    return found


def _set_sizes(fd: int, found: WavFormat, audio_bytes: int) -> None:
    """Put the sizes, which ffmpeg cannot know, into the header. A file that is too long for one is read to its end."""
    riff_bytes = found.data_at - 8 + audio_bytes
    if riff_bytes <= _MOST_RIFF_BYTES:
        os.pwrite(fd, struct.pack("<I", riff_bytes), _RIFF_SIZE_AT)
        os.pwrite(fd, struct.pack("<I", audio_bytes), found.data_at - 4)
