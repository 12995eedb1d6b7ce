"""Imports that do without: in fresh interpreters."""

import pytest

from tests.pure.support import in_fresh_interpreter


def test_what_is_not_needed_is_not_there_while_it_lasts_and_can_be_imported_afterwards():
    code = """
import sys
from mpengine.processes import lean
sys.path.insert(0, sys.argv[1])
with lean.imports():
    try:
        import typing_extensions
    except ImportError:
        print("refused")
    import msgspec
assert "typing_extensions" not in sys.modules
assert "ast" not in sys.modules
"""
    assert in_fresh_interpreter(code, "/nowhere") == "refused\n"


def test_inspect_is_imported_and_only_loaded_by_its_use():
    code = """
import sys
from mpengine.processes import lean
with lean.imports():
    import inspect
    import inspect as again
assert "ast" not in sys.modules
print(inspect.isfunction(lambda: 0), again.isfunction(0))
assert "ast" in sys.modules
import inspect as real
assert real is sys.modules["inspect"] is not again
print(real.__file__.endswith("inspect.py"))
"""
    assert in_fresh_interpreter(code).split() == ["True", "False", "True"]


@pytest.mark.parametrize("name", ["inspect", "typing"])
def test_what_is_loaded_already_stays(name):
    code = """
import importlib, sys
before = importlib.import_module(sys.argv[1])
from mpengine.processes import lean
with lean.imports():
    assert importlib.import_module(sys.argv[1]) is before
"""
    in_fresh_interpreter(code, name)


def test_portaudio_is_found_without_looking_for_it_and_ctypes_is_whole_afterwards():
    code = """
import sys
from mpengine.capture.microphone import found_by_soname
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
