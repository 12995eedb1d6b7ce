"""PortAudio without a search for it.

sounddevice asks `ctypes.util` where PortAudio is, and that asks ldconfig, a process of its own: 20 ms of every restart,
and half a megabyte for `subprocess`. On Linux the name that packages link by is enough for the dynamic linker.
"""

import contextlib
import ctypes
import sys
import types
from collections.abc import Iterator

_SONAME = "libportaudio.so.2"
_FINDER = "ctypes.util"


@contextlib.contextmanager
def found_by_soname() -> Iterator[None]:
    """While it lasts, `ctypes.util.find_library` answers with PortAudio, where the linker knows that."""
    if _FINDER in sys.modules or not _is_known():
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
