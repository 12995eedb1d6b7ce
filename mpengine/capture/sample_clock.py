"""The run's sample clock: which index each captured sample has, also after samples were lost. Pure.

A block arrives late by chance, never early: the lower envelope of (arrival - index / rate) is the true clock plus a
constant. While nothing is lost, indexes simply count. When something was lost and nobody knows how much (the process
or the device was restarted, the driver flagged an overflow), the blocks that follow are held until the driver's
backlog has been read and their own envelope is known; how far it has moved against the old one is what was lost. A
burst after a stall moves arrivals but not the envelope: it is no loss. A loss that nobody flagged shows the same way,
as an envelope that stays where it moved to.
"""

import collections
import itertools
from typing import NamedTuple

from mpengine.capture.source import Block

_SETTLE_BLOCKS = 8
_MOST_HELD_BLOCKS = 500
_ENVELOPE_WINDOW_NS = 30_000_000_000
_RECENT_BLOCKS = 250
_HALVES = ((0, 125), (125, 250))
# Less than this is drift of the crystal, or chance.
_LEAST_MOVE_NS = 5_000_000


class Missing(NamedTuple):
    """Samples [first, end) were never captured; the length may be off by `uncertainty`."""

    first: int
    end: int
    reason: str
    uncertainty: int


class Placed(NamedTuple):
    """A block with its index, and what is missing just before it."""

    first_sample: int
    block: Block
    missing: Missing | None = None


class SampleClock:
    """Gives blocks their indexes, in order."""

    def __init__(self, *, sample_rate: int, sample_bytes: int, block_samples: int, next_sample: int = 0) -> None:
        self._rate = sample_rate
        self._sample_bytes = sample_bytes
        self._block_samples = block_samples
        self.next_sample = next_sample
        self._offset_ns: int | None = None
        self._minima: collections.deque[tuple[int, int]] = collections.deque()
        self._recent: collections.deque[int] = collections.deque(maxlen=_RECENT_BLOCKS)
        self._held: list[Block] = []
        self._cuts: dict[int, str] = {}  # position in `_held` -> why samples may be missing before it

    def continue_from(self, arrival_ns: int) -> None:
        """The sample before `next_sample` arrived at `arrival_ns`, in another process or before a pause."""
        self._observe(self.next_sample, arrival_ns)

    def interrupted(self, reason: str) -> None:
        """Samples may be missing before the next block, nobody knows how many."""
        if self._offset_ns is not None:
            self._cuts.setdefault(len(self._held), reason)

    def add(self, block: Block) -> list[Placed]:
        """Take the next block; the blocks whose indexes are known now."""
        if block.overflowed or (block.lost_before and self._cuts):
            self.interrupted("overflow")
        if not self._cuts:
            placed = self._place(block)
            self._notice_unflagged_loss(block)
            return [placed]
        self._held.append(block)
        return self.settle() if self._is_settled() else []

    def settle(self) -> list[Placed]:
        """Place what is held now, with the envelope as far as it is known (the source is being closed)."""
        held, self._held = self._held, []
        cuts, self._cuts = self._cuts, {}
        if not held or self._offset_ns is None:
            return [self._place(block) for block in held]
        expected_ns = self._offset_ns + self._duration_ns(self.next_sample)
        # What was lost before a cut delays all that follows, and losses only add up: the earliest beginning from there
        # on is the sum of all losses so far.
        earliest = list(itertools.accumulate(reversed(self._beginnings(held)), min))[::-1]
        placed, lost_so_far = [], 0
        for position, block in enumerate(held):
            missing = None
            if position in cuts:
                lost = self._samples(earliest[position] - expected_ns) - lost_so_far
                if lost <= block.lost_before or lost * 2 <= self._block_samples:
                    lost = block.lost_before
                lost_so_far += lost
                if lost:
                    end = self.next_sample + lost
                    missing = Missing(self.next_sample, end, cuts[position], self._block_samples)
                    self.next_sample = end
            placed.append(self._count_in(block, missing))
        self._minima.clear()
        self._recent.clear()
        for each in placed:
            self._observe(each.first_sample + self._count(each.block), each.block.arrival_ns)
        return placed

    def arrival_ns(self, sample: int) -> int | None:
        """When `sample` arrived, on the monotonic clock, as the envelope has it."""
        return None if self._offset_ns is None else self._offset_ns + self._duration_ns(sample)

    def _is_settled(self) -> bool:
        """Whether the last blocks did not move the envelope any more: the driver's backlog has been read."""
        fresh = len(self._held) - max(self._cuts)
        if fresh <= _SETTLE_BLOCKS:
            return False
        begins = self._beginnings(self._held)[max(self._cuts) :]
        has_stopped = min(begins[:-_SETTLE_BLOCKS]) - min(begins) <= self._duration_ns(self._block_samples) // 2
        return has_stopped or len(self._held) >= _MOST_HELD_BLOCKS

    def _beginnings(self, blocks: list[Block]) -> list[int]:
        """For each block, when the first of them began, had nothing been lost between."""
        totals = itertools.accumulate(self._count(block) for block in blocks)
        return [block.arrival_ns - self._duration_ns(total) for block, total in zip(blocks, totals, strict=True)]

    def _notice_unflagged_loss(self, block: Block) -> None:
        self._recent.append(block.arrival_ns - self._duration_ns(self.next_sample))
        if self._offset_ns is None or len(self._recent) < _RECENT_BLOCKS:
            return
        half_ns = self._duration_ns(self._block_samples) // 2
        before, after = (min(itertools.islice(self._recent, *part)) for part in _HALVES)
        # While a backlog is read the envelope falls; only where it stays is something missing.
        if abs(before - after) <= half_ns and after - self._offset_ns > max(_LEAST_MOVE_NS, half_ns):
            self._recent.clear()
            self.interrupted("overflow")

    def _place(self, block: Block) -> Placed:
        missing = None
        if block.lost_before:
            missing = Missing(self.next_sample, self.next_sample + block.lost_before, "overflow", 0)
            self.next_sample = missing.end
        placed = self._count_in(block, missing)
        self._observe(self.next_sample, block.arrival_ns)
        return placed

    def _count_in(self, block: Block, missing: Missing | None) -> Placed:
        placed = Placed(self.next_sample, block, missing)
        self.next_sample += self._count(block)
        return placed

    def _observe(self, end_sample: int, arrival_ns: int) -> None:
        """Keep the lowest offset of the last seconds: a crystal drifts, so older ones must go."""
        offset = arrival_ns - self._duration_ns(end_sample)
        while self._minima and self._minima[-1][1] >= offset:
            self._minima.pop()
        self._minima.append((arrival_ns, offset))
        while self._minima[0][0] < arrival_ns - _ENVELOPE_WINDOW_NS:
            self._minima.popleft()
        self._offset_ns = self._minima[0][1]

    def _count(self, block: Block) -> int:
        return len(block.pcm) // self._sample_bytes

    def _samples(self, duration_ns: int) -> int:
        return round(duration_ns * self._rate / 1e9)

    def _duration_ns(self, samples: int) -> int:
        return samples * 1_000_000_000 // self._rate
