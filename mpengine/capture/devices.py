"""Which of the listed devices is meant. Pure: the list is an argument."""

from collections.abc import Sequence
from typing import NamedTuple

from mpengine.shared.errors import DeviceError


class Device(NamedTuple):
    """An input device; `number` is PortAudio's in this process, and changes between boots."""

    number: int
    name: str
    host_api: str
    channels: int
    sample_rate: int
    is_default: bool = False


def choose(devices: Sequence[Device], wanted: str | int | None) -> Device:
    """The device meant by `wanted`: None (the system's default), an index, a name, or a part of one name.

    Case does not matter. Raises DeviceError, with the names there are, when none or several fit.
    """
    if not devices:
        raise DeviceError("there is no audio input device; plug in a microphone, or set audio.source to a WAV file")
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    if isinstance(wanted, int):
        found = [device for device in devices if device.number == wanted]
    else:
        text = wanted.casefold()
        found = [device for device in devices if device.name.casefold() == text]
        found = found or [device for device in devices if text in device.name.casefold()]
    if not found:
        raise DeviceError(f"no audio input device {wanted!r}; there are: {_listed(devices)}")
    if len(found) > 1:
        same_name = {device.name for device in found}
        if len(same_name) == 1:  # one device behind several host APIs: PortAudio lists the preferred one first
            return found[0]
        raise DeviceError(f"audio.device {wanted!r} fits several: {_listed(found)}; name one of them")
    return found[0]


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(f'{device.number} "{device.name}"' for device in devices)
