"""The border between PortAudio's thread and the main one."""

import select
from types import SimpleNamespace

import pytest

from mpengine.capture.microphone import Microphone
from mpengine.capture.source import Block
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError
from tests.pure.support import in_fresh_interpreter
from tests.rig.waiting import scaled


def is_readable(microphone):
    """Whether the work loop would be woken."""
    return bool(select.select([microphone.fileno()], [], [], scaled(0.1))[0])


@pytest.fixture
def microphone():
    """One whose device is open, as far as it knows."""
    made = Microphone(AudioConfig())
    made._stream = SimpleNamespace(stop=lambda **_: None, close=lambda **_: None)
    yield made
    made.close()


def deliver(microphone, *numbers):
    """What PortAudio's thread does."""
    for number in numbers:
        microphone._blocks.append(Block(bytes(640), number))
        microphone._wake.set()


def test_an_end_that_comes_with_the_last_blocks_is_told_behind_them(microphone):
    deliver(microphone, 1, 2)
    microphone._on_finished()
    assert is_readable(microphone)
    assert [block.arrival_ns for block in microphone.read(0, 100)] == [1, 2]
    assert is_readable(microphone)
    with pytest.raises(DeviceError, match="has gone"):
        microphone.read(0, 100)


def test_blocks_for_which_there_was_no_room_come_later(microphone):
    deliver(microphone, 1, 2, 3)
    microphone._on_finished()
    assert microphone.read(0, 0) == []
    assert [block.arrival_ns for block in microphone.read(0, 2)] == [1, 2]
    assert [block.arrival_ns for block in microphone.read(0, 2)] == [3]
    with pytest.raises(DeviceError):
        microphone.read(0, 2)


def test_nothing_wakes_while_nothing_comes(microphone):
    deliver(microphone, 1)
    assert len(microphone.read(0, 100)) == 1
    assert not is_readable(microphone)
    assert microphone.read(0, 100) == []


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
