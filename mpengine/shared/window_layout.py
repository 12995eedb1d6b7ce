"""The layout of the replay window's file. Capture writes it; a supervisor may read how much audio is left in it.

The file is a header and a ring of slots of equal length. Slot `sequence` stands at ``sequence % slots``. Slots from
`tail` to before `head` hold audio that no final covers.
"""

import os
import struct
from typing import NamedTuple

from mpengine.shared import one_writer

MAGIC = b"mpwindow"
VERSION = 1
HEADER = struct.Struct("<8sIIIII8s")  # magic, version, bytes of a slot, slots, sample rate, channels, run
HEADER_BYTES = 4096
TAIL_AT = 1024
HEAD_AT = 2048
CURSOR = struct.Struct("<Q")
SLOT = struct.Struct("<QQQI")  # sequence, first sample, arrival_ns, bytes of PCM
CRC = struct.Struct("<I")  # crc32 of SLOT and the PCM, which follows this number
SLOT_HEADER_BYTES = SLOT.size + CRC.size


class Shape(NamedTuple):
    """How a window is laid out. `size`: of the whole file, in bytes."""

    slot_bytes: int
    slots: int
    size: int


def shape(*, sample_rate: int, channels: int, block_samples: int, seconds: float) -> Shape:
    """The shape of a window that has room for so many `seconds`."""
    slot_bytes = SLOT_HEADER_BYTES + block_samples * 2 * channels
    slots = max(2, int(seconds * sample_rate) // block_samples)
    return Shape(slot_bytes, slots, HEADER_BYTES + slots * slot_bytes)


class Left(NamedTuple):
    """The audio that a window still holds: its run, and how many seconds."""

    run: str
    seconds: float


def left_in(path: str) -> Left | None:
    """The audio that the window at `path` holds; None when there is no readable window."""
    try:
        fd = one_writer.open_file(path, os.O_RDONLY)
        try:
            data = os.pread(fd, HEADER_BYTES, 0)
        finally:
            os.close(fd)
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
