"""The formats in which a device is tried."""

import pytest

from mpengine.capture.device_format import channels_to_open, rates_to_try
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError


def test_what_needs_no_conversion_is_tried_first_and_nothing_twice():
    assert rates_to_try(16000) == [16000, 48000, 44100, 32000, 8000]
    assert rates_to_try(44100, 48000) == [44100, 48000, 32000, 16000, 8000]
    assert rates_to_try(16000, 96000)[-1] == 96000


@pytest.mark.parametrize(
    ("channels", "channel", "opened"),
    [
        (1, None, 1),
        (2, None, 2),  # the mean of both
        (6, None, 1),  # the beam of an array
        (32, None, 1),  # a plugin, which mixes
        (0, None, 1),
        (2, 0, 1),
        (2, 1, 2),
        (6, 3, 4),
        (32, 1, 2),
        (0, 2, 3),
        (1, "mix", 1),
        (6, "mix", 6),
        (32, "mix", 1),
    ],
)
def test_as_many_channels_are_opened_as_are_needed(channels, channel, opened):
    assert channels_to_open(AudioConfig(channel=channel), "USB", channels) == opened


def test_several_channels_are_opened_as_they_are_sent():
    assert channels_to_open(AudioConfig(channels=2), "USB", 6) == 2


def test_a_channel_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(DeviceError, match=r'"USB" has 2 channel\(s\); audio.channel: expected 0 to 1'):
        channels_to_open(AudioConfig(channel=2), "USB", 2)
