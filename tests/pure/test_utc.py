"""From samples to UTC."""

from random import Random

import pytest

from mpengine.supervisor.decide.utc import Anchors

S = 1_000_000_000
NOON = 1_770_000_000 * S


@pytest.fixture
def anchors():
    return Anchors(16000)


def test_without_an_anchor_there_is_no_time(anchors):
    assert anchors.utc_ns(0) is None


@pytest.mark.parametrize(("sample", "seconds"), [(16000, 0), (0, -1), (32000, 1), (16000 * 3601, 3600)])
def test_with_one_anchor_the_nominal_rate_counts(anchors, sample, seconds):
    anchors.add(16000, NOON)
    assert anchors.utc_ns(sample) == NOON + seconds * S


@pytest.mark.parametrize(
    ("sample", "seconds"), [(0, 0.0), (160_000, 10.1), (80_000, 5.05), (40_000, 2.525), (176_000, 11.1)]
)
def test_between_two_anchors_the_line_between_them_counts(anchors, sample, seconds):
    anchors.add(0, NOON)
    anchors.add(160_000, NOON + round(10.1 * S))
    assert anchors.utc_ns(sample) == NOON + round(seconds * S)


def test_before_the_first_anchor_the_nominal_rate_counts(anchors):
    anchors.add(160_000, NOON)
    anchors.add(320_000, NOON + 11 * S)
    assert anchors.utc_ns(0) == NOON - 10 * S


def test_a_clock_that_is_set_moves_only_what_comes_later(anchors):
    for n in range(4):
        anchors.add(n * 160_000, NOON + n * 10 * S + (3600 * S if n > 1 else 0))
    assert anchors.utc_ns(80_000) == NOON + 5 * S
    assert anchors.utc_ns(400_000) == NOON + 25 * S + 3600 * S


@pytest.mark.parametrize("sample", [0, 100, 160_000])
def test_an_anchor_that_is_not_later_is_ignored(anchors, sample):
    anchors.add(160_000, NOON)
    anchors.add(sample, NOON + 99 * S)
    assert anchors.utc_ns(160_000) == NOON


def test_a_day_of_anchors_is_kept_in_little(anchors):
    for n in range(8640):
        anchors.add(n * 160_000, NOON + n * 10 * S)
    assert len(anchors._samples) <= 1000
    assert anchors.utc_ns(8639 * 160_000 - 80_000) == NOON + 8639 * 10 * S - 5 * S


def test_a_crystal_that_is_off_is_followed(anchors):
    """2 seconds a day: without anchors the time would be off by as much at the end of it."""
    chance, rate = Random(1), 16000 * (1 + 2 / 86400)
    for n in range(8641):
        sample = round(n * 10 * rate)
        anchors.add(sample, NOON + n * 10 * S)
    for _ in range(100):
        seconds = chance.randrange(80_000, 86_400)
        assert anchors.utc_ns(round(seconds * rate)) == pytest.approx(NOON + seconds * S, abs=S // 1000)
