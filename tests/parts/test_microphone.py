"""The border between PortAudio's thread and the main one."""

import select
from types import SimpleNamespace

import pytest

from mpengine.capture.choosing import Choice
from mpengine.capture.microphone import Microphone, sounddevice
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError
from tests.pure.support import in_fresh_interpreter
from tests.rig.waiting import scaled


def is_readable(microphone):
    """Whether the work loop would be woken."""
    return bool(select.select([microphone.fileno()], [], [], scaled(0.1))[0])


class Stream:
    """In place of PortAudio's: the test is its thread."""

    def __init__(self, *, callback, finished_callback, **_):
        self.callback, self.finish = callback, finished_callback
        self.latency = self.time = 0.0

    def deliver(self, *numbers):
        """Blocks of which each says its number."""
        for number in numbers:
            times = SimpleNamespace(inputBufferAdcTime=0.0, currentTime=0.0)
            self.callback(bytes([number]) * 640, 320, times, None)

    def start(self):
        pass

    def stop(self, **_):
        pass

    def close(self, **_):
        pass


@pytest.fixture
def ends(monkeypatch):
    """A microphone whose device is open, and its stream."""
    streams = []

    def opened(**options):
        streams.append(Stream(**options))
        return streams[-1]

    choice = Choice("played", 0, None, {}, "")
    monkeypatch.setattr(sounddevice, "RawInputStream", opened)
    monkeypatch.setattr("mpengine.capture.devices.look_for", lambda *_: [choice])
    microphone = Microphone(AudioConfig())
    microphone.open(0)
    yield microphone, *streams
    microphone.close()


def numbers(blocks):
    return [block.pcm[0] for block in blocks]


def test_an_end_that_comes_with_the_last_blocks_is_told_behind_them(ends):
    microphone, stream = ends
    stream.deliver(1, 2)
    stream.finish()
    assert is_readable(microphone)
    assert numbers(microphone.read(0, 100)) == [1, 2]
    assert is_readable(microphone)
    with pytest.raises(DeviceError, match="has gone"):
        microphone.read(0, 100)


def test_blocks_for_which_there_was_no_room_come_later(ends):
    microphone, stream = ends
    stream.deliver(1, 2, 3)
    stream.finish()
    assert microphone.read(0, 0) == []
    assert numbers(microphone.read(0, 2)) == [1, 2]
    assert numbers(microphone.read(0, 2)) == [3]
    with pytest.raises(DeviceError):
        microphone.read(0, 2)


def test_nothing_wakes_while_nothing_comes(ends):
    microphone, stream = ends
    stream.deliver(1)
    assert len(microphone.read(0, 100)) == 1
    assert not is_readable(microphone)
    assert microphone.read(0, 100) == []


def test_portaudio_is_found_without_looking_for_it_and_ctypes_is_whole_afterwards():
    code = """
import sys
from mpengine.capture.portaudio import found_by_soname
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
