"""PortAudio as a library: the only module that knows sounddevice."""

import contextlib
import ctypes
import sys
import types
from collections.abc import Iterator

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick
from mpengine.shared.errors import DeviceError

__all__ = ["found_by_soname", "sounddevice", "words"]

_SONAME = "libportaudio.so.2"
_FINDER = "ctypes.util"


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


def words(error: Exception) -> str:
    """PortAudio's sentence without the names of its functions."""
    text = str(error.args[0] if error.args else error)
    return text.partition(": ")[2] or text
