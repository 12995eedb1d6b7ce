"""What is heard again without times is published once."""

import pytest

from mpengine.supervisor.decide.overlap import Overlap


@pytest.fixture
def overlap():
    heard = Overlap()
    heard.published(1, 100, "The quick brown fox")
    heard.published(1, 200, "jumps over the lazy dog.")
    return heard


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("jumps over the lazy dog and runs", "and runs"),
        ("Jumps over the lazy dog, and runs", "and runs"),
        ("brown fox jumps over the lazy dog", ""),
        ("fix jumps over the lazy dog away", "fix away"),
        ("something else entirely", "something else entirely"),
        ("the end", "the end"),  # one word in common says nothing
        ("dog", ""),  # unless it is all there is
        ("", ""),
    ],
)
def test_of_a_replayed_final_the_longest_common_run_is_cut(overlap, text, rest):
    assert overlap.cut(2, text) == rest


def test_what_is_acknowledged_is_not_looked_for(overlap):
    overlap.acknowledged(100)
    assert overlap.cut(2, "quick brown fox again") == "quick brown fox again"
    assert overlap.cut(2, "over the lazy dog again") == "again"


def test_memory_is_bounded():
    overlap = Overlap()
    for number in range(1000):
        overlap.published(1, number, f"word {number}")
    assert overlap.cut(2, "word 5 is old") == "word 5 is old"
    assert overlap.cut(2, "word 999 is new") == "is new"


def test_what_the_same_connection_says_again_is_said_again(overlap):
    """Its finals do not overlap one another."""
    overlap.published(2, 300, "Yes.")
    assert overlap.cut(2, "Yes.") == "Yes."


def test_what_came_again_once_is_not_expected_a_second_time():
    overlap = Overlap()
    overlap.published(1, 100, "Yes.")
    assert overlap.cut(2, "Yes.") == ""
    assert overlap.cut(2, "Yes.") == "Yes."


def test_words_behind_those_that_came_again_are_still_expected(overlap):
    assert overlap.cut(2, "the quick brown fox") == ""
    assert overlap.cut(2, "jumps over the lazy dog") == ""
    assert overlap.cut(2, "the quick brown fox") == "the quick brown fox"
