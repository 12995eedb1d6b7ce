"""The supervisor while the silence gate is closed: what is acknowledged, what is expected, and what the status says."""

import pytest

from mpengine.shared import control
from mpengine.shared.messages import EngineState, GapReason, Transcript
from mpengine.supervisor.decide.actions import Acknowledge
from tests.pure.engine_history import (
    BYOK,
    CAPTURE,
    STREAMING,
    Engine,
    S,
    connecting,
    device_opened,
    down,
    expected,
    heard,
    hello,
    leaves,
    published,
    ready,
    resumes,
)
from tests.pure.support import of_kind

GATED = {**BYOK, "audio": {"gate": "energy"}}
GATED_FILE = {**BYOK, "audio": {"gate": "energy", "source": "talk.wav"}}


def gated(first_s, end_s, *, is_closed=True):
    return control.Gated(first=round(first_s * S), end=round(end_s * S), is_closed=is_closed)


def rested(connection=1, sent_s=3.0):
    return control.Rested(connection=connection, sent=round(sent_s * S))


def quiet_engine(tables=GATED):
    """Somebody spoke for two seconds and was heard; after a second more the gate has closed, ten seconds ago."""
    engine = Engine(tables).run()
    engine.says(STREAMING, heard(0, 2 * S))
    engine.says(CAPTURE, gated(3, 13))
    engine.beats(captured=round(13.5 * S), sent=3 * S)
    return engine


def resting_engine():
    engine = quiet_engine()
    engine.says(STREAMING, rested())
    return engine


def metrics(engine):
    coordinator = engine.coordinator
    return coordinator.situation.metrics(coordinator.lives, {}, {}, engine.now)


# What needs a final


def test_gated_audio_needs_none_but_the_audio_before_it_does():
    engine = quiet_engine()
    assert engine.coordinator.results.ledger.acknowledged == 2 * S
    actions = engine.says(STREAMING, heard(2 * S, 3 * S, text=""))
    assert of_kind(actions, Acknowledge) == [Acknowledge(13 * S)]


def test_what_is_gated_behind_the_last_final_is_acknowledged_at_once():
    engine = quiet_engine()
    engine.says(STREAMING, heard(2 * S, 3 * S, text=""))
    assert of_kind(engine.says(CAPTURE, gated(13, 14)), Acknowledge) == [Acknowledge(14 * S)]


def test_metrics_count_gated_audio_as_neither_waiting_nor_late():
    engine = quiet_engine()
    figures = metrics(engine)
    assert figures.gated_s == 10
    assert figures.backlog_s == pytest.approx(0.5)
    assert figures.lag_s == pytest.approx(1.0)
    engine.says(STREAMING, heard(2 * S, 3 * S, text=""))
    assert metrics(engine).lag_s == 0
    assert engine.status().unacknowledged_s == pytest.approx(0.5)


def test_a_new_connection_gets_no_gated_audio():
    engine = quiet_engine()
    engine.says(STREAMING, down(1))
    engine.says(STREAMING, connecting(2))
    (grant,) = resumes(engine.says(STREAMING, ready(2)))
    assert grant.sample == 2 * S
    assert grant.skipped == [(3 * S, 13 * S)]


def test_a_gap_in_a_silence_is_told_all_the_same():
    engine = quiet_engine()
    missing = control.SamplesMissing(first=14 * S, end=15 * S, reason="overflow")
    actions = engine.says(CAPTURE, missing, gated(13, 14), gated(15, 16))
    assert [gap.reason for gap in published(actions) if hasattr(gap, "samples")] == [GapReason.OVERFLOW]


# What is expected of the microphone


def test_no_audio_is_expected_while_the_gate_is_closed_and_all_is_heard():
    engine = Engine(GATED).run()
    engine.says(STREAMING, heard(0, 2 * S))
    assert expected(engine.says(CAPTURE, gated(3, 4))) == [False]
    assert expected(engine.says(CAPTURE, gated(4, 5))) == []
    assert expected(engine.says(CAPTURE, gated(5, 5, is_closed=False))) == [True]


def test_words_without_a_final_keep_a_connection_wanted():
    engine = Engine(GATED).run()
    engine.says(STREAMING, heard(0, S))
    assert expected(engine.says(CAPTURE, gated(3, 4))) == []
    assert expected(engine.says(STREAMING, heard(S, 2 * S))) == [False]


def test_a_gap_before_the_silence_needs_no_connection():
    engine = Engine(GATED).run()
    engine.says(CAPTURE, control.SamplesMissing(first=S, end=2 * S, reason="overflow"))
    engine.says(STREAMING, heard(0, S))
    assert expected(engine.says(CAPTURE, gated(3, 4))) == [False]


@pytest.mark.parametrize("message", [device_opened(), gated(13, 13, is_closed=False)])
def test_audio_is_expected_again_when_a_device_was_opened_or_the_gate(message):
    assert expected(quiet_engine().says(CAPTURE, message)) == [True]


# Rest


def test_a_rest_is_no_fault():
    engine = quiet_engine()
    actions = engine.says(STREAMING, rested())
    assert published(actions) == []
    assert of_kind(actions, Acknowledge) == [Acknowledge(13 * S)]
    status = engine.status()
    assert (status.state, status.reason) == (EngineState.RUNNING, "")
    assert status.children["streaming"].reason == "not connected while there is no audio"
    assert metrics(engine).reconnects == 0


def test_the_engine_runs_while_it_connects_behind_a_rest():
    engine = resting_engine()
    assert expected(engine.says(CAPTURE, gated(13, 14, is_closed=False))) == [True]
    engine.says(STREAMING, connecting(2))
    assert engine.status().state == EngineState.RUNNING
    (grant,) = resumes(engine.says(STREAMING, ready(2)))
    assert (grant.sample, grant.skipped) == (14 * S, [])
    assert engine.status().state == EngineState.RUNNING
    assert metrics(engine).reconnects == 0


def test_an_attempt_that_fails_behind_a_rest_is_a_fault():
    engine = resting_engine()
    engine.says(CAPTURE, gated(13, 14, is_closed=False))
    engine.says(STREAMING, connecting(2), down(2))
    assert engine.status().state == EngineState.DEGRADED
    engine.says(STREAMING, connecting(3), ready(3))
    assert engine.status().state == EngineState.RUNNING


def test_somebody_who_speaks_while_the_connection_is_ended_is_awaited():
    engine = quiet_engine()
    engine.says(CAPTURE, gated(13, 14, is_closed=False))
    assert expected(engine.says(STREAMING, rested())) == [True]


def test_an_interim_without_a_final_is_told_at_a_rest():
    engine = quiet_engine()
    engine.says(STREAMING, heard(2 * S, 3 * S, is_final=False, text="perhaps"))
    (interim,) = published(engine.says(STREAMING, rested()), Transcript)
    assert interim.interrupted


def test_a_rest_of_an_older_connection_is_nothing():
    engine = Engine(GATED).run()
    engine.connect(2)
    engine.says(STREAMING, rested())
    assert engine.coordinator.situation.is_connected


def test_a_stop_in_a_rest_is_clean():
    engine = resting_engine()
    assert leaves(engine.stop()) == {CAPTURE, STREAMING}
    engine.says(CAPTURE, gated(13, 13.5), control.DeviceClosed())
    assert engine.status().unacknowledged_s == 0


def test_a_stop_during_the_last_steps_to_a_rest_ends():
    engine = quiet_engine()
    assert leaves(engine.stop()) == set()
    assert leaves(engine.says(STREAMING, rested())) == {CAPTURE, STREAMING}


def test_a_file_that_ends_in_a_rest_needs_no_further_connection():
    engine = quiet_engine(GATED_FILE)
    engine.says(STREAMING, rested())
    assert leaves(engine.says(CAPTURE, gated(13, 14), control.SourceEnded(end=14 * S))) == {CAPTURE, STREAMING}


def test_a_file_that_ends_on_the_way_to_a_rest_needs_none_either():
    engine = quiet_engine(GATED_FILE)
    assert leaves(engine.says(CAPTURE, gated(13, 14), control.SourceEnded(end=14 * S))) == set()
    assert leaves(engine.says(STREAMING, rested())) == {CAPTURE, STREAMING}


def test_a_file_that_ends_with_words_behind_a_rest_gets_a_connection():
    engine = quiet_engine(GATED_FILE)
    engine.says(STREAMING, rested())
    actions = engine.says(CAPTURE, gated(13, 13, is_closed=False), control.SourceEnded(end=14 * S))
    assert leaves(actions) == set()
    assert expected(actions) == [True]


def test_a_silence_that_is_judged_again_counts_once():
    engine = quiet_engine()
    engine.says(CAPTURE, gated(4, 12), gated(12, 14))
    assert metrics(engine).gated_s == 11


def test_a_connection_that_is_lost_in_a_silence_is_no_fault():
    engine = quiet_engine()
    lost = control.ConnectionDown(connection=1, reason="NET-0001", next_try_in_s=0.5, in_silence=True)
    assert published(engine.says(STREAMING, lost)) == []
    assert engine.status().state == EngineState.RUNNING
    engine.says(CAPTURE, gated(13, 14, is_closed=False))
    engine.says(STREAMING, connecting(2), ready(2))
    assert metrics(engine).reconnects == 0


def test_a_capture_that_is_started_again_knows_nothing_of_the_silence():
    engine = resting_engine()
    engine.ends(CAPTURE, -9)
    engine.tick(engine.now + 1)
    engine.says(CAPTURE, hello())
    assert engine.coordinator.expects_audio is False
    assert expected(engine.says(CAPTURE, device_opened())) == [True]
