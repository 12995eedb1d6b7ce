"""The coordinator: children that were killed or gave up."""

import pytest

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Exit, Send, Spawn, Terminate
from tests.pure.engine_history import (
    CAPTURE,
    LOCAL,
    RECOGNISER,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    device_opened,
    down,
    heard,
    hello,
    published,
    resumes,
    sent,
)
from tests.pure.support import of_kind

# Killed children


def test_a_killed_streaming_is_started_again_at_once():
    engine = Engine().run()
    actions = engine.ends(STREAMING, SIGKILL)
    (error,) = published(actions)
    assert (error.source, error.code, error.fatal) == ("streaming", "crash", False)
    assert "SIGKILL" in error.message
    assert engine.tick() == [Spawn(STREAMING)]


def test_after_streaming_was_killed_its_successor_goes_on_where_results_ended():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S))
    engine.ends(STREAMING, SIGKILL)
    engine.tick()
    engine.says(STREAMING, hello())
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=S, attempt=2))]


def test_while_streaming_is_gone_a_new_capture_may_not_send():
    engine = Engine().run()
    engine.ends(STREAMING, SIGKILL)
    engine.ends(CAPTURE, SIGKILL)
    engine.tick()
    assert resumes(engine.says(CAPTURE, hello())) == []


def test_a_killed_capture_is_started_again_at_once_and_may_send():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S))
    assert len(published(engine.ends(CAPTURE, SIGKILL))) == 1
    assert engine.tick() == [Spawn(CAPTURE)]
    assert resumes(engine.says(CAPTURE, hello())) == [control.Grant(connection=1, sample=S, attempt=2)]


def test_a_killed_capture_is_a_degraded_engine_until_the_device_is_open():
    engine = Engine().run()
    engine.ends(CAPTURE, SIGKILL)
    assert (engine.status().state, engine.status().reason) == ("degraded", "capture: killed by SIGKILL")
    engine.tick()
    engine.says(CAPTURE, hello())
    assert engine.status().state == "degraded"
    engine.says(CAPTURE, device_opened())
    assert engine.status().state == "running"


def test_a_killed_recogniser_is_started_again_and_the_engine_is_well_again():
    engine = Engine(LOCAL).run()
    engine.ends(RECOGNISER, SIGKILL)
    engine.says(STREAMING, down(1))
    assert engine.tick() == [Spawn(RECOGNISER)]
    engine.says(RECOGNISER, hello())
    engine.connect(2)
    assert engine.status().state == "running"


def test_a_child_that_dies_again_and_again_waits_longer_every_time():
    engine, found = Engine().run(), []
    for _ in range(4):
        engine.ends(CAPTURE, SIGKILL)
        engine.now = engine.coordinator.lives[CAPTURE].spawn_at
        found.append(engine.now)
        engine.tick()
    assert found == pytest.approx([100.0, 100.5, 101.5, 103.5])


def test_every_crash_is_an_error():
    engine, count = Engine().run(), 0
    for _ in range(3):
        count += len(published(engine.ends(CAPTURE, SIGKILL)))
        engine.now = engine.coordinator.lives[CAPTURE].spawn_at
        engine.tick()
    assert count == 3


def test_a_crash_is_an_error_though_the_child_had_told_of_something_else_before():
    engine = Engine().run()
    engine.says(STREAMING, control.Fault(code="busy", message="slow today"))
    engine.now = 5000.0
    (error,) = published(engine.ends(STREAMING, SIGKILL))
    assert error.code == "crash"


def test_a_spawn_that_fails_is_tried_again_later():
    engine = Engine()
    assert engine.coordinator.tick(100.0) == [Spawn(CAPTURE), Spawn(STREAMING)]
    for _ in range(2):
        engine.coordinator.lives.spawn_failed(CAPTURE, "no memory", 100.0)
    engine.coordinator.spawned(STREAMING, 7, 100.0)
    assert engine.coordinator.tick(100.4) == []
    assert engine.coordinator.tick(100.5) == [Spawn(CAPTURE)]


def test_when_all_is_over_nothing_is_started():
    engine = Engine().run()
    engine.ends(STREAMING, SIGKILL)
    engine.coordinator.stop_at_once("SIGINT")
    assert engine.tick(200.0) == []


# Ends that are for good


@pytest.mark.parametrize(
    ("child", "code"),
    [
        (CAPTURE, ExitCode.CONFIG),
        (STREAMING, ExitCode.CONFIG),
        (STREAMING, ExitCode.ACCOUNT),
        (CAPTURE, ExitCode.DEVICE),
    ],
)
def test_a_child_that_gives_up_ends_the_engine_with_its_exit_code(child, code):
    engine = Engine().start()
    other = STREAMING if child is CAPTURE else CAPTURE
    fault = control.Fault(code="x", message="it cannot be", exit_code=int(code))
    (error,) = published(engine.says(child, fault))
    assert (error.message, error.fatal) == ("it cannot be", True)
    assert engine.ends(child, int(code)) == [Terminate(other)]
    assert engine.ends(other, 0) == [Exit(code)]
    assert (engine.status().state, engine.status().reason) == ("failed", "it cannot be")


def test_a_child_that_gives_up_without_a_word_is_an_error_all_the_same():
    (error,) = published(Engine().start().ends(STREAMING, int(ExitCode.CONFIG)))
    assert error.fatal


def test_the_engine_ends_with_the_first_reason():
    engine = Engine().start()
    engine.ends(STREAMING, int(ExitCode.ACCOUNT))
    assert engine.ends(CAPTURE, int(ExitCode.CONFIG)) == [Exit(ExitCode.ACCOUNT)]


def test_a_device_that_was_open_and_is_gone_is_waited_for():
    engine = Engine().run()
    fault = control.Fault(code="device", message="the device has gone", exit_code=int(ExitCode.DEVICE))
    (error,) = published(engine.says(CAPTURE, fault))
    assert not error.fatal
    assert of_kind(engine.ends(CAPTURE, int(ExitCode.DEVICE)), Exit, Send) == []
    assert engine.tick() == [Spawn(CAPTURE)]


def test_a_device_that_stays_away_is_told_once():
    engine, errors = Engine().run(), []
    fault = control.Fault(code="device", message="no such device", exit_code=int(ExitCode.DEVICE))
    for _ in range(4):
        errors += published(engine.says(CAPTURE, fault))
        errors += published(engine.ends(CAPTURE, int(ExitCode.DEVICE)))
        engine.now = engine.coordinator.lives[CAPTURE].spawn_at
        engine.tick()
    assert [error.message for error in errors] == ["no such device"]
