"""A program that writes live audio to its standard output, as a source. It is started again when it ends or stalls."""

import time

from mpengine.capture.byte_stream import ByteStream
from mpengine.capture.notes import Notes
from mpengine.capture.pipe import Pipe
from mpengine.capture.piped import Piped
from mpengine.capture.program import Program
from mpengine.capture.source import Block, SourceInfo
from mpengine.capture.wav_format import WavError
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, DeviceError
from mpengine.shared.wake import Wake

# The opening waits so long for the first bytes: a program that cannot work says so soon.
_FIRST_LOOK_S = 1.0
# It may have to connect to something before it can write.
_FIRST_BYTES_NS = 10_000_000_000
# A program that has delivered for so long is started again at once.
_WORKED_NS = 2_000_000_000


class Command(Piped):
    """The program of `audio.command`."""

    def __init__(self, audio: AudioConfig) -> None:
        super().__init__(audio)
        self._program: Program | None = None
        self._began_ns = self._delivered_ns = 0
        self._again = Wake()  # readable when the next start need not wait
        self._is_wanted_again = False

    def open(self, first_sample: int) -> SourceInfo:  # noqa: ARG002  not seekable
        """Start the program. Raises DeviceError when that cannot be done, or when it ends without audio."""
        self._forget()
        self._again.drain()
        self._is_wanted_again = False
        program = self._program = Program(self._audio.command or ())
        self._pipe = Pipe(program.stdout)
        self._known = ByteStream(self._pipe, self._audio, name=program.name, notes=Notes())
        self._began_ns = self._delivered_ns = time.monotonic_ns()
        self._pipe.wait(_FIRST_LOOK_S)
        if self._pipe.is_over() and not self._pipe.waiting():
            why = program.how_it_ended()
            program.end()
            raise DeviceError(why)
        self._is_paused = False  # what this one has written is new
        self._go_on(self._known)
        return SourceInfo(program.name, 0.0, self._known.rate_hz)

    def read(self, now_ns: int, room: int) -> list[Block]:
        """See Source. The end of the program is a loss, whatever its exit code is."""
        if self._program is not None:
            self._program.listen(now_ns)
        blocks = super().read(now_ns, room)
        if blocks:
            self._delivered_ns = now_ns
        if self._is_at_end(blocks) and self._program is not None:
            self._lose()
            raise DeviceError(self._program.how_it_ended())
        return blocks

    def close(self) -> None:
        """End the program. One more `read` gets what it had written."""
        super().close()
        if self._program is not None:
            self._program.end()

    def awaited(self) -> int | None:
        """See Source."""
        return self._again.fileno() if self._is_wanted_again else None

    def _is_starting(self, now_ns: int) -> bool:
        return self._delivered_ns == self._began_ns and now_ns - self._began_ns < _FIRST_BYTES_NS

    def _lose(self) -> None:
        super()._lose()
        if self._delivered_ns - self._began_ns >= _WORKED_NS:
            self._again.set()
            self._is_wanted_again = True

    def _forget(self) -> None:
        """End the program, and let go of its pipes."""
        program, self._program = self._program, None
        self._stream = self._known = None
        if program is not None:
            program.end()
            program.close()

    @property
    def _name(self) -> str:
        return self._program.name if self._program is not None else ""

    @property
    def _words_of_silence(self) -> str:
        return f"{self._name} writes nothing"

    def _unreadable(self, error: WavError | ConfigError) -> DeviceError:
        return DeviceError(f"cannot read what {self._name} writes: {error}")
