"""Where a slot of the replay window stands in its file, by what the file says of itself."""

import os

from mpengine.shared.window_layout import HEADER, HEADER_BYTES


def slot_bytes(path: str) -> int:
    """How long each slot is."""
    return _shape(path)[0]


def position_of(path: str, sequence: int) -> int:
    """Where the slot `sequence` begins."""
    length, slots = _shape(path)
    return HEADER_BYTES + sequence % slots * length


def damage(path: str, sequence: int, data: bytes, *, at: int = 0) -> None:
    """Write `data` into a slot, `at` bytes behind its beginning."""
    with open(path, "r+b") as file:
        file.seek(position_of(path, sequence) + at)
        file.write(data)


def _shape(path: str) -> tuple[int, int]:
    with open(path, "rb") as file:
        _, _, length, slots, *_ = HEADER.unpack(file.read(HEADER.size))
    assert os.path.getsize(path) == HEADER_BYTES + slots * length
    return length, slots
