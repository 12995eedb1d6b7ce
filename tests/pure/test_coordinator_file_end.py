"""The coordinator: the end of a file, and how often it is tried."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Exit, Kill, Send, Spawn
from mpengine.supervisor.decide.coordinator import Phase
from mpengine.supervisor.decide.results import MOST_TRIES, EndTries
from tests.pure.engine_history import (
    CAPTURE,
    FILE,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    down,
    ended_file,
    expected,
    heard,
    hello,
    leaves,
    published,
    sent,
)
from tests.pure.support import of_kind

# The end of a file


def test_at_the_end_of_a_file_the_engine_waits_for_its_last_results():
    engine = ended_file()
    assert engine.status().state == "stopping"
    assert of_kind(engine.tick(100.0), Send, Exit) == []
    assert leaves(engine.says(STREAMING, control.StreamEnded(sent=2 * S))) == {CAPTURE, STREAMING}
    engine.ends(CAPTURE, 0)
    assert engine.ends(STREAMING, 0) == [Exit(ExitCode.OK)]
    assert engine.status().reason == "the file is over"


def test_at_the_end_of_a_file_a_lost_connection_is_waited_for():
    engine = ended_file()
    assert leaves(engine.says(STREAMING, down(1))) == set()
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=S, attempt=2))]


def test_at_the_end_of_a_file_there_is_no_limit():
    engine = ended_file()
    for now in range(101, 1000, 10):
        engine.now = float(now)
        engine.beats(captured=3 * S)
        assert of_kind(engine.tick(), Send, Kill, Exit) == []


@pytest.mark.parametrize("child", [CAPTURE, STREAMING])
def test_at_the_end_of_a_file_a_killed_child_is_started_again(child):
    engine = ended_file()
    engine.ends(child, SIGKILL)
    assert engine.tick() == [Spawn(child)]


def test_a_capture_started_again_after_the_end_of_a_file_sends_the_rest_and_the_mark():
    engine = ended_file()
    engine.ends(CAPTURE, SIGKILL)
    engine.tick()
    assert engine.says(CAPTURE, hello()) == [
        Send(CAPTURE, control.CloseDevice()),
        Send(CAPTURE, control.Acknowledge(sample=S)),
        Send(CAPTURE, control.Grant(connection=1, sample=S, attempt=2)),
        Send(CAPTURE, control.Finish()),
    ]


def test_a_stop_after_the_end_of_a_file_waits_with_a_limit():
    engine = ended_file()
    assert leaves(engine.stop()) == set()
    engine.now = 119.0
    engine.beats(captured=3 * S)
    assert leaves(engine.tick(120.0)) == set()
    engine.now = 126.0
    engine.beats(captured=3 * S)
    assert leaves(engine.tick(127.0)) == {CAPTURE, STREAMING}


def test_a_stop_after_the_end_of_a_file_without_a_connection_leaves_at_once():
    engine = ended_file()
    engine.says(STREAMING, down(1))
    assert leaves(engine.stop()) == {CAPTURE, STREAMING}


def test_the_end_of_a_file_is_to_be_confirmed_though_nothing_is_left_to_send():
    engine = ended_file()
    engine.says(STREAMING, heard(S, 3 * S))
    engine.says(STREAMING, down(1))
    assert expected(engine.ends(CAPTURE, SIGKILL)) == []
    engine.beats(captured=3 * S)
    assert engine.coordinator.expects_audio


def test_the_end_of_a_file_that_is_never_confirmed_is_given_up_after_three_tries():
    engine = ended_file()
    for connection in (1, 2):
        engine.says(STREAMING, control.EndTaken())
        assert leaves(engine.says(STREAMING, down(connection))) == set()
        engine.connect(connection + 1)
    engine.says(STREAMING, control.EndTaken())
    actions = engine.says(STREAMING, down(3))
    assert leaves(actions) == {CAPTURE, STREAMING}
    assert [error.code for error in published(actions, messages.Error)] == ["unconfirmed_end"]
    engine.ends(CAPTURE, 0)
    assert engine.ends(STREAMING, 0) == [Exit(ExitCode.CRASH)]


def test_a_stop_while_all_leave_after_the_end_of_a_file_changes_nothing():
    engine = Engine(FILE).run()
    engine.says(CAPTURE, control.SourceEnded(end=2 * S))
    engine.says(STREAMING, control.StreamEnded(sent=2 * S))
    assert engine.coordinator.phase is Phase.LEAVING
    assert engine.stop() == []
    assert engine.coordinator.phase is Phase.LEAVING


# How often the end of a file is tried.


def test_three_ends_that_brought_nothing_are_enough():
    tries = EndTries()
    for _ in range(MOST_TRIES):
        assert tries.may_try_again
        tries.sent(acknowledged=100)
    assert not tries.may_try_again


def test_a_recogniser_that_gets_on_is_merely_slow():
    tries = EndTries()
    for acknowledged in range(100):
        tries.sent(acknowledged)
        assert tries.may_try_again
