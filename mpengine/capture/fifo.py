"""A FIFO as a live source. Its writers come and go; each begins a stream of its own.

A FIFO whose writer has gone is readable for ever, without anything to read. So it is opened again, and then is not
readable before the next writer has written.
"""

import os
import stat

from mpengine.capture.byte_stream import ByteStream
from mpengine.capture.pipe import Pipe
from mpengine.capture.piped import Piped
from mpengine.capture.source import Block, SourceInfo
from mpengine.capture.wav_format import WavError
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, DeviceError
from mpengine.shared.sources import path_of


class Fifo(Piped):
    """The FIFO of `audio.source`."""

    def __init__(self, audio: AudioConfig) -> None:
        super().__init__(audio)
        self._path = path_of(audio.source)
        self._fd = -1
        self._why_unreadable = ""  # until the writer of such a stream has gone

    def open(self, first_sample: int) -> SourceInfo:
        """Begin to read, or go on. Raises DeviceError when the FIFO cannot be opened, or when nobody writes again."""
        if self._why_unreadable:
            self._pass_over()
        if self._known is None or (self._is_lost and self._is_another()):
            self._open_fifo(first_sample)
        if self._is_lost and not self._pipe.waiting():
            raise DeviceError(self._why_lost)
        assert self._known is not None
        self._go_on(self._known)
        return SourceInfo(self._path, 0.0, self._known.rate_hz)

    def read(self, now_ns: int, room: int) -> list[Block]:
        """See Source. The end of the writer is a loss."""
        blocks = super().read(now_ns, room)
        if self._is_at_end(blocks):
            self._lose()
            self._why_lost = f"no writer at {self._path}"
            self._notes.forget()
            self._open_fifo(0)
            raise DeviceError(self._why_lost)
        return blocks

    def awaited(self) -> int | None:
        """See Source."""
        return self._fd if self._is_lost and self._fd >= 0 and not self._why_unreadable else None

    def _open_fifo(self, next_sample: int) -> None:
        before = self._fd
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._fd, self._known, self._is_lost = -1, None, True
            raise DeviceError(f"cannot open the FIFO {self._path}: {error.strerror}") from None
        finally:
            if before >= 0:  # not earlier: without a reader, the next writer would be ended
                os.close(before)
        if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            self._fd, self._known, self._is_lost = -1, None, True
            raise DeviceError(f"{self._path} is no FIFO any more")
        self._pipe = Pipe(self._fd)
        self._known = ByteStream(self._pipe, self._audio, name=self._path, notes=self._notes, next_sample=next_sample)

    def _is_another(self) -> bool:
        """Whether another file has the path now, so that nobody will find this FIFO any more.

        One that was only removed may still have a writer.
        """
        try:
            return not self._pipe.waiting() and not os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except OSError:
            return False

    @property
    def _words_of_silence(self) -> str:
        return f"nothing comes from the FIFO {self._path}"

    def _unreadable(self, error: WavError | ConfigError) -> DeviceError:
        self._why_unreadable = f"cannot read the FIFO {self._path}: {error}"
        return DeviceError(self._why_unreadable)

    def _pass_over(self) -> None:
        """Throw away what waits of a stream that cannot be read. Raises DeviceError until its writer has gone."""
        is_over = self._pipe.is_over()
        self._pipe.skip()
        if not is_over:
            raise DeviceError(self._why_unreadable)
        self._why_unreadable = ""
        self._why_lost = f"no writer at {self._path}"
