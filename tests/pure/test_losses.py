"""What the full window drops, joined into ranges."""

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


def test_samples_are_counted(losses):
    losses.dropped(Range(0, 320))
    losses.dropped(Range(1000, 1320))
