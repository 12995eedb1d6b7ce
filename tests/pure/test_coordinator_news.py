"""The coordinator: when the supervisor's loop wakes, and what gives it more to do."""

import msgspec
import pytest

from mpengine.shared import control, messages
from mpengine.supervisor.decide.child_life import ChildState
from tests.pure.engine_history import (
    CAPTURE,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    connecting,
    device_opened,
    down,
    heard,
    hello,
    ready,
)

# When to wake


def test_it_wakes_for_the_connect_limit_first():
    engine = Engine().start()
    engine.hears()
    engine.tick()
    engine.now = 114.0
    for child in engine.coordinator.lives:
        engine.says(child, hello())  # so that nobody is silent
    assert engine.coordinator.deadline == 115.0


def test_it_wakes_for_a_restart():
    engine = Engine().run()
    for _ in range(2):
        engine.ends(CAPTURE, SIGKILL)
        if engine.coordinator.lives[CAPTURE].spawn_at == engine.now:
            engine.tick()
    assert engine.coordinator.lives[CAPTURE].state is ChildState.BACKOFF
    assert engine.coordinator.deadline == 100.5


def test_when_all_is_done_there_is_nothing_to_wake_for():
    engine = Engine().start()
    engine.stop()
    engine.ends(CAPTURE, 0)
    engine.ends(STREAMING, 0)
    assert engine.coordinator.deadline == float("inf")


# What is news


LEVEL = control.LevelHeard(first=0, end=4000, rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False)


def has_news(engine, child, message):
    """Whether the supervisor's loop has more to do for it than what is answered."""
    engine.tick()
    engine.says(child, message)
    return engine.coordinator.has_news


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (CAPTURE, LEVEL),
        (CAPTURE, control.CaptureBeat(captured=3 * S)),
        (CAPTURE, control.Anchor(sample=0, utc_ns=1)),
        (STREAMING, control.StreamBeat(sent=3 * S, highest_sent=3 * S, replayed=0)),
        (STREAMING, heard(0, S)),
        (STREAMING, heard(0, S, is_final=False)),
        (STREAMING, control.Said(connection=1, message=messages.SpeechStarted(at_s=0.0))),
        (STREAMING, control.Said(connection=1, message=messages.UtteranceEnd(at_s=1.0))),
    ],
)
def test_what_is_said_all_the_time_is_no_news_and_changes_no_status(child, message):
    engine = Engine().run()
    before, deadline = msgspec.structs.replace(engine.status(), unacknowledged_s=0.0), engine.coordinator.deadline
    assert not has_news(engine, child, message)
    assert msgspec.structs.replace(engine.status(), unacknowledged_s=0.0) == before
    assert engine.coordinator.deadline >= deadline


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (CAPTURE, device_opened()),
        (CAPTURE, control.DeviceClosed()),
        (CAPTURE, control.SourceEnded(end=2 * S)),
        (CAPTURE, control.Fault(code="x", message="why")),
        (STREAMING, hello()),
        (STREAMING, connecting(2)),
        (STREAMING, ready(1)),
        (STREAMING, down(1)),
        (STREAMING, control.StreamEnded(sent=2 * S)),
    ],
)
def test_all_else_that_is_said_is_news_until_the_next_tick(child, message):
    engine = Engine().run()
    assert has_news(engine, child, message)
    engine.tick()
    assert not engine.coordinator.has_news


def test_the_first_word_of_a_work_loop_is_news():
    engine = Engine().start()
    assert has_news(engine, CAPTURE, LEVEL)
    assert engine.coordinator.lives[CAPTURE].state is ChildState.RUNNING
    assert not has_news(engine, CAPTURE, LEVEL)


def test_the_last_result_of_a_pause_is_news_since_no_connection_is_wanted_any_more():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.says(CAPTURE, control.DeviceClosed())
    assert not has_news(engine, STREAMING, heard(0, S))
    assert has_news(engine, STREAMING, heard(S, 2 * S))
