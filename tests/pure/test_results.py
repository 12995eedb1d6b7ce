"""What children tell, as what is published."""

from random import Random

import pytest

from mpengine.shared import control, messages
from mpengine.supervisor.decide.actions import Publish
from mpengine.supervisor.decide.results import Anchors, Overlap, Results
from tests.pure.support import result, weight, word

NOON_NS = 1_770_000_000_000_000_000


@pytest.fixture
def results():
    return Results(sample_rate=16000, user_name="Ann")


def heard(**fields):
    return result(**{"connection": 3, "first": 16000, "end": 32000, "text": "Hello.", **fields})


def published(results, result):
    """The transcript that a result becomes; None if it becomes none."""
    return next((action.message for action in results.result(result) if isinstance(action, Publish)), None)


def test_samples_become_seconds(results):
    transcript = published(results, heard())
    assert (transcript.start_s, transcript.end_s) == (1.0, 2.0)


def test_everything_that_was_told_is_published(results):
    words = (word("hello", 1.0, 1.5, confidence=0.5, punctuated_word="Hello."),)
    results.anchors.add(0, NOON_NS)
    told = heard(
        speech_final=True, confidence=0.75, words=words, channel=1, language="en", estimated=True, replayed=True
    )
    assert published(results, told) == messages.Transcript(
        text="Hello.",
        is_final=True,
        speech_final=True,
        start_s=1.0,
        end_s=2.0,
        start_time_ns=NOON_NS + 1_000_000_000,
        confidence=0.75,
        words=(messages.Word(word="hello", start_s=1.0, end_s=1.5, confidence=0.5, punctuated_word="Hello."),),
        channel=1,
        language="en",
        user_name="Ann",
        connection=3,
        estimated=True,
        replayed=True,
    )


def test_before_the_first_anchor_there_is_no_utc(results):
    assert published(results, heard()).start_time_ns is None


def test_a_new_user_name_counts_from_then_on(results):
    results.user_name = "Bob"
    assert published(results, heard()).user_name == "Bob"


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_blank_text_is_not_published(results, text):
    assert published(results, heard(text=text)) is None


def test_what_was_published_before_is_not_published_again(results):
    results.ledger.settle(heard(acknowledges=32000))
    assert published(results, heard()) is None


def test_a_gap_is_told_in_seconds_with_its_exact_samples(results):
    missing = control.SamplesMissing(first=16000, end=16321, reason="overflow", uncertainty=320)
    assert results.gap(missing) == messages.Gap(
        start_s=1.0, end_s=16321 / 16000, samples=321, reason="overflow", uncertainty_s=0.02
    )


# After a kill of the supervisor


def test_what_a_supervisor_before_published_without_times_is_cut_from_what_is_heard_again(results):
    before = messages.Transcript(
        text="one two three", is_final=True, start_s=1.0, end_s=3.0, estimated=True, connection=2
    )
    results.continues(32000, [before])
    again = heard(text="Two three four", end=80000, estimated=True, replayed=True)
    assert published(results, again).text == "four"


def test_what_it_published_without_times_and_is_acknowledged_is_not_heard_again(results):
    before = messages.Transcript(
        text="one two three", is_final=True, start_s=1.0, end_s=2.0, estimated=True, start_time_ns=None, connection=2
    )
    results.continues(32000, [before])
    again = heard(text="Two three four", end=80000, estimated=True, replayed=True)
    assert published(results, again).text == "Two three four"


def test_what_it_published_of_one_channel_ahead_of_the_others_is_not_published_twice(results):
    before = messages.Transcript(text="hello", is_final=True, start_s=1.0, end_s=2.0, channel=1, start_time_ns=None)
    results.continues(8000, [before])
    assert published(results, heard(channel=1, replayed=True)) is None
    assert published(results, heard(channel=0, replayed=True)).text == "Hello."


# What is heard again without times is published once.


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


# From samples to UTC.


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
    assert weight(anchors) < 100_000
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
