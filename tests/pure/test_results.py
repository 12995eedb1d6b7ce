"""What children tell, as what is published."""

from random import Random

import pytest

from mpengine.shared import control, messages
from mpengine.supervisor.decide.actions import Acknowledge, Log, Publish
from mpengine.supervisor.decide.results import Anchors, Results
from tests.pure.support import of_kind, result, weight, word

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


def test_what_was_published_before_the_connection_was_lost_is_withheld_counted_and_logged(results):
    published(results, heard())
    actions = results.result(heard(connection=4, replayed=True, acknowledges=32000))
    assert of_kind(actions, Publish) == []
    assert of_kind(actions, Log)[0].fields["words"] == "Hello."
    assert of_kind(actions, Acknowledge) == [Acknowledge(32000)]
    assert results.withheld == 1


def test_an_exact_repetition_is_withheld_and_counted(results):
    assert published(results, heard(is_repeated=True)) is None
    assert results.withheld == 1


# Interims


def interim(text, **fields):
    return heard(text=text, is_final=False, **fields)


def ends(results, result):
    """The channels whose open interim `result` ends without words."""
    messages_of = [action.message for action in of_kind(results.result(result), Publish)]
    return [each.channel for each in messages_of if not each.text and not each.is_final]


@pytest.mark.parametrize("last", [heard(text=""), heard(text=" "), interim(""), heard(is_repeated=True)])
def test_an_interim_whose_words_are_taken_back_is_ended_once(results, last):
    published(results, interim("Yeah."))
    assert ends(results, last) == [0]
    assert ends(results, last) == []
    assert results.interrupted() == []


def test_a_final_with_words_needs_no_end(results):
    published(results, interim("Yeah."))
    assert published(results, heard()).text == "Hello."
    assert results.interrupted() == []


def test_each_channel_has_its_own_interim(results):
    published(results, interim("Yes", channel=0))
    published(results, interim("No", channel=1))
    assert published(results, heard(channel=1)).channel == 1
    assert [(each.message.text, each.message.interrupted) for each in results.interrupted()] == [("Yes", True)]


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
    results.ledger.continues(32000, [before])
    again = heard(text="Two three four", end=80000, estimated=True, replayed=True)
    assert published(results, again).text == "four"


def test_what_it_published_without_times_and_is_acknowledged_is_not_heard_again(results):
    before = messages.Transcript(
        text="one two three", is_final=True, start_s=1.0, end_s=2.0, estimated=True, start_time_ns=None, connection=2
    )
    results.ledger.continues(32000, [before])
    again = heard(text="Two three four", end=80000, estimated=True, replayed=True)
    assert published(results, again).text == "Two three four"


def test_what_it_published_of_one_channel_ahead_of_the_others_is_not_published_twice(results):
    before = messages.Transcript(
        text="hello", is_final=True, start_s=1.0, end_s=2.0, channel=1, start_time_ns=None, connection=2
    )
    results.ledger.continues(8000, [before])
    assert published(results, heard(channel=1, replayed=True)) is None
    assert published(results, heard(channel=0, replayed=True)).text == "Hello."


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
