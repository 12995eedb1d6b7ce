"""What children tell, as what is published."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.clocks import Clocks
from mpengine.supervisor.decide.actions import Acknowledge, Log, Publish
from mpengine.supervisor.decide.results import Results
from tests.pure.support import of_kind, result, word

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
    results.anchors.add(0, NOON_NS, Clocks())
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
