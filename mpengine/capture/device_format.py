"""At which rates, and with how many channels, a device is opened. Pure."""

from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import DeviceError

# Those that microphones have, the best ones first.
_USUAL_HZ = (48_000, 44_100, 32_000, 16_000, 8_000)
MOST_CHANNELS = 8
"""A card has at most so many. More are the sign of a plugin, which converts: there one channel is the mix of all."""


def rates_to_try(wanted_hz: int, default_hz: int = 0) -> list[int]:
    """The rates in the order in which they are tried: `wanted_hz` needs no conversion. 0: the default is not known."""
    rates = [wanted_hz, *_USUAL_HZ, default_hz]
    return [rate for rate in dict.fromkeys(rates) if rate]


def channels_to_open(audio: AudioConfig, name: str, channels: int) -> int:
    """How many of the `channels` that the device `name` has are opened; 0: that is not known.

    A single channel is the first one. Raises DeviceError for a channel that the device does not have.
    """
    is_card = 0 < channels <= MOST_CHANNELS
    wanted = audio.channel
    if audio.channels > 1:
        return audio.channels
    if isinstance(wanted, int):
        if is_card and wanted >= channels:
            raise DeviceError(
                f'"{name}" has {channels} channel(s); audio.channel: expected 0 to {channels - 1} for this device'
            )
        return wanted + 1
    if not is_card:
        return 1
    return channels if wanted == "mix" or channels == 2 else 1
