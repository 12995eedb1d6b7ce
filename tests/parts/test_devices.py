"""Which device is meant."""

import pytest

from mpengine.capture.microphone import Device, choose
from mpengine.shared.errors import DeviceError, ExitCode

BUILT_IN = Device(0, "Built-in Audio", "ALSA", 2, 44100)
USB = Device(2, "USB PnP Sound Device: Audio (hw:1,0)", "ALSA", 1, 48000, is_default=True)
YETI = Device(3, "Yeti Größe L", "ALSA", 2, 48000)
PULSE = Device(5, "pulse", "ALSA", 32, 44100)
PULSE_JACK = Device(9, "pulse", "JACK", 32, 44100)
ALL = [BUILT_IN, USB, YETI, PULSE, PULSE_JACK]


@pytest.mark.parametrize(
    ("wanted", "device"),
    [
        (None, USB),
        (0, BUILT_IN),
        (3, YETI),
        ("Built-in Audio", BUILT_IN),
        ("built-in AUDIO", BUILT_IN),
        ("usb pnp", USB),
        ("hw:1,0", USB),
        ("YETI GRÖSSE", YETI),
        ("pulse", PULSE),
    ],
)
def test_a_device_is_meant_by_default_index_name_or_part_of_a_name(wanted, device):
    assert choose(ALL, wanted) == device


def test_a_whole_name_wins_over_a_part_of_another():
    short, long = Device(0, "USB", "ALSA", 1, 48000), Device(1, "USB Microphone", "ALSA", 1, 48000)
    assert choose([long, short], "usb") == short


def test_without_a_default_the_first_is_taken():
    assert choose([YETI, PULSE], None) == YETI


@pytest.mark.parametrize("wanted", [1, -1, 99, "Blue Snowball", "2"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(wanted):
    with pytest.raises(DeviceError) as caught:
        choose([BUILT_IN, USB], wanted)
    assert repr(wanted) in str(caught.value)
    assert '0 "Built-in Audio", 2 "USB PnP Sound Device: Audio (hw:1,0)"' in str(caught.value)


def test_a_part_that_fits_several_is_refused_with_those_it_fits():
    with pytest.raises(
        DeviceError, match=r"audio\.device 'audio' fits several: 0 .*, 2 .*; name one of them"
    ) as caught:
        choose(ALL, "audio")
    assert "Yeti" not in str(caught.value)


@pytest.mark.parametrize("wanted", [None, 0, "USB"])
def test_without_any_device_the_error_says_what_to_do(wanted):
    with pytest.raises(DeviceError, match=r"no audio input device; plug in a microphone, or set audio\.source"):
        choose([], wanted)


def test_a_device_error_ends_the_command_with_3():
    assert DeviceError("x").exit_code == ExitCode.DEVICE == 3
