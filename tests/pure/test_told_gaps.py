"""Each missing sample is told once."""

from random import Random

import pytest

from mpengine.supervisor.decide.told_gaps import Range, ToldGaps


@pytest.fixture
def gaps():
    return ToldGaps()


@pytest.mark.parametrize(
    ("told", "wanted", "rest"),
    [
        ((100, 200), (100, 200), []),
        ((100, 200), (120, 180), []),
        ((100, 200), (0, 100), [Range(0, 100)]),
        ((100, 200), (200, 300), [Range(200, 300)]),
        ((100, 200), (50, 150), [Range(50, 100)]),
        ((100, 200), (150, 250), [Range(200, 250)]),
        ((100, 200), (50, 250), [Range(50, 100), Range(200, 250)]),
    ],
)
def test_only_what_was_not_told_is_news(gaps, told, wanted, rest):
    assert gaps.news(*told) == [Range(*told)]
    assert gaps.news(*wanted) == rest


def test_what_is_acknowledged_is_forgotten(gaps):
    gaps.news(0, 100)
    gaps.news(500, 600)
    gaps.acknowledged(100)
    assert gaps.news(500, 600) == []
    assert gaps._told == [Range(500, 600)]


def test_memory_does_not_grow_with_a_loss_that_goes_on(gaps):
    for block in range(1000):
        gaps.news(block * 320, (block + 1) * 320)
    assert gaps._told == [Range(0, 320_000)]


@pytest.mark.parametrize("seed", range(20))
def test_no_sample_is_told_twice_and_none_is_forgotten(gaps, seed):
    chance, lost, told = Random(seed), set(), []
    for _ in range(100):
        first = chance.randrange(1000)
        end = first + chance.randrange(1, 50)
        told += gaps.news(first, end)
        lost |= set(range(first, end))
    samples = [sample for each in told for sample in range(each.first, each.end)]
    assert sorted(samples) == sorted(lost)
