"""The run's sample clock: which index each captured sample has, also after samples were lost. Pure.

A block arrives late by chance, never early: the lower envelope of (arrival - index / rate) is the true clock plus a
constant. While nothing is lost, indexes simply count. When something was lost and nobody knows how much (the process
or the device was restarted, the driver flagged an overflow), the blocks that follow are held for a moment, until
their own envelope is known; how far it has moved against the old one is what was lost. A burst after a stall moves
arrivals but not the envelope: it is no loss.
"""

import collections
from typing import NamedTuple

from mpengine.capture.source import Block

_SETTLE_BLOCKS = 8
_ENVELOPE_WINDOW_NS = 30_000_000_000


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
        self._held: list[Block] = []
        self._reason: str | None = None

    def continue_from(self, arrival_ns: int) -> None:
        """The sample before `next_sample` arrived at `arrival_ns`, in another process or before a pause."""
        self._observe(self.next_sample, arrival_ns)

    def interrupted(self, reason: str) -> None:
        """Samples may be missing before the next block, nobody knows how many."""
        if self._reason is None and self._offset_ns is not None:
            self._reason = reason

    def add(self, block: Block) -> list[Placed]:
        """Take the next block; the blocks whose indexes are known now."""
        if block.overflowed:
            self.interrupted("overflow")
        if self._reason is None:
            return [self._place(block)]
        self._held.append(block)
        return self.settle() if len(self._held) >= _SETTLE_BLOCKS else []

    def settle(self) -> list[Placed]:
        """Place what is held now, with the envelope as far as it is known (the source is being closed)."""
        held, self._held = self._held, []
        if not held or self._reason is None or self._offset_ns is None:
            return [self._place(block) for block in held]
        reason, self._reason = self._reason, None
        total, base_ns = 0, None
        for block in held:
            total += self._count(block)
            begin_ns = block.arrival_ns - self._duration_ns(total)
            base_ns = begin_ns if base_ns is None else min(base_ns, begin_ns)
        assert base_ns is not None
        moved_ns = base_ns - (self._offset_ns + self._duration_ns(self.next_sample))
        lost = round(moved_ns * self._rate / 1e9)
        placed = []
        if lost * 2 > self._block_samples:
            missing = Missing(self.next_sample, self.next_sample + lost, reason, self._block_samples)
            self.next_sample = missing.end
            placed.append(self._place(held.pop(0), missing))
        return placed + [self._place(block) for block in held]

    def arrival_ns(self, sample: int) -> int | None:
        """When `sample` arrived, on the monotonic clock, as the envelope has it."""
        return None if self._offset_ns is None else self._offset_ns + self._duration_ns(sample)

    def _place(self, block: Block, missing: Missing | None = None) -> Placed:
        if block.lost_before:
            first = missing.first if missing else self.next_sample
            reason = missing.reason if missing else "overflow"
            self.next_sample += block.lost_before
            missing = Missing(first, self.next_sample, reason, missing.uncertainty if missing else 0)
        placed = Placed(self.next_sample, block, missing)
        self.next_sample += self._count(block)
        self._observe(self.next_sample, block.arrival_ns)
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

    def _duration_ns(self, samples: int) -> int:
        return samples * 1_000_000_000 // self._rate
