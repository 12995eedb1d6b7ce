"""What the fields of the configuration cannot say: combinations of keys, and files that must be there."""

import os

from mpengine.dialects.base import RemoteConfig
from mpengine.shared.errors import require
from mpengine.shared.loopback import is_loopback
from mpengine.shared.tables import AudioConfig, BufferConfig, BusConfig


def check(*, remote: RemoteConfig, audio: AudioConfig, buffer: BufferConfig, bus: BusConfig) -> None:
    """Raises ConfigError for the first key that cannot be."""
    if remote.ca_file is not None:
        require("remote.ca_file", os.access(remote.ca_file, os.R_OK), f"cannot read {remote.ca_file}")
    whole = audio.sample_rate * audio.block_ms % 1000 == 0
    require("audio.block_ms", whole, f"expected a whole number of samples at {audio.sample_rate} Hz")
    if buffer.directory is not None:
        is_usable = os.path.isdir(buffer.directory) and os.access(buffer.directory, os.W_OK)
        require("buffer.directory", is_usable, f"{buffer.directory} is no directory that can be written")
    _check_bus(bus)


def _check_bus(bus: BusConfig) -> None:
    if bus.transcript is not None:
        directory = os.path.dirname(os.path.abspath(bus.transcript))
        is_usable = os.path.isdir(directory) and not os.path.isdir(bus.transcript)
        require("bus.transcript", is_usable, "expected the path of a file in a directory that exists")
    both = (bus.publish, bus.query)
    require("bus.query", None in both or both[0] != both[1], "expected another endpoint than bus.publish")
    for path, endpoint in (("bus.publish", bus.publish), ("bus.query", bus.query)):
        scheme, _, address = (endpoint or "").partition("://")
        if scheme == "tcp" and not is_loopback(address.rpartition(":")[0]):
            require(path, bus.curve_secret_key, "tcp off loopback needs bus.curve_secret_key_file")
