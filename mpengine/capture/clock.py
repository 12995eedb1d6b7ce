"""The run's sample clock: which index each captured sample has, also after samples were lost. Pure.

A block arrives late by chance, never early: the lower envelope of (arrival - index / rate) is the true clock plus a
constant. Where the device tells when (most do, to a few milliseconds, either way), it is their median, and two blocks
are enough to know it again after a loss.

While nothing is lost, indexes simply count. When something was lost and nobody knows how much (the process or the
device was restarted, the driver flagged an overflow), the blocks that follow are held until the driver's backlog has
been read and their own envelope is known; how far it has moved against the old one is what was lost. A burst after a
stall moves arrivals but not the envelope: it is no loss.
"""

import collections
import itertools

import msgspec

from mpengine.capture.source import Block
from mpengine.shared.messages import GapReason

# For how many blocks the envelope must not have moved: where only our own clock tells, and where the device does.
_SETTLE_BLOCKS = 8
_SETTLE_TIMED_BLOCKS = 1
# For how long at most: a stall's backlog may be long; where losses are flagged again and again, results must go on.
_MOST_HELD_STALLED_S = 30
_MOST_HELD_S = 1
_ENVELOPE_WINDOW_NS = 30_000_000_000
# The median is taken over the last ten seconds or so: of every tenth block.
_TIMED_EVERY, _TIMED_KEPT = 10, 51
# When nothing has come for so long, something may be missing though nobody flagged it ...
_STALL_NS = 1_000_000_000
# ... but only if the envelope has moved by more than sound servers move their latency.
_LEAST_MOVE_NS = 50_000_000


class Missing(msgspec.Struct, frozen=True, gc=False):
    """Samples [first, end) were never captured; the length may be off by `uncertainty`."""

    first: int
    end: int
    reason: str
    uncertainty: int


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A block with its index, and what is missing just before it."""

    first_sample: int
    block: Block
    missing: Missing | None = None


class SampleClock:
    """Gives blocks their indexes, in order."""

    def __init__(
        self,
        *,
        sample_rate: int,
        sample_bytes: int,
        block_samples: int,
        next_sample: int = 0,
        keeps_time: bool = True,
    ) -> None:
        """`keeps_time`: whether samples come by themselves, as a microphone's do; a file's wait to be read."""
        self._rate = sample_rate
        self._sample_bytes = sample_bytes
        self._block_samples = block_samples
        self.next_sample = next_sample
        self._offset_ns: int | None = None
        self._minima: collections.deque[tuple[int, int]] = collections.deque()
        self._timed: collections.deque[int] = collections.deque(maxlen=_TIMED_KEPT)  # offsets that the device told
        self._timed_blocks = 0
        self._held: list[Block] = []
        self._begins_ns: list[int] = []  # for each held block, when the first of them began, had nothing been lost
        self._held_samples = 0
        self._lowest_ns, self._lowest_at = 0, 0  # of the begins since the last cut, and where it was last moved
        self._cuts: dict[int, str] = {}  # position in `_held` -> why samples may be missing before it
        self._stalls: set[int] = set()  # those of the positions that nobody flagged
        self._keeps_time = keeps_time
        self._last_arrival_ns: int | None = None

    def continue_from(self, sample: int, arrival_ns: int) -> None:
        """The last sample before `sample` arrived at `arrival_ns`, in another process."""
        self._observe(sample, arrival_ns)

    def interrupted(self, reason: str) -> None:
        """Samples may be missing before the next block, nobody knows how many."""
        if self._offset_ns is not None:
            self._cuts.setdefault(len(self._held), reason)
            self._lowest_at = -1

    def add(self, block: Block) -> list[Placed]:
        """Take the next block; the blocks whose indexes are known now."""
        if block.overflowed or (block.lost_before and self._cuts):
            self.interrupted(GapReason.OVERFLOW)
        last_ns, self._last_arrival_ns = self._last_arrival_ns, block.arrival_ns
        has_stalled = last_ns is not None and block.arrival_ns - last_ns > _STALL_NS
        before = self._hold_behind_stall() if has_stalled else []
        if not self._cuts:
            return [*before, self._place(block)]
        self._hold(block)
        return [*before, *self.settle()] if self._is_settled() else before

    def settle(self) -> list[Placed]:
        """Place what is held now, with the envelope as far as it is known (the source is being closed)."""
        held, self._held = self._held, []
        begins_ns, self._begins_ns = self._begins_ns, []
        self._held_samples = 0
        cuts, self._cuts = self._cuts, {}
        stalls, self._stalls = self._stalls, set()
        if not held or self._offset_ns is None:
            return [self._place(block) for block in held]
        expected_ns = self._offset_ns + self._duration_ns(self.next_sample)
        # What was lost before a cut delays all that follows, and losses only add up: the earliest beginning from there
        # on is the sum of all losses so far.
        earliest = list(itertools.accumulate(reversed(begins_ns), min))[::-1]
        placed, lost_so_far = [], 0
        for position, block in enumerate(held):
            missing = None
            if position in cuts:
                lost = self._samples(earliest[position] - expected_ns) - lost_so_far
                least = self._samples(_LEAST_MOVE_NS) if position in stalls else self._block_samples // 2
                if lost <= max(least, block.lost_before):
                    lost = block.lost_before
                lost_so_far += lost
                if lost:
                    end = self.next_sample + lost
                    missing = Missing(self.next_sample, end, cuts[position], self._block_samples)
                    self.next_sample = end
            placed.append(self._count_in(block, missing))
        self._minima.clear()
        self._timed.clear()
        self._timed_blocks = 0
        for each in placed:
            self._observe_block(each.first_sample + self._count(each.block), each.block)
        return placed

    def arrival_ns(self, sample: int) -> int | None:
        """When `sample` arrived, on the monotonic clock, as the envelope has it."""
        return None if self._offset_ns is None else self._offset_ns + sample * 1_000_000_000 // self._rate

    def _hold(self, block: Block) -> None:
        self._held.append(block)
        self._held_samples += self._count(block)
        begin_ns = block.arrival_ns - self._duration_ns(self._held_samples)
        self._begins_ns.append(begin_ns)
        half_ns = self._duration_ns(self._block_samples) // 2
        if self._lowest_at < 0 or begin_ns < self._lowest_ns - half_ns:
            self._lowest_ns, self._lowest_at = begin_ns, len(self._held)

    def _is_settled(self) -> bool:
        """Whether the driver's backlog has been read: the envelope is where it was, or has stopped to move."""
        assert self._offset_ns is not None
        moved_ns = self._lowest_ns - self._offset_ns - self._duration_ns(self.next_sample)
        has_returned = moved_ns <= self._duration_ns(self._block_samples) // 2
        is_known = self._held[-1].is_timed and not self._stalls
        needed = _SETTLE_TIMED_BLOCKS if is_known else _SETTLE_BLOCKS
        has_stopped = len(self._held) - self._lowest_at >= needed
        most_s = _MOST_HELD_STALLED_S if self._stalls else _MOST_HELD_S
        return has_returned or has_stopped or self._held_samples > most_s * self._rate

    def _hold_behind_stall(self) -> list[Placed]:
        """Hold what comes now; what was held for the stall before this one, if any, is placed."""
        if not self._keeps_time or len(self._held) in self._cuts:
            return []
        placed = self.settle() if self._stalls == set(self._cuts) else []
        self._stalls.add(len(self._held))
        self.interrupted(GapReason.OVERFLOW)
        return placed

    def _place(self, block: Block) -> Placed:
        missing = None
        if block.lost_before:
            missing = Missing(self.next_sample, self.next_sample + block.lost_before, GapReason.OVERFLOW, 0)
            self.next_sample = missing.end
        placed = self._count_in(block, missing)
        self._observe_block(self.next_sample, block)
        return placed

    def _count_in(self, block: Block, missing: Missing | None) -> Placed:
        placed = Placed(self.next_sample, block, missing)
        self.next_sample += len(block.pcm) // self._sample_bytes
        return placed

    def _observe_block(self, end_sample: int, block: Block) -> None:
        if not block.is_timed:
            self._observe(end_sample, block.arrival_ns)
            return
        if self._timed_blocks < _TIMED_EVERY or self._timed_blocks % _TIMED_EVERY == 0:
            self._timed.append(block.arrival_ns - self._duration_ns(end_sample))
            self._offset_ns = sorted(self._timed)[len(self._timed) // 2]
        self._timed_blocks += 1

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
