"""The run's sample clock: it gives each captured sample its index, also after a loss. Pure.

The offset of a block is (arrival - index / rate). A block may arrive late, but never early, so the lower envelope of
the offsets is the true clock plus a constant. A source may have looked often enough to know the arrival of a block
exactly. Then two blocks are enough to know the envelope after a loss.

While no sample is lost, indexes simply count. A loss may have an unknown length: the process or the device was
restarted, or the driver reported an overflow. Then the clock holds the following blocks until the driver's backlog has
been read and their own envelope is known. The samples lost are the distance between the two envelopes. A burst after a
stall delays arrivals but does not move the envelope, so it is no loss.
"""

import collections
import itertools

import msgspec

from mpengine.capture.crystal import Crystal
from mpengine.capture.source import Block
from mpengine.shared.messages import GapReason

# The envelope is known when it has not moved for so many blocks; the second number is for exact arrivals.
_SETTLE_BLOCKS = 8
_SETTLE_EXACT_BLOCKS = 1
# Blocks are held no longer than this. The backlog of a stall may be long; but when a driver reports losses again and
# again, results must go on.
_MOST_HELD_STALLED_S = 30
_MOST_HELD_S = 1
_ENVELOPE_WINDOW_NS = 30_000_000_000
# After so long a silence of the device samples may be missing, although the driver reported no loss. They are missing
# only if the envelope has moved further than sound servers change their latency.
STALL_NS = 1_000_000_000
_LEAST_MOVE_NS = 50_000_000
# If the envelope of so long a time lies so far behind the one before, samples are missing that nobody flagged. No
# crystal is that wrong.
_UNFLAGGED_WINDOW_NS = 10_000_000_000
_UNFLAGGED_NS = 200_000_000


class Missing(msgspec.Struct, frozen=True, gc=False):
    """Samples [first, end) were never captured; the length may be wrong by `uncertainty` samples."""

    first: int
    end: int
    reason: str
    uncertainty: int


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A block with the index of its first sample, and the samples that are missing just before it."""

    first_sample: int
    block: Block
    missing: Missing | None = None


class SampleClock:
    """Gives blocks their indexes, in order. `next_sample` is the next index to give."""

    def __init__(
        self,
        *,
        sample_rate: int,
        sample_bytes: int,
        block_samples: int,
        next_sample: int = 0,
        keeps_time: bool = True,
    ) -> None:
        """`keeps_time`: a microphone delivers samples at its own pace; False for a file, which waits for its reader."""
        self._rate = sample_rate
        self._sample_bytes = sample_bytes
        self._block_samples = block_samples
        self.next_sample = next_sample
        self._offset_ns: int | None = None
        self._minima: collections.deque[tuple[int, int]] = collections.deque()  # arrivals and offsets, both rise
        self._next_look_ns = 0
        self._crystal = Crystal()
        self._held: list[Block] = []
        self._begins_ns: list[int] = []  # for each held block: when the first one began, if no sample was lost between
        self._held_samples = 0
        self._lowest_ns, self._lowest_at = 0, 0  # lowest of `_begins_ns` since the last cut; the block that moved it
        self._cuts: dict[int, str] = {}  # position in `_held`: reason why samples may be missing before it
        self._stalls: set[int] = set()  # the positions of cuts after a stall, which no driver reported
        self._keeps_time = keeps_time
        self._last_arrival_ns: int | None = None

    def ignore_time(self) -> None:
        """The source has turned out to be a file: from now on, late samples are only late."""
        self._keeps_time = False

    def continue_from(self, sample: int, arrival_ns: int) -> None:
        """Go on after another process, in which the last sample before `sample` arrived at `arrival_ns`."""
        self._observe(sample, arrival_ns)

    def interrupted(self, reason: str) -> None:
        """An unknown number of samples may be missing before the next block."""
        if self._offset_ns is not None:
            self._cuts.setdefault(len(self._held), reason)
            self._lowest_at = -1

    def add(self, block: Block) -> list[Placed]:
        """Take the next block. Returns the blocks whose indexes are known now."""
        if block.overflowed or (block.lost_before and self._cuts):
            self.interrupted(GapReason.OVERFLOW)
        last_ns, self._last_arrival_ns = self._last_arrival_ns, block.arrival_ns
        has_stalled = last_ns is not None and block.arrival_ns - last_ns > STALL_NS
        before = self._hold_after_stall() if has_stalled else []
        if not self._cuts:
            return [*before, self._place(block)]
        self._hold(block)
        return [*before, *self.settle()] if self._is_settled() else before

    def settle(self) -> list[Placed]:
        """Place the held blocks by the envelope as far as it is known; the source may be closing."""
        held, self._held = self._held, []
        begins_ns, self._begins_ns = self._begins_ns, []
        self._held_samples = 0
        cuts, self._cuts = self._cuts, {}
        stalls, self._stalls = self._stalls, set()
        if not held or self._offset_ns is None:
            return [self._place(block) for block in held]
        expected_ns = self._offset_ns + self._duration_ns(self.next_sample)
        # A loss before a cut delays all later blocks, and losses only add up. So the earliest of the beginnings from
        # the cut on gives the sum of all losses so far.
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
        self._crystal.clear()
        for each in placed:
            self._observe(each.first_sample + self._count(each.block), each.block.arrival_ns)
        return placed

    def arrival_ns(self, sample: int) -> int | None:
        """When `sample` arrived by the envelope, on the monotonic clock; None before the first block."""
        return None if self._offset_ns is None else self._offset_ns + sample * 1_000_000_000 // self._rate

    def anchor_ns(self) -> int | None:
        """When the last sample came, also where the crystal is off; None before the first block."""
        if self._offset_ns is None:
            return None
        offset_ns = self._crystal.offset_ns(self._minima[-1][0])
        if offset_ns is None:
            offset_ns = self._offset_ns
        return offset_ns + self._duration_ns(self.next_sample)

    def _hold(self, block: Block) -> None:
        self._held.append(block)
        self._held_samples += self._count(block)
        begin_ns = block.arrival_ns - self._duration_ns(self._held_samples)
        self._begins_ns.append(begin_ns)
        half_ns = self._duration_ns(self._block_samples) // 2
        if self._lowest_at < 0 or begin_ns < self._lowest_ns - half_ns:
            self._lowest_ns, self._lowest_at = begin_ns, len(self._held)

    def _is_settled(self) -> bool:
        """Whether the driver's backlog has been read: the envelope has returned or stopped moving, or time is up."""
        assert self._offset_ns is not None
        moved_ns = self._lowest_ns - self._offset_ns - self._duration_ns(self.next_sample)
        has_returned = moved_ns <= self._duration_ns(self._block_samples) // 2
        is_known = self._held[-1].is_exact and not self._stalls
        needed = _SETTLE_EXACT_BLOCKS if is_known else _SETTLE_BLOCKS
        has_stopped = len(self._held) - self._lowest_at >= needed
        most_s = _MOST_HELD_STALLED_S if self._stalls else _MOST_HELD_S
        return has_returned or has_stopped or self._held_samples > most_s * self._rate

    def _hold_after_stall(self) -> list[Placed]:
        """Hold the blocks from now on. Returns those held after an earlier stall, which are placed now."""
        if not self._keeps_time or len(self._held) in self._cuts:
            return []
        placed = self.settle() if self._stalls == set(self._cuts) else []
        self._stalls.add(len(self._held))
        self.interrupted(GapReason.OVERFLOW)
        return placed

    def _place(self, block: Block) -> Placed:
        missing = None
        lost = block.lost_before or self._lost_without_a_flag(block.arrival_ns)
        if lost:
            uncertainty = 0 if block.lost_before else self._block_samples
            missing = Missing(self.next_sample, self.next_sample + lost, GapReason.OVERFLOW, uncertainty)
            self.next_sample = missing.end
        placed = self._count_in(block, missing)
        self._observe(self.next_sample, block.arrival_ns)
        return placed

    def _count_in(self, block: Block, missing: Missing | None) -> Placed:
        placed = Placed(self.next_sample, block, missing)
        self.next_sample += self._count(block)
        return placed

    def _observe(self, end_sample: int, arrival_ns: int) -> None:
        """Keep the lowest offset of the last half minute. Older ones must go, for the device's crystal drifts."""
        offset = arrival_ns - self._duration_ns(end_sample)
        while self._minima and self._minima[-1][1] >= offset:
            self._minima.pop()
        self._minima.append((arrival_ns, offset))
        while self._minima[0][0] < arrival_ns - _ENVELOPE_WINDOW_NS:
            self._minima.popleft()
        self._offset_ns = self._minima[0][1]
        self._crystal.add(arrival_ns, offset)

    def _lost_without_a_flag(self, now_ns: int) -> int:
        """How many samples are missing by the envelope of the last seconds, which nobody has reported."""
        if not self._keeps_time or not self._minima or now_ns < self._next_look_ns:
            return 0
        self._next_look_ns = now_ns + STALL_NS
        begin_ns = now_ns - _UNFLAGGED_WINDOW_NS
        recent = next((offset for arrival_ns, offset in self._minima if arrival_ns >= begin_ns), None)
        if recent is None or recent - self._minima[0][1] < _UNFLAGGED_NS:
            return 0
        before = self._minima[0][1]
        self._minima.clear()
        self._crystal.clear()
        self._minima.append((now_ns, before))  # the indexes jump, so the offsets are as before
        return self._samples(recent - before)

    def _count(self, block: Block) -> int:
        return len(block.pcm) // self._sample_bytes

    def _samples(self, duration_ns: int) -> int:
        return round(duration_ns * self._rate / 1e9)

    def _duration_ns(self, samples: int) -> int:
        return samples * 1_000_000_000 // self._rate
