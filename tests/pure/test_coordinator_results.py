"""The coordinator: what it publishes and acknowledges, also over a lost connection."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.clocks import Clocks
from mpengine.supervisor.decide.actions import Acknowledge, Log, Publish, Send
from tests.pure.engine_history import CAPTURE, SIGKILL, STREAMING, Engine, S, down, heard, published, ready, sent
from tests.pure.support import of_kind, result

# Results


def test_a_final_is_published_and_then_acknowledged():
    actions = Engine().run().says(STREAMING, heard(0, S))
    (transcript,) = published(actions)
    assert (transcript.text, transcript.is_final, transcript.user_name) == ("words", True, "User")
    told = Send(CAPTURE, control.Acknowledge(sample=S))
    assert actions == [Publish(transcript, covers=S), Acknowledge(S), told]


def test_an_interim_is_published_and_acknowledges_nothing():
    actions = Engine().run().says(STREAMING, heard(0, S, is_final=False))
    assert len(published(actions)) == 1
    assert of_kind(actions, Acknowledge) == []


def test_a_blank_final_is_not_published_but_acknowledges():
    actions = Engine().run().says(STREAMING, heard(0, S, text=" "))
    assert actions == [Acknowledge(S), Send(CAPTURE, control.Acknowledge(sample=S))]


def test_a_final_that_was_published_is_not_published_again():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S, acknowledges=0))
    engine.says(STREAMING, down(1))
    engine.connect(2)
    again = engine.says(STREAMING, heard(0, S, connection=2, replayed=True))
    assert again[1:] == [Acknowledge(S), Send(CAPTURE, control.Acknowledge(sample=S))]
    assert [action.event for action in of_kind(again, Log)] == ["withheld"]
    assert engine.coordinator.results.withheld == 1


@pytest.mark.parametrize(
    "message",
    [
        heard(0, S, connection=1),
        heard(0, S, connection=1, is_final=False),
        control.Said(connection=1, message=messages.SpeechStarted(at_s=0.0)),
        control.Said(connection=1, message=messages.UtteranceEnd(at_s=0.0)),
        control.Said(connection=1, message=messages.Metadata(data={})),
        ready(1),
        down(1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_an_older_connection_says_is_dropped(message):
    engine = Engine().run()
    engine.says(STREAMING, down(1))
    engine.connect(2)
    assert engine.says(STREAMING, message) == []
    assert engine.status().connection == 2


SAID = (
    messages.SpeechStarted(at_s=1.0),
    messages.UtteranceEnd(at_s=1.0),
    messages.CreditsLow(seconds_remaining=5.0),
    messages.SessionEnd(seconds_used=7.5),
    messages.Metadata(data={"a": 1}),
)


@pytest.mark.parametrize(
    ("child", "message", "expected"),
    [
        *((STREAMING, control.Said(connection=1, message=message), message) for message in SAID),
        (
            CAPTURE,
            control.LevelHeard(first=0, end=4000, rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False),
            messages.Level(rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False),
        ),
        (
            CAPTURE,
            control.SamplesMissing(first=S, end=2 * S, reason="overflow", uncertainty=320),
            messages.Gap(start_s=1.0, end_s=2.0, samples=S, reason="overflow", uncertainty_s=0.02),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_child_tells_is_published(child, message, expected):
    assert published(Engine().run().says(child, message)) == [expected]


@pytest.mark.parametrize(
    "loss",
    [lambda engine: engine.says(STREAMING, down(1)), lambda engine: engine.ends(STREAMING, SIGKILL)],
    ids=["connection lost", "streaming killed"],
)
def test_an_interim_whose_connection_is_lost_is_published_as_interrupted_once(loss):
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S, is_final=False))
    (interim,) = published(loss(engine), messages.Transcript)
    assert (interim.text, interim.is_final, interim.interrupted) == ("words", False, True)
    assert published(loss(engine), messages.Transcript) == []


@pytest.mark.parametrize("text", ["words", ""])
def test_an_interim_that_a_final_followed_is_not_interrupted(text):
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S, is_final=False), heard(0, S, text=text))
    assert published(engine.says(STREAMING, down(1)), messages.Transcript) == []


def test_a_run_that_goes_on_begins_where_its_journal_ended():
    engine = Engine()
    before = result(S, 2 * S, "it had said", acknowledges=0, connection=7).transcript
    engine.coordinator.continues(acknowledged=S, captured=3 * S, sent=2 * S, connection=7, finals=[before])
    engine.start()
    assert sent(engine.connect(8)) == [Send(CAPTURE, control.Grant(connection=8, sample=S, attempt=1))]
    assert engine.status().unacknowledged_s == 2.0
    again = heard(S, 2 * S, text="It had said.", connection=8, replayed=True)
    assert published(engine.says(STREAMING, again)) == []


def test_anchors_give_transcripts_their_utc():
    engine = Engine().run()
    engine.says(CAPTURE, control.Anchor(sample=0, utc_ns=10**18))
    (transcript,) = published(engine.says(STREAMING, heard(S, 2 * S)))
    assert transcript.start_time_ns == 10**18 + 10**9


@pytest.mark.parametrize(
    ("step_s", "words"),
    [
        (259_200, "set forward by 259200.000 s; start_time_ns of the messages before this one is too early by as much"),
        (-1.5, "set back by 1.500 s; start_time_ns of the messages before this one is too late by as much"),
    ],
)
def test_a_step_of_the_clock_is_published_with_its_size_and_times_are_right_at_once(step_s, words):
    engine = Engine().run()
    noon, step_ns = Clocks(10**18), round(step_s * 10**9)
    engine.says(CAPTURE, control.Anchor(sample=0, utc_ns=10**18, clocks=noon))
    after = Clocks(10**18 + step_ns)
    told = engine.says(CAPTURE, control.Anchor(sample=2 * S, utc_ns=10**18 + 2 * 10**9 + step_ns, clocks=after))
    (error,) = published(told, messages.Error)
    assert (error.source, error.code, error.step_ns, error.fatal) == ("supervisor", "clock_stepped", step_ns, False)
    assert error.message == f"the clock of this machine was {words}"
    (transcript,) = published(engine.says(STREAMING, heard(S, 2 * S)))
    assert transcript.start_time_ns == 10**18 + 10**9 + step_ns
    again = engine.says(CAPTURE, control.Anchor(sample=3 * S, utc_ns=10**18 + 3 * 10**9 + step_ns, clocks=after))
    assert published(again, messages.Error) == []


def test_what_was_heard_before_the_kill_had_been_sent_whatever_the_journal_says():
    """It has how far sending was a second or two before."""
    final = messages.Transcript(text="words", is_final=True, start_s=2.0, end_s=3.5, connection=7, estimated=True)
    engine = Engine()
    engine.coordinator.continues(acknowledged=S, captured=4 * S, sent=2 * S, connection=7, finals=iter([final]))
    assert engine.coordinator.situation.highest_sent == 3.5 * S


def test_what_has_its_result_is_no_gap():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S))
    missing = control.SamplesMissing(first=0, end=S + 100, reason="window_full")
    (gap,) = published(engine.says(CAPTURE, missing), messages.Gap)
    assert gap.samples == 100


# A lost connection


def test_the_next_connection_begins_at_the_first_sample_that_is_not_acknowledged():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S))
    engine.says(STREAMING, down(1))
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=S, attempt=2))]


def test_a_lost_connection_is_a_degraded_engine_with_the_reason():
    engine = Engine().run()
    assert engine.status().state == "running"
    engine.says(STREAMING, down(1, "reset by peer"))
    assert (engine.status().state, engine.status().reason) == ("degraded", "reset by peer")
    engine.connect(2)
    assert engine.status().state == "running"


def test_a_fault_is_published_with_its_request_id_and_kind():
    fault = control.Fault(code="http_503", message="HTTP 503", request_id="r-1", kind="connection")
    assert published(Engine().start().says(STREAMING, fault)) == [
        messages.Error(source="streaming", code="http_503", message="HTTP 503", request_id="r-1", kind="connection")
    ]


def test_a_fault_that_repeats_is_published_once_until_the_child_works_again():
    engine, fault = Engine().start(), control.Fault(code="x", message="no route")
    assert len(published(engine.says(STREAMING, fault, fault, fault))) == 1
    engine.connect()
    assert len(published(engine.says(STREAMING, fault))) == 1


# A silent device


def levels(engine, count, *, is_silent):
    level = control.LevelHeard(first=0, end=4000, rms_dbfs=-120.0, peak_dbfs=-120.0, digital_silence=is_silent)
    told = [each for _ in range(count) for each in published(engine.says(CAPTURE, level))]
    return [each for each in told if isinstance(each, messages.Error)]


def test_ten_seconds_of_digital_silence_are_told_once_until_it_is_heard_again():
    engine = Engine().run()
    assert levels(engine, 39, is_silent=True) == []
    (told,) = levels(engine, 400, is_silent=True)
    assert (told.code, told.fatal) == ("digital_silence", False)
    levels(engine, 1, is_silent=False)
    assert len(levels(engine, 40, is_silent=True)) == 1
