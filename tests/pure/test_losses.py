"""Which samples the window lost, each told once."""

from random import Random

import pytest

from mpengine.capture.losses import Losses
from mpengine.capture.window import Range


@pytest.fixture
def losses():
    return Losses()


def test_a_dropped_block_waits_for_its_neighbours(losses):
    assert losses.dropped(Range(0, 320)) == []
    assert losses.dropped(Range(320, 640)) == []
    assert losses.flush() == [Range(0, 640)]


def test_a_block_elsewhere_ends_the_range_before(losses):
    losses.dropped(Range(0, 320))
    assert losses.dropped(Range(1000, 1320)) == [Range(0, 320)]
    assert losses.flush() == [Range(1000, 1320)]


def test_nothing_is_told_when_nothing_is_lost(losses):
    assert losses.flush() == []


def test_what_waits_is_told_once(losses):
    losses.dropped(Range(0, 320))
    losses.flush()
    assert losses.flush() == []


def test_what_is_missed_is_told_at_once(losses):
    assert losses.missed(Range(0, 3200)) == [Range(0, 3200)]


def test_what_waits_is_told_before_what_is_missed(losses):
    losses.dropped(Range(0, 320))
    assert losses.missed(Range(1000, 2000)) == [Range(0, 320), Range(1000, 2000)]


@pytest.mark.parametrize(
    ("told", "wanted", "rest"),
    [
        (Range(100, 200), Range(100, 200), []),
        (Range(100, 200), Range(120, 180), []),
        (Range(100, 200), Range(0, 100), [Range(0, 100)]),
        (Range(100, 200), Range(200, 300), [Range(200, 300)]),
        (Range(100, 200), Range(50, 150), [Range(50, 100)]),
        (Range(100, 200), Range(150, 250), [Range(200, 250)]),
        (Range(100, 200), Range(50, 250), [Range(50, 100), Range(200, 250)]),
    ],
)
def test_of_what_is_missed_only_what_was_not_told_is_told(losses, told, wanted, rest):
    losses.missed(told)
    assert losses.missed(wanted) == rest


def test_what_is_missed_twice_is_told_once(losses):
    losses.missed(Range(0, 100))
    assert losses.missed(Range(0, 100)) == []


def test_what_was_dropped_and_then_missed_is_told_once(losses):
    losses.dropped(Range(0, 320))
    assert losses.missed(Range(0, 320)) == [Range(0, 320)]


def test_samples_are_counted_as_they_are_told(losses):
    losses.dropped(Range(0, 320))
    losses.missed(Range(0, 1000))
    assert losses.samples == 1000


def test_what_is_acknowledged_is_forgotten(losses):
    losses.missed(Range(0, 100))
    losses.missed(Range(500, 600))
    losses.acknowledged(100)
    assert losses.missed(Range(500, 600)) == []
    assert losses._told == [Range(500, 600)]


def test_memory_does_not_grow_with_a_loss_that_goes_on(losses):
    for block in range(1000):
        losses.dropped(Range(block * 320, (block + 1) * 320))
        losses.flush()
    assert len(losses._told) == 1


@pytest.mark.parametrize("seed", range(20))
def test_no_sample_is_told_twice_and_none_is_forgotten(seed):
    """Drops go forward, as the window's do; what is missed lies anywhere behind them."""
    chance, losses = Random(seed), Losses()
    lost, told, position = set(), [], 0
    for _ in range(60):
        if chance.random() < 0.6:
            first = position + chance.choice((0, 0, 7))
            position = first + chance.randrange(1, 10)
            told += losses.dropped(Range(first, position))
            lost |= set(range(first, position))
        elif position:
            first = chance.randrange(position)
            end = chance.randrange(first, position) + 1
            told += losses.missed(Range(first, end))
            lost |= set(range(first, end))
    told += losses.flush()
    samples = [sample for each in told for sample in range(each.first, each.end)]
    assert sorted(samples) == sorted(lost)
    assert losses.samples == len(lost)
