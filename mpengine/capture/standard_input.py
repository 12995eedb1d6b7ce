"""The engine's standard input as a source: raw samples or WAV, live or from a file."""

import os
import stat

from mpengine.capture.byte_stream import ByteStream
from mpengine.capture.pipe import Pipe
from mpengine.capture.piped import Piped
from mpengine.capture.source import Block, SourceInfo
from mpengine.capture.wav_format import WavError
from mpengine.shared.errors import ConfigError, DeviceError

_KEY = "audio.source"
_NAME = "standard input"


class StandardInput(Piped):
    """Descriptor 0, which all processes of the engine have, and which only capture reads."""

    fd = 0

    def open(self, first_sample: int) -> SourceInfo:
        """Begin to read, or go on. Raises ConfigError for what is no pipe and no file, DeviceError if nothing comes."""
        if self._known is None:
            _check(self.fd)
            pipe = Pipe(self.fd)
            self._known = ByteStream(pipe, self._audio, name=_NAME, notes=self._notes, next_sample=first_sample)
            self._pipe = pipe
        elif self._is_lost and not self._pipe.waiting() and not self._pipe.is_over():
            raise DeviceError(self._words_of_silence)
        self._go_on(self._known)
        return SourceInfo(_NAME, 0.0, self._known.rate_hz)

    def read(self, now_ns: int, room: int) -> list[Block]:
        """See Source. Raises ConfigError when the end comes before the first sample."""
        blocks = super().read(now_ns, room)
        has_given_nothing = self.has_ended() and self._known is not None and not self._known.has_given
        if has_given_nothing and not self._is_paused:
            raise ConfigError(_KEY, f"{_NAME} has ended without a sample")
        return blocks

    def has_ended(self) -> bool:
        """Whether the last sample was read."""
        return self._known is not None and self._known.has_ended

    def awaited(self) -> int | None:
        """See Source."""
        return self.fd if self._is_lost else None

    @property
    def _words_of_silence(self) -> str:
        return "nothing comes on standard input"

    def _unreadable(self, error: WavError | ConfigError) -> ConfigError:
        return ConfigError(_KEY, f"cannot read {_NAME}: {error}")


def _check(fd: int) -> None:
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise ConfigError(_KEY, f"there is no {_NAME}: {error.strerror}") from None
    example = "expected audio from a pipe or a file, as in: arecord -t raw -f S16_LE -r 16000 | mpengine run …"
    if os.isatty(fd):
        raise ConfigError(_KEY, f"{_NAME} is a terminal; {example}")
    is_null = stat.S_ISCHR(mode) and os.path.samestat(os.fstat(fd), os.stat(os.devnull))
    if is_null:
        raise ConfigError(_KEY, f"{_NAME} is {os.devnull}; {example}")
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        raise ConfigError(_KEY, f"{_NAME} is no pipe and no file; {example}")
