"""Cuts what a live source delivers, some samples at a time, into blocks with the times of their arrival. Pure.

A look at a device tells that a sample had arrived by then, not when. The earliest of some looks close together tells
it: within 7 samples on a sound server, within 2 on a card.
"""

from mpengine.capture.source import Block

LOOKS = 16
"""So many reads, a few milliseconds apart, decide when the first samples after a loss arrived."""
# Blocks wait for these reads no longer than this.
_LONGEST_HELD_S = 0.5


class Cutter:
    """Takes samples as they are read, and gives blocks of one length. The last block before a loss may be shorter."""

    def __init__(self, *, rate_hz: int, sample_bytes: int, block_samples: int) -> None:
        self._rate_hz = rate_hz
        self._sample_bytes = sample_bytes
        self._block_samples = block_samples
        self._rest = b""
        self._taken = self._given = 0  # samples since the last loss
        self._looks_left = LOOKS
        self._origin_ns: int | None = None  # when sample 0 since the last loss arrived, by the earliest look
        self._overflowed = False

    @property
    def rest_s(self) -> float:
        """The duration of the samples that wait to fill a block; 0 while blocks wait for the time to be decided."""
        return 0.0 if self._looks_left else len(self._rest) / self._sample_bytes / self._rate_hz

    def add(self, pcm: bytes, at_ns: int, *, overflowed: bool = False, is_late: bool = False) -> list[Block]:
        """Take samples, the last of which had arrived at `at_ns`. Returns the blocks that are full.

        `overflowed`: an unknown number of samples was lost before these. `is_late`: more samples may have been ready,
        so `at_ns` says nothing about the time. All blocks have it then: after a backlog each one seems earlier, and
        the sample clock sees that the backlog goes on.
        """
        blocks = self.cut_off() if overflowed else []
        self._overflowed |= overflowed
        self._taken += len(pcm) // self._sample_bytes
        self._rest += pcm
        origin_ns = at_ns - self._duration_ns(self._taken)
        late_ns = at_ns if is_late else None
        if not self._looks_left:
            return blocks + self._full_blocks(origin_ns, late_ns=late_ns)
        if self._origin_ns is None or origin_ns < self._origin_ns:
            self._origin_ns = origin_ns
        if not is_late:
            self._looks_left -= 1
        is_decided = not self._looks_left
        if not is_decided and len(self._rest) < _LONGEST_HELD_S * self._rate_hz * self._sample_bytes:
            return blocks
        self._looks_left = 0
        return blocks + self._full_blocks(self._origin_ns, is_exact=is_decided, late_ns=late_ns)

    def cut_off(self) -> list[Block]:
        """Nothing that comes follows what came before. Returns all that is left, in blocks."""
        origin_ns, self._looks_left = self._origin_ns, LOOKS
        blocks: list[Block] = []
        if origin_ns is not None:
            blocks = self._full_blocks(origin_ns)
            if self._rest:
                blocks.append(self._block(self._rest, origin_ns))
        self._rest, self._taken, self._given, self._origin_ns = b"", 0, 0, None
        return blocks

    def _full_blocks(self, origin_ns: int, *, is_exact: bool = False, late_ns: int | None = None) -> list[Block]:
        self._origin_ns = origin_ns
        size = self._block_samples * self._sample_bytes
        whole = len(self._rest) - len(self._rest) % size
        pcm, self._rest = self._rest, self._rest[whole:]
        return [
            self._block(pcm[at : at + size], origin_ns, is_exact=is_exact, late_ns=late_ns)
            for at in range(0, whole, size)
        ]

    def _block(self, pcm: bytes, origin_ns: int, *, is_exact: bool = False, late_ns: int | None = None) -> Block:
        self._given += len(pcm) // self._sample_bytes
        arrival_ns = origin_ns + self._duration_ns(self._given) if late_ns is None else late_ns
        block = Block(pcm, arrival_ns, overflowed=self._overflowed, is_exact=is_exact)
        self._overflowed = False
        return block

    def _duration_ns(self, samples: int) -> int:
        return samples * 1_000_000_000 // self._rate_hz
