"""The coordinator: a stop, from its request to the exit code."""

import pytest

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Exit, Kill, Send
from mpengine.supervisor.decide.coordinator import Phase
from tests.pure.engine_history import (
    CAPTURE,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    connecting,
    down,
    heard,
    leaves,
    published,
    ready,
    sent,
)
from tests.pure.support import of_kind

# Stopping


def test_a_clean_stop_is_finish_last_results_leave_exit():
    engine = Engine().run()
    assert sent(engine.stop()) == [Send(CAPTURE, control.Finish())]
    assert engine.status().state == "stopping"
    assert engine.says(CAPTURE, control.DeviceClosed(), control.SourceEnded(end=3 * S)) == []
    assert engine.says(STREAMING, control.EndTaken()) == []
    assert len(published(engine.says(STREAMING, heard(0, 2 * S)))) == 1
    assert leaves(engine.says(STREAMING, control.StreamEnded(sent=2 * S))) == {CAPTURE, STREAMING}
    assert engine.ends(STREAMING, 0) == []
    assert engine.ends(CAPTURE, 0) == [Exit(ExitCode.OK)]
    assert engine.coordinator.phase is Phase.DONE
    assert (engine.status().state, engine.status().reason) == ("stopped", "SIGTERM")


def test_after_a_clean_stop_nothing_is_unacknowledged():
    engine = Engine().run()
    engine.stop()
    engine.says(CAPTURE, control.SourceEnded(end=3 * S))
    engine.says(STREAMING, heard(0, 2 * S), control.StreamEnded(sent=3 * S))
    assert engine.status().unacknowledged_s == 0.0


def test_a_second_stop_changes_nothing():
    engine = Engine().run()
    engine.stop()
    assert engine.stop() == []


def test_a_stop_before_anything_was_captured_leaves_at_once():
    engine = Engine().start()
    engine.says(STREAMING, connecting(1))
    assert leaves(engine.stop()) == {CAPTURE, STREAMING}


def test_a_stop_before_anything_was_spawned_ends_at_once():
    assert of_kind(Engine().stop(), Exit) == [Exit(ExitCode.OK)]


def test_a_stop_during_the_first_connecting_waits_for_it_and_sends_what_was_captured():
    engine = Engine().start()
    engine.says(STREAMING, connecting(1))
    engine.beats(captured=2 * S, sent=0)
    assert sent(engine.stop()) == [Send(CAPTURE, control.Finish())]
    assert sent(engine.says(STREAMING, ready(1))) == [Send(CAPTURE, control.Grant(connection=1, sample=0, attempt=1))]


def test_a_stop_during_backoff_leaves_at_once_and_tells_what_is_left():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S), down(1))
    assert leaves(engine.stop()) == {CAPTURE, STREAMING}
    engine.ends(STREAMING, 0)
    engine.ends(CAPTURE, 0)
    assert (engine.status().state, engine.status().unacknowledged_s) == ("stopped", 1.0)


def test_a_stop_while_streaming_is_in_backoff_leaves_at_once():
    engine = Engine().run()
    engine.ends(STREAMING, SIGKILL)
    assert leaves(engine.stop()) == {CAPTURE}
    assert engine.ends(CAPTURE, 0) == [Exit(ExitCode.OK)]


def test_a_stop_while_capture_is_in_backoff_awaits_the_results_of_what_was_sent():
    engine = Engine().run()
    engine.ends(CAPTURE, SIGKILL)
    assert sent(engine.stop()) == [Send(STREAMING, control.Finish())]
    assert leaves(engine.says(STREAMING, control.StreamEnded(sent=2 * S))) == {STREAMING}


def test_a_capture_that_dies_while_stopping_leaves_the_end_to_streaming():
    engine = Engine().run()
    engine.stop()
    assert Send(STREAMING, control.Finish()) in engine.ends(CAPTURE, SIGKILL)


def test_the_second_request_ends_everything_at_once():
    engine = Engine().run()
    engine.stop()
    actions = engine.coordinator.stop_at_once("stopped at once by SIGINT")
    assert actions == [Kill(CAPTURE), Kill(STREAMING), Exit(ExitCode.CRASH)]
    assert (engine.status().state, engine.status().reason) == ("failed", "stopped at once by SIGINT")


@pytest.mark.parametrize(
    "loss",
    [lambda engine: engine.says(STREAMING, down(1)), lambda engine: engine.ends(STREAMING, SIGKILL)],
    ids=["connection lost", "streaming killed"],
)
def test_a_loss_while_stopping_ends_the_wait(loss):
    engine = Engine().run()
    engine.stop()
    assert CAPTURE in leaves(loss(engine))
    assert engine.coordinator.phase is Phase.LEAVING


def test_a_stop_with_nothing_captured_ends_when_capture_says_so():
    engine = Engine().start()
    engine.connect()
    engine.stop()
    assert leaves(engine.says(CAPTURE, control.SourceEnded(end=0))) == {CAPTURE, STREAMING}


def test_a_stop_opens_no_device_any_more():
    engine = Engine().run()
    engine.stop()
    assert not engine.coordinator.may_open_device


def test_in_all_a_stop_takes_no_longer_than_its_limit():
    """Both beat on, but neither results nor ends come."""
    engine, killed = Engine().run(), []
    engine.stop()
    while not killed:
        engine.now += 0.5
        engine.beats(captured=2 * S)
        killed = of_kind(engine.tick(), Kill)
    assert engine.now <= 130.0


def test_a_child_that_does_not_leave_is_killed():
    engine = Engine().start()
    engine.stop()
    assert of_kind(engine.tick(102.9), Kill) == []
    assert of_kind(engine.tick(103.0), Kill) == [Kill(CAPTURE), Kill(STREAMING)]


@pytest.mark.parametrize("status", [1, 2, 4, SIGKILL])
def test_how_a_child_ends_when_it_was_told_to_leave_does_not_matter(status):
    engine = Engine().start()
    engine.stop()
    engine.ends(STREAMING, status)
    assert engine.ends(CAPTURE, 0) == [Exit(ExitCode.OK)]


def test_while_leaving_nothing_is_spawned_any_more():
    engine = Engine().start()
    engine.stop()
    engine.ends(STREAMING, SIGKILL)
    assert engine.tick(101.0) == []


# What may be removed at the end


def test_after_captures_last_word_all_is_done():
    engine = Engine().run()
    engine.stop()
    engine.says(CAPTURE, control.SourceEnded(end=3 * S))
    engine.says(STREAMING, control.StreamEnded(sent=3 * S))
    assert engine.coordinator.situation.is_done


def test_without_it_the_window_may_hold_more_than_is_known():
    """A beat is up to a second old: what capture took in after it, nobody has told of."""
    engine = Engine().run()
    engine.ends(CAPTURE, SIGKILL)
    engine.stop()
    engine.says(STREAMING, control.StreamEnded(sent=2 * S))
    assert engine.coordinator.situation.unacknowledged == 0
    assert not engine.coordinator.situation.is_done
