"""The microphone and a device that does what the test says."""

import select

import pytest

from mpengine.capture.choosing import Choice
from mpengine.capture.microphone import Microphone
from mpengine.capture.stream import PortAudioError, Reading
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError
from tests.pure.support import in_fresh_interpreter
from tests.rig.waiting import scaled

BLOCK = 320
GONE = PortAudioError("Error: it is unplugged", -9999)


def is_readable(microphone):
    """Whether the work loop would be woken."""
    return bool(select.select([microphone.fileno()], [], [], scaled(5))[0])


class Played:
    """In place of PortAudio's stream."""

    latency_s, rate_hz = 1.0, 16000

    def __init__(self, device, **options):
        self.device, self.options = device, options
        self.ready = b""
        self.overflowed = self.is_closed = False
        self.error = None

    def available(self):
        if self.error is not None:
            error, self.error = self.error, None  # PulseAudio tells it once
            raise error
        return len(self.ready) // 2

    def read(self, samples):
        assert samples <= len(self.ready) // 2
        pcm, self.ready = self.ready[: 2 * samples], self.ready[2 * samples :]
        overflowed, self.overflowed = self.overflowed, False
        return Reading(pcm, overflowed)

    def close(self):
        self.is_closed = True


@pytest.fixture
def ends(monkeypatch):
    """A microphone whose device is open, and its stream."""
    streams = []

    def opened(*arguments, **options):
        streams.append(Played(*arguments, **options))
        return streams[-1]

    choice = Choice("played", 0, None, {}, "played:0", is_card=True)
    monkeypatch.setattr("mpengine.capture.microphone.Stream", opened)
    monkeypatch.setattr("mpengine.capture.devices.look_for", lambda *_: [choice])
    monkeypatch.setattr("mpengine.capture.microphone.start_again", lambda: None)
    microphone = Microphone(AudioConfig())
    microphone.open(0)
    yield microphone, streams
    microphone.close()


def numbered(*numbers):
    """Blocks of which each says its number."""
    return b"".join(bytes([number]) * 2 * BLOCK for number in numbers)


def numbers(blocks):
    return [block.pcm[0] for block in blocks]


def settle(microphone, stream):
    """Read as often as the time of the first samples takes to be decided. Returns the blocks."""
    blocks = []
    for _ in range(16):
        stream.ready = bytes(2 * BLOCK)
        blocks += microphone.read(0, 100)
    return blocks


def test_samples_come_in_blocks_and_the_rest_waits(ends):
    microphone, (stream,) = ends
    assert len(settle(microphone, stream)) == 16
    stream.ready = numbered(1, 2)[:-100]
    assert numbers(microphone.read(0, 100)) == [1]
    stream.ready = numbered(2)[-100:] + numbered(3)
    assert numbers(microphone.read(0, 100)) == [2, 3]


def test_the_device_is_read_each_time_it_wakes_and_by_no_more_than_it_has(ends):
    microphone, (stream,) = ends
    for _ in range(20):
        stream.ready = bytes(2 * 48)
        assert is_readable(microphone)
        microphone.read(0, 100)
        assert stream.ready == b""


def test_the_first_samples_wait_until_their_time_is_known(ends):
    microphone, (stream,) = ends
    for _ in range(15):
        stream.ready = numbered(1)
        assert microphone.read(0, 100) == []
    stream.ready = numbered(1)
    blocks = microphone.read(0, 100)
    assert len(blocks) == 16
    assert all(block.is_exact for block in blocks)
    assert len({block.arrival_ns - number * 20_000_000 for number, block in enumerate(blocks)}) == 1


def test_a_full_buffer_is_followed_by_another_read_at_once(ends):
    microphone, (stream,) = ends
    settle(microphone, stream)
    stream.available = lambda: min(15_999, len(stream.ready) // 2)
    stream.ready = bytes(2 * 40_000)
    assert len(microphone.read(0, 1000)) == 40_000 // BLOCK


def test_the_loss_is_told_once_and_the_rest_can_still_be_read(ends):
    microphone, (stream,) = ends
    settle(microphone, stream)
    stream.ready = numbered(1)[:-2]
    assert microphone.read(0, 100) == []
    stream.error = GONE
    with pytest.raises(DeviceError, match='"played" has gone: it is unplugged'):
        microphone.read(0, 100)
    assert [len(block.pcm) for block in microphone.read(0, 100)] == [2 * BLOCK - 2]
    assert microphone.read(0, 100) == []


def test_a_lost_device_is_closed_and_opened_anew(ends):
    microphone, streams = ends
    streams[0].error = GONE
    with pytest.raises(DeviceError):
        microphone.read(0, 100)
    microphone.close()
    assert streams[0].is_closed
    assert microphone.open(0).name == "played"
    assert len(settle(microphone, streams[1])) == 16


def test_what_comes_behind_an_overflow_begins_a_block_of_its_own(ends):
    microphone, (stream,) = ends
    settle(microphone, stream)
    stream.ready = numbered(1)[:-2]
    microphone.read(0, 100)
    stream.overflowed = True
    first, *others = settle(microphone, stream)
    assert len(first.pcm) == 2 * BLOCK - 2
    assert [block.overflowed for block in others] == [True] + 15 * [False]


def test_blocks_for_which_there_was_no_room_come_later(ends):
    microphone, (stream,) = ends
    settle(microphone, stream)
    stream.ready = numbered(1, 2, 3)
    assert microphone.read(0, 0) == []
    stream.ready = numbered(4)
    assert numbers(microphone.read(0, 2)) == [1, 2]
    assert numbers(microphone.read(0, 2)) == [3, 4]


def test_samples_that_wait_too_long_are_counted(ends):
    microphone, (stream,) = ends
    settle(microphone, stream)
    for _ in range(40):
        stream.ready = bytes(2 * 15_000)
        microphone.read(0, 0)
    blocks = microphone.read(0, 10_000)
    assert sum(len(block.pcm) // 2 for block in blocks) == pytest.approx(30 * 16_000, abs=BLOCK)
    stream.ready = numbered(1)
    (behind,) = microphone.read(0, 10_000)
    assert behind.lost_before + sum(len(block.pcm) // 2 for block in blocks) == pytest.approx(40 * 15_000, abs=BLOCK)


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
