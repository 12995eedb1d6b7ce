"""An open input device of PortAudio. The main thread makes all calls.

A stream is read by PortAudio's blocking interface, so PortAudio starts no thread. With a callback, PortAudio's thread
spins when an ALSA device vanishes, and stop, close and a normal exit hang: https://github.com/PortAudio/portaudio/issues/1037
"""

import contextlib
import ctypes
import sys
from typing import Any, NamedTuple

from mpengine.capture.portaudio import sounddevice

# What a card has ready moves once a period. PortAudio makes four periods of a buffer, unless it is told otherwise.
_PERIOD_S = 0.02
_LEAST_PERIODS = 4
_BY_NAME = -2  # paUseHostApiSpecificDeviceSpecification
_ALSA = 8  # PaHostApiTypeId


_lib, _ffi = sounddevice._lib, sounddevice._ffi  # noqa: SLF001  its stream classes open no device by an ALSA name
_available, _read = _lib.Pa_GetStreamReadAvailable, _lib.Pa_ReadStream
_OVERFLOWED = int(_lib.paInputOverflowed)
PortAudioError: type[Exception] = sounddevice.PortAudioError


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
        self.rate_hz = rate_hz
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
        count: int = _available(self._stream)
        return count if count >= 0 else _check(count)

    def read(self, samples: int) -> Reading:
        """Read `samples` of each channel, not more than are available: PortAudio would wait for the rest."""
        data = _ffi.new("char[]", samples * self._sample_bytes)
        code: int = _read(self._stream, data, samples)
        if code < 0 and code != _OVERFLOWED:
            _check(code)
        return Reading(bytes(_ffi.buffer(data)), code == _OVERFLOWED)

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
    return len(error.args) > 1 and bool(error.args[1] == _lib.paInvalidSampleRate)


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
