"""How the replay window's file is laid out: capture writes it, a supervisor may want to know what is left in it.

A header, then a ring of slots of equal length; slot `sequence` stands at ``sequence % slots``. Slots from `tail` to
before `head` hold audio that no final covers.
"""

import struct
from typing import NamedTuple

MAGIC = b"mpwindow"
VERSION = 1
HEADER = struct.Struct("<8sIIIII8s")  # magic, version, bytes of a slot, slots, sample rate, channels, run
HEADER_BYTES = 4096
TAIL_AT = 1024
HEAD_AT = 2048
CURSOR = struct.Struct("<Q")
SLOT = struct.Struct("<QQQI")  # sequence, first sample, arrival_ns, bytes of PCM
CRC = struct.Struct("<I")  # crc32 of all that and the PCM, which follows
SLOT_HEADER_BYTES = SLOT.size + CRC.size


class Left(NamedTuple):
    """What a window still holds: of which run, and how much."""

    run: str
    seconds: float


def left_in(path: str) -> Left | None:
    """What the window at `path` holds; None when there is none that can be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(HEADER_BYTES)
    except OSError:
        return None
    if len(data) < HEADER_BYTES:
        return None
    magic, version, slot_bytes, slots, rate, channels, run = HEADER.unpack_from(data)
    (tail,), (head,) = CURSOR.unpack_from(data, TAIL_AT), CURSOR.unpack_from(data, HEAD_AT)
    if (magic, version) != (MAGIC, VERSION) or not (rate and channels) or not 0 <= head - tail <= slots:
        return None
    block_s = (slot_bytes - SLOT_HEADER_BYTES) / (2 * channels) / rate
    return Left(run.hex(), (head - tail) * block_s)
