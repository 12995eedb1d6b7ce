"""`mpengine devices` lists the audio inputs under the names that `audio.device` takes."""

import json

from mpengine.processes import beginning
from mpengine.shared.errors import ExitCode
from mpengine.shared.text import harmless


def devices(*, as_json: bool) -> int:
    """Print the inputs. Returns exit code 3 when there is none. Raises DeviceError when PortAudio is missing."""
    beginning.silence_native_stderr()
    from mpengine.capture.microphone import input_devices  # noqa: PLC0415  PortAudio writes to stderr as it loads

    found = input_devices()
    if as_json:
        print(json.dumps([device._asdict() for device in found], indent=2))
    elif not found:
        print("no audio input device: plug in a microphone (in a container, pass in /dev/snd)")
    else:
        names = [harmless(device.name) for device in found]
        width = max(len(name) for name in names)
        print(f"  {'':3} {'NAME':{width}}  CHANNELS  RATE_HZ  HOST API")
        for device, name in zip(found, names, strict=True):
            mark = "*" if device.is_default else " "
            print(
                f"{mark} {device.number:3} {name:{width}}  {device.channels:8}  {device.sample_rate:7}  "
                f"{harmless(device.host_api)}"
            )
        print("* is used when audio.device is not set")
    return int(ExitCode.OK if found else ExitCode.DEVICE)
