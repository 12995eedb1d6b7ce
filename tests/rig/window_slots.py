"""Where a slot of the replay window stands in its file, by what the file says of itself."""

import os

from mpengine.shared.window_layout import HEADER_BYTES, Shape, shape_in


def slot_bytes(path: str) -> int:
    """How long each slot is."""
    return _shape(path).slot_bytes


def position_of(path: str, sequence: int) -> int:
    """Where the slot `sequence` begins."""
    return _shape(path).position(sequence)


def damage(path: str, sequence: int, data: bytes, *, at: int = 0) -> None:
    """Write `data` into a slot, `at` bytes behind its beginning."""
    with open(path, "r+b") as file:
        file.seek(position_of(path, sequence) + at)
        file.write(data)


def _shape(path: str) -> Shape:
    with open(path, "rb") as file:
        shape = shape_in(file.read(HEADER_BYTES))
    assert shape is not None
    assert os.path.getsize(path) == shape.size
    return shape
