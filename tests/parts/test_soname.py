"""PortAudio's library, found by its name alone: in a fresh interpreter."""

from tests.pure.support import in_fresh_interpreter


def test_portaudio_is_found_without_looking_for_it_and_ctypes_is_whole_afterwards():
    code = """
import sys
from mpengine.capture.soname import found_by_soname
with found_by_soname():
    from ctypes.util import find_library
    print(find_library("portaudio"))
assert "subprocess" not in sys.modules
from ctypes.util import find_library
print(find_library("c"))
"""
    found, libc = in_fresh_interpreter(code).split()
    assert "portaudio" in found
    assert "libc" in libc
