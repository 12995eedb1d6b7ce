"""Sets of samples as ranges, held against plain sets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.shared.ranges import Range, Ranges

EDGE = st.integers(0, 60)
PAIRS = st.lists(st.tuples(EDGE, EDGE), max_size=30)


def samples_of(ranges):
    return {sample for first, end in ranges for sample in range(first, end)}


@pytest.mark.parametrize(("sample", "end"), [(0, 0), (5, 9), (8, 9), (9, 9), (10, 10), (12, 20), (99, 99)])
def test_a_sample_has_the_end_of_its_range(sample, end):
    assert Ranges([(5, 9), (12, 20)]).end_of(sample) == end


@pytest.mark.parametrize(
    ("sample", "around"), [(4, None), (5, (5, 9)), (8, (5, 9)), (9, None), (12, (12, 20)), (99, None)]
)
def test_a_sample_is_in_its_range(sample, around):
    assert Ranges([(5, 9), (12, 20)]).around(sample) == around


@pytest.mark.parametrize(
    ("known", "wanted", "left"),
    [
        ((100, 200), (100, 200), []),
        ((100, 200), (120, 180), []),
        ((100, 200), (0, 100), [Range(0, 100)]),
        ((100, 200), (200, 300), [Range(200, 300)]),
        ((100, 200), (50, 150), [Range(50, 100)]),
        ((100, 200), (150, 250), [Range(200, 250)]),
        ((100, 200), (50, 250), [Range(50, 100), Range(200, 250)]),
        ((100, 200), (150, 120), []),
        ((100, 200), (300, 250), []),
    ],
)
def test_what_is_known_is_cut_out(known, wanted, left):
    assert Ranges([known]).cut(*wanted) == left


@given(PAIRS)
def test_they_are_in_order_with_holes_between_them_and_hold_what_was_joined(pairs):
    ranges = Ranges(pairs)
    assert samples_of(ranges) == samples_of(pairs)
    assert all(each.first < each.end for each in ranges)
    assert all(before.end < after.first for before, after in pairwise(ranges))
    assert len(ranges) == len(list(ranges))


@given(PAIRS, EDGE, EDGE)
def test_what_is_left_of_a_cut_is_what_they_do_not_hold(pairs, first, end):
    left = Ranges(pairs).cut(first, end)
    assert samples_of(left) == set(range(first, end)) - samples_of(pairs)
    assert list(Ranges(left)) == left


@given(PAIRS, EDGE)
def test_what_ends_before_is_forgotten_and_the_rest_stays_whole(pairs, sample):
    ranges = Ranges(pairs)
    before = list(ranges)
    ranges.forget_before(sample)
    assert list(ranges) == [each for each in before if each.end > sample]


def test_a_range_that_goes_on_costs_no_more_than_one():
    ranges = Ranges()
    for block in range(1000):
        ranges.join(block * 320, (block + 1) * 320)
    assert list(ranges) == [Range(0, 320_000)]
