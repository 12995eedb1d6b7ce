"""The replay window: the last minutes of audio in a file, so that they outlive the process that captured them.

The file is a ring of slots of one size, after a header. `tail` and `head` are the sequence numbers of the oldest slot
and of the next one; slot `sequence` stands at ``sequence % slots``. The order of stores makes the file safe: `tail`
moves before a slot is overwritten, `head` after the slot is written. So a writer that is killed between any two stores
leaves no wrong slot that can be read. The crc of a slot shows whether a power cut has damaged it.

One process, which holds the file's flock, writes with `pwrite`: mapping five minutes would cost 10 MB of memory. The
file is allocated at the start, so that a full disk is an error then and no signal later.
"""

from mpengine.capture.window_file import open_file
from mpengine.shared.errors import ConfigError
from mpengine.shared.ranges import Range
from mpengine.shared.window_layout import (
    CURSOR,
    HEAD_AT,
    HEADER_BYTES,
    TAIL_AT,
    Slot,
    cursors_in,
    packed_slot,
    shape,
    slot_in,
)

_MAX_SEQUENCE = 1 << 62
# When the disk is further behind than this, the source must wait.
_BEHIND_S = 30


class Window:
    """The window of one run. All positions are samples of each channel on the run's clock."""

    def __init__(
        self, path: str, *, run: bytes, sample_rate: int, channels: int, block_samples: int, seconds: float
    ) -> None:
        """Open the window at `path`. Make a new one when it is missing, damaged, or of another run.

        Raises ConfigError when the disk has no room, WindowError when another process writes it or the disk fails.
        """
        self._path = path
        self._shape = shape(
            run=run, sample_rate=sample_rate, channels=channels, block_samples=block_samples, seconds=seconds
        )
        self._file = open_file(path, most_bytes=_BEHIND_S * sample_rate * self._shape.frame_bytes)
        try:
            if not self._reopen():
                self._create()
        except BaseException:
            self._file.close()
            raise
        last = self.last()
        self.end_sample = 0 if last is None else self._end(last)

    @property
    def room(self) -> int:
        """How many blocks fit before the oldest one must be forgotten."""
        return self._shape.slots - (self.head - self.tail)

    @property
    def is_behind(self) -> bool:
        """Whether the disk is too slow, so that the source should wait if it can."""
        return self._file.is_behind

    def append(self, first_sample: int, pcm: bytes, arrival_ns: int) -> Range | None:
        """Keep `pcm`, at most one block. Returns the range that was forgotten for it, if the window was full."""
        forgotten = None
        if self.head - self.tail >= self._shape.slots:
            oldest = self.read(self.tail)
            if oldest is not None:
                forgotten = Range(oldest.first_sample, self._end(oldest))
            self._move_tail(self.tail + 1)
        slot = Slot(first_sample, arrival_ns, pcm)
        self._file.write(packed_slot(self.head, slot), self._shape.position(self.head))
        self.head += 1
        self._file.write(CURSOR.pack(self.head), HEAD_AT)
        self.end_sample = self._end(slot)
        return forgotten

    def read(self, sequence: int) -> Slot | None:
        """The slot `sequence`; None when it was forgotten, is not written yet, or is damaged."""
        return self._slot(sequence) if self.tail <= sequence < self.head else None

    @property
    def first_sample(self) -> int:
        """The oldest sample that can be read; `end_sample` when there is none."""
        oldest = self.read(self.tail)
        return self.end_sample if oldest is None else oldest.first_sample

    def last(self) -> Slot | None:
        """The youngest slot, even if it is acknowledged: the sample clock of the next process goes on from there."""
        return self._slot(self.head - 1) if self.head else None

    def find(self, sample: int) -> int:
        """The sequence of the first slot that holds `sample` or a later one; `head` when none does."""
        low, high = self.tail, self.head
        while low < high:
            middle = (low + high) // 2
            slot = self.read(middle)
            if slot is not None and self._end(slot) <= sample:
                low = middle + 1
            else:
                high = middle
        return low

    def acknowledge(self, sample: int) -> bool:
        """Forget the slots that end at or before `sample`. Returns whether there were any."""
        tail = self.find(sample)
        if tail == self.tail:
            return False
        self._move_tail(tail)
        return True

    def forget_all(self, sample: int) -> None:
        """Forget all slots. The next one begins at `sample`."""
        self._move_tail(self.head)
        self.end_sample = sample

    def make_again(self) -> None:
        """Write the file again if its name has vanished. Raises WindowError; all goes on in the old file then."""
        self._file.make_again()

    def close(self) -> None:
        """Close the file. It stays for the next process."""
        self._file.close()

    def _reopen(self) -> bool:
        """Go on in the file's window. False: it is of another run, or damaged."""
        header = self._file.read(HEADER_BYTES, 0)
        if self._file.size != self._shape.size or not header.startswith(self._shape.packed()):
            return False
        self.tail, self.head = cursors_in(header)
        return 0 <= self.head - self.tail <= self._shape.slots and self.head < _MAX_SEQUENCE

    def _create(self) -> None:
        # The header comes last: a process killed before leaves no window instead of a wrong one.
        try:
            self._file.make(self._shape.size)
        except OSError as error:
            raise ConfigError(
                "buffer.seconds",
                f"no room for the replay window of {self._shape.size / 1e6:.0f} MB at {self._path} ({error.strerror}): "
                "make it smaller or set buffer.directory to a larger disk",
            ) from None
        self.tail = self.head = 0
        self._file.write(self._shape.packed(), 0)

    def _slot(self, sequence: int) -> Slot | None:
        return slot_in(self._file.read(self._shape.slot_bytes, self._shape.position(sequence)), sequence)

    def _move_tail(self, tail: int) -> None:
        self.tail = tail
        self._file.write(CURSOR.pack(tail), TAIL_AT)

    def _end(self, slot: Slot) -> int:
        return slot.first_sample + len(slot.pcm) // self._shape.frame_bytes


class Losses:
    """Joins the blocks that a full window drops one by one, so that few gaps are reported instead of many."""

    def __init__(self) -> None:
        self._waiting: Range | None = None

    def dropped(self, lost: Range) -> list[Range]:
        """The block `lost` was dropped unsent. It waits for its neighbour. Returns the ranges to report now."""
        if self._waiting is not None and self._waiting.end == lost.first:
            self._waiting = Range(self._waiting.first, lost.end)
            return []
        finished = self.flush()
        self._waiting = lost
        return finished

    def flush(self) -> list[Range]:
        """The waiting range, to report now."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting]
