"""Reads the replay window that capture writes, without a lock and without a trace.

A slot stays in the ring after a final has covered it, until a new slot takes its place: so the last minutes of a run
can be read whatever `tail` says. Capture may write at any time. A slot counts only if its sequence and its crc are
right, and if the window is still of the same run afterwards. The file is read with `pread`: a mapped file that capture
truncates would end this process by SIGBUS.

The reader owns one descriptor. It keeps a window that has lost its name until all of it is read.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from mpengine.shared import one_writer
from mpengine.shared.file_id import file_id, find
from mpengine.shared.window_layout import HEADER_BYTES, Shape, cursors_in, shape_in, slot_in

_MOST_BYTES = 4 << 20  # of one look
_LARGEST_SLOT_BYTES = 16 << 20


class Slot(NamedTuple):
    """One slot. `arrival_ns`: when its last sample arrived, in time of the monotonic clock.

    `follows`: whether no slot is missing between the one before and this one.
    """

    first_sample: int
    end_sample: int
    arrival_ns: int
    pcm: bytes
    follows: bool


class Look(NamedTuple):
    """What one look has found: slots in order. `more`: there are more already. `turned`: their share of the ring.

    `written_ns`: UTC, when capture wrote last.
    """

    shape: Shape
    slots: list[Slot]
    written_ns: int
    more: bool = False
    turned: float = 0.0


class WindowReader:
    """The window at the path that `where` returns. It may be missing, be made, replaced and removed at any time."""

    def __init__(self, where: Callable[[], str]) -> None:
        self._where = where
        self.path = ""
        """Where it was looked for last."""
        self._fd = -1
        self._shape: Shape | None = None
        self._next = -1  # the sequence of the next slot to read; -1: the oldest one
        self._follows = False  # whether the slot before that one was read

    def look(self) -> Look | None:
        """The slots that came since the last look; None without a window. Raises OSError where it cannot be read."""
        look = self._read() if self._fd >= 0 else None
        if look is not None and (look.slots or look.more):
            return look
        if not self._has_moved():  # only when the old file has nothing left
            return look
        self.close()
        self._fd = self._opened()
        return self._read() if self._fd >= 0 else None

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._next, self._follows = -1, -1, False

    @property
    def is_open(self) -> bool:
        """Whether there is a file, be it a window or not."""
        return self._fd >= 0

    @property
    def is_nameless(self) -> bool:
        """Whether the file is kept by this reader alone: no directory has it any more."""
        return self._fd >= 0 and os.fstat(self._fd).st_nlink == 0

    def _has_moved(self) -> bool:
        self.path = self._where()
        found = find(self.path)
        return found is not None and (self._fd < 0 or found != file_id(os.fstat(self._fd)))

    def _opened(self) -> int:
        try:
            return one_writer.open_file(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return -1

    def _read(self) -> Look | None:
        before = self._header()
        if before is None:
            return None
        shape, head = before
        if shape != self._shape or head < self._next:
            self._shape, self._next, self._follows = shape, -1, False
        oldest = max(0, head - shape.slots)
        begin, follows = self._next, self._follows
        if begin < oldest:
            begin, follows = oldest, False
        end = min(head, begin + max(1, _MOST_BYTES // shape.slot_bytes))
        slots: list[Slot] = []
        for sequence in range(begin, end):
            slot = self._slot(shape, sequence, follows=follows)
            follows = slot is not None
            if slot is not None:
                slots.append(slot)
        written_ns = os.fstat(self._fd).st_mtime_ns
        after = self._header()
        if after is None or after[0] != shape or after[1] < head:
            return Look(shape, [], written_ns)  # another window stands here by now: whose slots these are is not known
        self._next, self._follows = end, follows
        return Look(shape, slots, written_ns, end < after[1], (end - begin) / shape.slots)

    def _header(self) -> tuple[Shape, int] | None:
        data = os.pread(self._fd, HEADER_BYTES, 0)
        shape = shape_in(data)
        if shape is None or shape.slot_bytes > _LARGEST_SLOT_BYTES:
            return None
        _, head = cursors_in(data)
        return shape, head

    def _slot(self, shape: Shape, sequence: int, *, follows: bool) -> Slot | None:
        found = slot_in(os.pread(self._fd, shape.slot_bytes, shape.position(sequence)), sequence)
        if found is None or len(found.pcm) % shape.frame_bytes:
            return None
        first, arrival_ns, pcm = found
        return Slot(first, first + len(pcm) // shape.frame_bytes, arrival_ns, pcm, follows)
