"""PortAudio: the only module that knows sounddevice. The main thread makes all calls.

A `Stream` is read by PortAudio's blocking interface, so PortAudio starts no thread. With a callback, PortAudio's thread
spins when an ALSA device vanishes, and stop, close and a normal exit hang: https://github.com/PortAudio/portaudio/issues/1037
"""

import contextlib
import ctypes
import sys
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick
from mpengine.shared.errors import DeviceError

_SONAME = "libportaudio.so.2"
_FINDER = "ctypes.util"
# What a card has ready moves once a period. PortAudio makes four periods of a buffer, unless it is told otherwise.
_PERIOD_S = 0.02
_LEAST_PERIODS = 4
_BY_NAME = -2  # paUseHostApiSpecificDeviceSpecification
_ALSA = 8  # PaHostApiTypeId


@contextlib.contextmanager
def found_by_soname() -> Iterator[None]:
    """Inside the block, `ctypes.util.find_library` answers with PortAudio's soname, if the linker finds that.

    sounddevice asks `ctypes.util` where PortAudio is. That module loads `subprocess` and `shutil` and starts ldconfig,
    which costs 10 ms of every restart (7 ms of processor time) and 0.7 MB. On Linux the soname is enough for the
    dynamic linker. `scripts/bench tricks` measures the costs again.
    """
    if not tricks.is_used(Trick.SONAME) or _FINDER in sys.modules or not _is_known():
        yield
        return
    finder = types.ModuleType(_FINDER)
    finder.find_library = lambda _name: _SONAME  # type: ignore[attr-defined]
    sys.modules[_FINDER] = finder
    try:
        yield
    finally:
        del sys.modules[_FINDER]


def _is_known() -> bool:
    if sys.platform != "linux":
        return False
    try:
        ctypes.CDLL(_SONAME)
    except OSError:
        return False
    return True


try:
    with found_by_soname():
        import sounddevice
except OSError as error:  # sounddevice raises it for a missing library
    raise DeviceError(
        f"{error}: on Debian, apt-get install libportaudio2 (scripts/install does it); on macOS, brew install portaudio"
    ) from None

_lib, _ffi = sounddevice._lib, sounddevice._ffi  # noqa: SLF001  its stream classes open no device by an ALSA name
PortAudioError: type[Exception] = sounddevice.PortAudioError
library = sounddevice
"""For the questions about devices, which need no wrapping."""


class Reading(NamedTuple):
    """Samples that were read. `overflowed`: the driver lost samples before them."""

    pcm: bytes
    overflowed: bool


class Stream:
    """An input device that delivers int16 samples from now on. No method waits, except for a sound server that hangs.

    Raises PortAudioError. The first one means that the device is gone: PulseAudio raises once, and says 0 for ever.
    """

    def __init__(self, device: int | str, *, rate_hz: int, channels: int, latency_s: float) -> None:
        """Open and start `device`: PortAudio's number, or the name of an ALSA device.

        `latency_s` is the length of the buffer to ask for.
        """
        extra, keep_alive = _ffi.NULL, None
        if isinstance(device, str):
            extra, keep_alive = _alsa_stream_info(device)
            device = _BY_NAME
        _set_periods(max(_LEAST_PERIODS, round(latency_s / _PERIOD_S)))
        parameters = _ffi.new("PaStreamParameters*", (device, channels, _lib.paInt16, latency_s, extra))
        pointer = _ffi.new("PaStream**")
        flags = _lib.paDitherOff  # dither makes noise of the zeros of a 24-bit device
        _check(_lib.Pa_OpenStream(pointer, parameters, _ffi.NULL, rate_hz, 0, flags, _ffi.NULL, _ffi.NULL))
        del keep_alive
        self._stream = pointer[0]
        self._sample_bytes = 2 * channels
        info = _lib.Pa_GetStreamInfo(self._stream)
        self.latency_s: float = info.inputLatency
        """The length of the buffer that was got, less about a period."""
        try:
            _check(_lib.Pa_StartStream(self._stream))
        except PortAudioError:
            self.close()
            raise

    def available(self) -> int:
        """How many samples of each channel can be read now."""
        return _check(_lib.Pa_GetStreamReadAvailable(self._stream))

    def read(self, samples: int) -> Reading:
        """Read `samples` of each channel, not more than are available: PortAudio would wait for the rest."""
        data = _ffi.new("char[]", samples * self._sample_bytes)
        code = _lib.Pa_ReadStream(self._stream, data, samples)
        overflowed = code == _lib.paInputOverflowed
        if not overflowed:
            _check(code)
        return Reading(bytes(_ffi.buffer(data)), overflowed)

    def close(self) -> None:
        """Stop and close the device, whatever state it is in. A sound server that hangs makes this hang."""
        stream, self._stream = self._stream, _ffi.NULL
        if stream != _ffi.NULL:
            _lib.Pa_AbortStream(stream)
            _lib.Pa_CloseStream(stream)


def start_again() -> None:
    """Let PortAudio look for devices again. It closes the streams that are open. Raises PortAudioError."""
    while sounddevice._initialized:  # noqa: SLF001
        sounddevice._terminate()  # noqa: SLF001
    sounddevice._initialize()  # noqa: SLF001


def refuses_the_rate(error: Exception) -> bool:
    """Whether the device refuses the rate, and might take another one."""
    return _code(error) == int(_lib.paInvalidSampleRate)


def refuses_the_channels(error: Exception) -> bool:
    """Whether the device does not have so many channels."""
    return _code(error) == int(_lib.paInvalidChannelCount)


def words(error: Exception) -> str:
    """PortAudio's sentence without the names of its functions."""
    text = str(error.args[0] if error.args else error)
    return text.partition(": ")[2] or text


def _code(error: Exception) -> int | None:
    return error.args[1] if len(error.args) > 1 else None


def _check(code: int) -> int:
    return int(sounddevice._check(code))  # noqa: SLF001


def _set_periods(count: int) -> None:
    """Ask for periods that are short, though the buffer is long. PortAudio without ALSA does not have this function."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(sounddevice._libname).PaAlsa_SetNumPeriods(count)  # noqa: SLF001


def _alsa_stream_info(name: str) -> tuple[Any, Any]:
    """A PaAlsaStreamInfo, which sounddevice does not know, and what must live as long as it is used."""
    encoded = _ffi.new("char[]", name.encode("utf-8", "surrogateescape"))
    # unsigned long size; int hostApiType; unsigned long version; const char *deviceString
    fields = _ffi.new("unsigned long[4]")
    fields[0], fields[1], fields[2] = _ffi.sizeof(fields), _ALSA, 1
    fields[3] = int(_ffi.cast("uintptr_t", encoded))
    return _ffi.cast("void*", fields), (encoded, fields)
