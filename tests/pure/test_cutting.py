"""Samples that come in any portions, as blocks with times."""

from random import Random

import pytest

from mpengine.capture.clock import SampleClock
from mpengine.capture.cutting import LOOKS, Cutter

RATE, BLOCK = 16000, 320
ORIGIN_NS = 7_000_000_000_000


def ns(samples):
    return samples * 1_000_000_000 // RATE


class Source:
    """Numbers its samples, and looks at any time."""

    def __init__(self):
        self.cutter = Cutter(rate_hz=RATE, sample_bytes=2, block_samples=BLOCK)
        self.position = 0
        self.blocks = []

    def give(self, samples, late_ns=0, **how):
        pcm = b"".join((n % 65536).to_bytes(2, "little") for n in range(self.position, self.position + samples))
        self.position += samples
        self.blocks += self.cutter.add(pcm, ORIGIN_NS + ns(self.position) + late_ns, **how)

    def settle(self):
        for _ in range(LOOKS):
            self.give(BLOCK)
        self.blocks.clear()


def first_of(block):
    return int.from_bytes(block.pcm[:2], "little")


@pytest.fixture
def source():
    return Source()


@pytest.mark.parametrize("seed", range(5))
def test_no_sample_is_lost_moved_or_given_twice_and_blocks_have_one_length(source, seed):
    chance = Random(seed)
    for _ in range(300):
        source.give(chance.randrange(1, 1000), late_ns=chance.randrange(20_000_000))
    whole = b"".join(block.pcm for block in source.blocks)
    assert whole == b"".join((n % 65536).to_bytes(2, "little") for n in range(len(whole) // 2))
    assert source.position - len(whole) // 2 < BLOCK
    assert {len(block.pcm) for block in source.blocks} == {2 * BLOCK}


def test_the_earliest_of_the_first_looks_is_the_time_of_all_blocks_until_then(source):
    chance = Random(1)
    late_ns = [chance.randrange(1_000_000, 30_000_000) for _ in range(LOOKS - 1)]
    for each in late_ns:
        source.give(BLOCK // 2, each)
        assert source.blocks == []
    source.give(BLOCK // 2, 40_000_000)
    assert len(source.blocks) == LOOKS // 2
    for number, block in enumerate(source.blocks, 1):
        assert block.arrival_ns == pytest.approx(ORIGIN_NS + ns(number * BLOCK) + min(late_ns), abs=2)
        assert block.is_exact


def test_later_blocks_have_the_time_of_their_own_read_less_what_came_behind_them(source):
    source.settle()
    source.give(BLOCK + 100, late_ns=9_000_000)
    (block,) = source.blocks
    assert block.arrival_ns == ORIGIN_NS + ns(source.position) + 9_000_000 - ns(100)
    assert not block.is_exact


def test_a_full_buffer_counts_for_no_look_and_is_not_held_for_long(source):
    source.give(RATE, late_ns=5_000_000_000, is_late=True)
    assert len(source.blocks) == RATE // BLOCK
    assert not any(block.is_exact for block in source.blocks)


def test_a_backlog_of_full_buffers_is_no_gap(source):
    """The sound server has kept five seconds, and gives them a second at a time, all at once."""
    clock = SampleClock(sample_rate=RATE, sample_bytes=2, block_samples=BLOCK)
    missing = []
    for seconds in range(20):
        for _ in range(25):
            source.give(2 * BLOCK)
        if seconds == 10:
            until = source.position + 5 * RATE
            while source.position < until:
                source.give(RATE - 1, late_ns=ns(until - source.position - RATE + 1), is_late=True)
        blocks, source.blocks = source.blocks, []
        missing += [placed.missing for block in blocks for placed in clock.add(block) if placed.missing]
    assert missing == []
    assert clock.next_sample > 24 * RATE


def test_behind_an_overflow_the_time_is_decided_anew(source):
    source.settle()
    source.give(BLOCK // 2)
    source.give(BLOCK, overflowed=True)
    (rest,) = source.blocks
    assert len(rest.pcm) == BLOCK  # half a block
    for _ in range(LOOKS - 1):
        source.give(BLOCK)
    _, first, *others = source.blocks
    assert first.overflowed
    assert first.is_exact
    assert not any(block.overflowed for block in others)
    assert first_of(first) == first_of(rest) + BLOCK // 2


def test_what_is_cut_off_comes_with_its_rest(source):
    source.settle()
    source.give(100)
    (rest,) = source.cutter.cut_off()
    assert len(rest.pcm) == 200
    assert source.cutter.cut_off() == []


def test_a_source_that_goes_before_its_time_is_decided_gives_what_it_had(source):
    source.give(2 * BLOCK + 7)
    blocks = source.cutter.cut_off()
    assert [len(block.pcm) // 2 for block in blocks] == [BLOCK, BLOCK, 7]
    assert not any(block.is_exact for block in blocks)


def test_the_rest_is_told_once_the_time_is_decided(source):
    source.give(100)
    assert source.cutter.rest_s == 0
    source.settle()
    source.give(160 - 100)
    assert source.cutter.rest_s == pytest.approx(0.01)
