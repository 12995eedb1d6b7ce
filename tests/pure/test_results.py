"""What children tell, as what is published."""

import pytest

from mpengine.shared import control, messages
from mpengine.supervisor.decide.results import Results, note

NOON_NS = 1_770_000_000_000_000_000


@pytest.fixture
def results():
    return Results(sample_rate=16000, user_name="Ann")


def heard(**fields):
    options = {"connection": 3, "first": 16000, "end": 32000, "text": "Hello.", "is_final": True, **fields}
    return control.Heard(**options)


def test_samples_become_seconds(results):
    transcript = results.transcript(heard())
    assert (transcript.start_s, transcript.end_s) == (1.0, 2.0)


def test_everything_that_was_told_is_published(results):
    words = (control.SampleWord(word="hello", first=16000, end=24000, confidence=0.5, punctuated_word="Hello."),)
    results.anchors.add(0, NOON_NS)
    told = heard(
        speech_final=True, confidence=0.75, words=words, channel=1, language="en", estimated=True, replayed=True
    )
    assert results.transcript(told) == messages.Transcript(
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
    assert results.transcript(heard()).start_time_ns is None


def test_a_new_user_name_counts_from_then_on(results):
    results.user_name = "Bob"
    assert results.transcript(heard()).user_name == "Bob"


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_blank_text_is_not_published(results, text):
    assert results.transcript(heard(text=text)) is None


def test_what_was_published_before_is_not_published_again(results):
    results.ledger.settle(heard(acknowledges=32000))
    assert results.transcript(heard()) is None


def test_a_gap_is_told_in_seconds_with_its_exact_samples(results):
    missing = control.SamplesMissing(first=16000, end=16321, reason="overflow", uncertainty=320)
    assert results.gap(missing) == messages.Gap(
        start_s=1.0, end_s=16321 / 16000, samples=321, reason="overflow", uncertainty_s=0.02
    )


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("credits_low", {"seconds_remaining": 5.0}, messages.CreditsLow(seconds_remaining=5.0)),
        ("session_end", {"seconds_used": 7.5}, messages.SessionEnd(seconds_used=7.5)),
        ("metadata", {"a": 1}, messages.Metadata(data={"a": 1})),
    ],
)
def test_a_note_of_the_service_is_a_message_of_its_own(kind, data, message):
    assert note(kind, data) == message


# After a kill of the supervisor


def test_what_a_supervisor_before_published_without_times_is_cut_from_what_is_heard_again(results):
    before = messages.Transcript(
        text="one two three", is_final=True, start_s=1.0, end_s=3.0, estimated=True, connection=2
    )
    results.continues(32000, [before])
    again = heard(text="Two three four", end=80000, estimated=True, replayed=True)
    assert results.transcript(again).text == "four"


def test_what_it_published_without_times_and_is_acknowledged_is_not_heard_again(results):
    before = messages.Transcript(
        text="one two three", is_final=True, start_s=1.0, end_s=2.0, estimated=True, start_time_ns=None, connection=2
    )
    results.continues(32000, [before])
    again = heard(text="Two three four", end=80000, estimated=True, replayed=True)
    assert results.transcript(again).text == "Two three four"


def test_what_it_published_of_one_channel_ahead_of_the_others_is_not_published_twice(results):
    before = messages.Transcript(text="hello", is_final=True, start_s=1.0, end_s=2.0, channel=1, start_time_ns=None)
    results.continues(8000, [before])
    assert results.transcript(heard(channel=1, replayed=True)) is None
    assert results.transcript(heard(channel=0, replayed=True)).text == "Hello."
