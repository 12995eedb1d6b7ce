"""The first of a kind is written at once, those like it are counted, and none is forgotten silently."""

from random import Random

import pytest

from mpengine.shared.logs.repeats import Due, Repeats
from tests.pure.support import weight


@pytest.fixture
def repeats():
    return Repeats(quiet_s=60.0, limit=3)


def test_the_first_is_written_at_once(repeats):
    assert repeats.came("a", "a1", 0.0) == [Due("a1", 0)]


def test_those_like_it_are_not_written_for_a_while(repeats):
    repeats.came("a", "a1", 0.0)
    assert [repeats.came("a", f"a{second}", float(second)) for second in range(1, 60)] == [[]] * 59


def test_the_next_one_after_the_while_says_how_many_were_not_written(repeats):
    for second in (0, 10, 59):
        repeats.came("a", f"a{second}", float(second))
    assert repeats.came("a", "a60", 60.0) == [Due("a60", 2)]
    assert repeats.came("a", "a119", 119.0) == []
    assert repeats.came("a", "a120", 120.0) == [Due("a120", 1)]


def test_one_that_is_rare_is_never_held_back(repeats):
    assert [repeats.came("a", "a", 60.0 * n) for n in range(3)] == [[Due("a", 0)]] * 3


def test_another_kind_is_written_at_once(repeats):
    repeats.came("a", "a1", 0.0)
    assert repeats.came("b", "b1", 1.0) == [Due("b1", 0)]
    assert repeats.came("a", "a2", 2.0) == []


def test_another_kind_brings_out_what_was_held_back_for_long(repeats):
    for second in (0, 1, 2):
        repeats.came("a", f"a{second}", float(second))
    assert repeats.came("b", "b1", 59.0) == [Due("b1", 0)]
    assert repeats.came("c", "c1", 60.0) == [Due("a2", 1), Due("c1", 0)]


def test_one_that_is_held_back_itself_brings_it_out_too(repeats):
    for second in (0, 1):
        repeats.came("a", f"a{second}", float(second))
    repeats.came("b", "b1", 50.0)
    assert repeats.came("b", "b2", 61.0) == [Due("a1", 0)]
    assert repeats.came("a", "a3", 62.0) == []  # for a1 was written a second ago


def test_the_rest_is_what_was_held_back(repeats):
    for key in ("a", "b", "b", "c", "c", "c"):
        repeats.came(key, key, 0.0)
    assert repeats.rest(1.0) == [Due("b", 0), Due("c", 1)]
    assert repeats.rest(2.0) == []


def test_the_rest_counts_as_written(repeats):
    repeats.came("a", "a1", 0.0)
    repeats.came("a", "a2", 1.0)
    repeats.rest(30.0)
    assert repeats.came("a", "a3", 89.0) == []
    assert repeats.came("a", "a4", 90.0) == [Due("a4", 1)]


def test_when_there_are_too_many_kinds_the_oldest_is_forgotten_and_told(repeats):
    for second, key in enumerate("abca"):
        repeats.came(key, f"{key}{second}", float(second))
    assert repeats.came("d", "d4", 4.0) == [Due("a3", 0), Due("d4", 0)]
    assert repeats.came("e", "e5", 5.0) == [Due("e5", 0)]
    assert repeats.came("a", "a6", 6.0) == [Due("a6", 0)]
    before = weight(repeats)
    for number in range(1000):
        repeats.came(f"k{number}", "k", 7.0)
    assert weight(repeats) < 1.5 * before


def test_of_one_event_only_so_many_kinds_are_told_apart():
    repeats, due = Repeats(kinds=5), []
    for number in range(1000):
        due += repeats.came(f"words {number}", number, number / 100, event="fault")
    assert due == [*(Due(number, 0) for number in range(6))]
    assert repeats.overdue(69.0) == [Due(999, 993)]
    assert repeats.came("words 1000", 1000, 70.0, event="fault") == [Due(1000, 0)]


def test_ever_new_words_of_one_event_hold_back_no_other_event():
    repeats = Repeats(kinds=5)
    for number in range(100):
        repeats.came(f"words {number}", "words", 1.0, event="fault")
    assert repeats.came("a gap", "a gap", 2.0, event="gap") == [Due("a gap", 0)]


@pytest.mark.parametrize("seed", range(20))
def test_every_one_is_written_or_counted_once_and_its_kind_at_most_once_in_the_while(seed):
    chance, repeats, now, due, came = Random(seed), Repeats(), 0.0, [], 0
    written = {}
    for _ in range(1000):
        now += chance.expovariate(0.2)
        key = chance.choice("abcdefgh")
        came += 1
        for each in repeats.came(key, key, now):
            assert now >= written.get(each.line, -60.0) + 60.0
            written[each.line] = now
            due.append(each)
    due += repeats.rest(now)
    assert sum(1 + each.repeated for each in due) == came
