"""The layout of the replay window's file, for all who read or write it.

Capture writes the file. `mpengine record` reads its slots, and a supervisor reads how much audio is left in it.

The file is a header and a ring of slots of equal length. Slot `sequence` stands at ``sequence % slots``. Slots from
`tail` to before `head` hold audio that no final covers.
"""

import os
import struct
import zlib
from typing import NamedTuple

from mpengine.shared import one_writer

HEADER_BYTES = 4096
TAIL_AT = 1024
HEAD_AT = 2048
CURSOR = struct.Struct("<Q")
_MAGIC = b"mpwindow"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIII8s")  # magic, version, bytes of a slot, slots, sample rate, channels, run
_SLOT = struct.Struct("<QQQI")  # sequence, first sample, arrival_ns, bytes of PCM
_CRC = struct.Struct("<I")  # crc32 of _SLOT and the PCM, which follows this number
_SLOT_HEADER_BYTES = _SLOT.size + _CRC.size


class Shape(NamedTuple):
    """What the header says: the run in hexadecimal digits, the format of its samples, and the ring."""

    run: str
    sample_rate: int
    channels: int
    slot_bytes: int
    slots: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return 2 * self.channels

    @property
    def size(self) -> int:
        """The size of the whole file, in bytes."""
        return HEADER_BYTES + self.slots * self.slot_bytes

    def position(self, sequence: int) -> int:
        """Where the slot `sequence` begins in the file."""
        return HEADER_BYTES + sequence % self.slots * self.slot_bytes

    def packed(self) -> bytes:
        """The bytes at the beginning of the file."""
        run = bytes.fromhex(self.run)
        return _HEADER.pack(_MAGIC, _VERSION, self.slot_bytes, self.slots, self.sample_rate, self.channels, run)


def shape(*, run: bytes = b"", sample_rate: int, channels: int, block_samples: int, seconds: float) -> Shape:
    """The shape of a window that has room for so many `seconds`."""
    slot_bytes = _SLOT_HEADER_BYTES + block_samples * 2 * channels
    slots = max(2, int(seconds * sample_rate) // block_samples)
    return Shape(run.hex(), sample_rate, channels, slot_bytes, slots)


def shape_in(data: bytes) -> Shape | None:
    """The shape in the first `HEADER_BYTES` of a file; None if the file is no window."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, slot_bytes, slots, rate, channels, run = _HEADER.unpack_from(data)
    if (magic, version) != (_MAGIC, _VERSION) or not (rate and channels and slots and slot_bytes > _SLOT_HEADER_BYTES):
        return None
    return Shape(run.hex(), rate, channels, slot_bytes, slots)


def cursors_in(data: bytes) -> tuple[int, int]:
    """`tail` and `head` in the first `HEADER_BYTES` of a window."""
    (tail,), (head,) = CURSOR.unpack_from(data, TAIL_AT), CURSOR.unpack_from(data, HEAD_AT)
    return tail, head


class Slot(NamedTuple):
    """One slot. `arrival_ns`: when its last sample arrived by the sample clock, in time of the monotonic clock."""

    first_sample: int
    arrival_ns: int
    pcm: bytes


def packed_slot(sequence: int, slot: Slot) -> bytes:
    """The bytes of `slot` as the one with this `sequence`."""
    fields = _SLOT.pack(sequence, slot.first_sample, slot.arrival_ns, len(slot.pcm))
    return b"".join((fields, _CRC.pack(zlib.crc32(slot.pcm, zlib.crc32(fields))), slot.pcm))


def slot_in(data: bytes, sequence: int) -> Slot | None:
    """The slot in `data`; None if it is not the one with this `sequence`, or is damaged."""
    if len(data) < _SLOT_HEADER_BYTES:
        return None
    found, first_sample, arrival_ns, length = _SLOT.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _SLOT.size)
    pcm = data[_SLOT_HEADER_BYTES : _SLOT_HEADER_BYTES + length]
    if found != sequence or len(pcm) != length or crc != zlib.crc32(pcm, zlib.crc32(data[: _SLOT.size])):
        return None
    return Slot(first_sample, arrival_ns, pcm)


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
    found = shape_in(data)
    if found is None:
        return None
    tail, head = cursors_in(data)
    if not 0 <= head - tail <= found.slots:
        return None
    block_s = (found.slot_bytes - _SLOT_HEADER_BYTES) / found.frame_bytes / found.sample_rate
    return Left(found.run, (head - tail) * block_s)
