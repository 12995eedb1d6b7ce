"""PortAudio as a library: how it is loaded, and its list of inputs. The only module that knows sounddevice."""

import contextlib
import ctypes
import sys
import types
from collections.abc import Iterator

from mpengine.capture.inventory import Input
from mpengine.processes import tricks
from mpengine.processes.tricks import Trick
from mpengine.shared.errors import DeviceError

__all__ = ["found_by_soname", "inputs", "sounddevice", "takes", "version", "words"]

_SONAME = "libportaudio.so.2"
_FINDER = "ctypes.util"
_HOST_ERROR = 2  # of the arguments of a PortAudioError: the host API, its code and its text
_ALSA = "libasound.so.2"
# PortAudio lists some PCMs last. If the configuration has none of them, an assertion may end the process.
_LISTED_LAST = (b"pcm.default", b"pcm.dmix")
_PROBE_S = 10.0
_PROBE = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).Pa_Initialize()"


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


def _check_alsa() -> None:
    """Raise DeviceError where PortAudio would abort the process: ALSA has no configuration, or only a part of one."""
    if sys.platform != "linux":
        return
    try:
        alsa = ctypes.CDLL(_ALSA)
    except OSError:
        return
    alsa.snd_config_update()
    top = ctypes.c_void_p.in_dll(alsa, "snd_config")
    found = ctypes.c_void_p()
    if any(top and alsa.snd_config_search(top, name, ctypes.byref(found)) == 0 for name in _LISTED_LAST):
        return
    import subprocess  # noqa: PLC0415  hardly ever needed

    with contextlib.suppress(subprocess.TimeoutExpired):
        probe = [sys.executable, "-I", "-c", _PROBE, _SONAME]
        code = subprocess.run(probe, capture_output=True, timeout=_PROBE_S, check=False).returncode  # noqa: S603
        if code < 0:
            raise DeviceError(
                'ALSA\'s configuration has no "default" device, and PortAudio cannot start: on Debian, apt-get install '
                "libasound2-data, and see that ALSA_CONFIG_PATH, /etc/asound.conf and ~/.asoundrc are right"
            )


_check_alsa()
try:
    with found_by_soname():
        import sounddevice
except OSError as error:  # sounddevice raises it for a missing library
    raise DeviceError(
        f"{error}: on Debian, apt-get install libportaudio2 (scripts/install does it); on macOS, brew install portaudio"
    ) from None


def words(error: Exception) -> str:
    """PortAudio's sentence without the names of its functions; or that of the system below, where it has only that."""
    if isinstance(error, sounddevice.PortAudioError) and len(error.args) > _HOST_ERROR:
        of_the_system = error.args[_HOST_ERROR][-1]  # "Unanticipated host error" says nothing
        if of_the_system:
            return str(of_the_system)
    text = str(error.args[0] if error.args else error)
    return text.partition(": ")[2] or text


def version() -> str:
    """The version of PortAudio, as it tells it."""
    return str(sounddevice.get_portaudio_version()[1]).partition(",")[0]


def takes(number: int, *, rate_hz: int, channels: int) -> bool:
    """Whether the device takes this rate now. A device that is busy takes none."""
    library, ffi = sounddevice._lib, sounddevice._ffi  # noqa: SLF001  check_input_settings raises for names of any bytes
    parameters = ffi.new("PaStreamParameters*", (number, channels, library.paInt16, 0.0, ffi.NULL))
    return bool(library.Pa_IsFormatSupported(parameters, ffi.NULL, rate_hz) == library.paFormatIsSupported)


def inputs() -> list[Input]:
    """The entries of PortAudio's list that have inputs, in its order. Raises DeviceError.

    A name may be any bytes: the kernel cuts names in the middle of a letter. What is no UTF-8 is escaped.
    """
    library, text = sounddevice._lib, sounddevice._ffi.string  # noqa: SLF001  query_devices raises for such names
    try:
        apis = [api["name"] for api in sounddevice.query_hostapis()]
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"PortAudio cannot list the devices: {words(error)}") from None
    default = library.Pa_GetDefaultInputDevice()
    found = []
    for number in range(library.Pa_GetDeviceCount()):
        info = library.Pa_GetDeviceInfo(number)
        if info and info.maxInputChannels > 0:
            name = text(info.name).decode("utf-8", "backslashreplace")
            rate_hz = int(info.defaultSampleRate)
            is_default = number == default
            found.append(Input(number, name, apis[info.hostApi], info.maxInputChannels, rate_hz, is_default))
    return found
