"""The coordinator: a pause, and other times in which no audio can come."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Exit, Send
from tests.pure.engine_history import (
    CAPTURE,
    CONNECTED_FIRST,
    FILE,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    device_opened,
    down,
    expected,
    heard,
    hello,
    leaves,
    published,
    sent,
)

# Pausing


def test_a_pause_closes_the_device_and_a_second_one_does_nothing():
    engine = Engine().run()
    assert sent(engine.coordinator.pause()) == [Send(CAPTURE, control.CloseDevice())]
    assert engine.coordinator.pause() == []


def test_the_end_of_a_pause_opens_it_and_a_second_one_does_nothing():
    engine = Engine().run()
    engine.coordinator.pause()
    assert sent(engine.coordinator.resume()) == [Send(CAPTURE, control.OpenDevice())]
    assert engine.coordinator.resume() == []


def test_a_paused_engine_runs_and_says_so():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.says(CAPTURE, control.DeviceClosed())
    assert (engine.status().state, engine.status().reason, engine.status().device) == ("running", "paused", None)


def test_a_capture_that_starts_in_a_pause_leaves_the_device_closed():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.ends(CAPTURE, SIGKILL)
    assert not engine.coordinator.may_open_device


def test_a_pause_before_capture_says_hello_reaches_it_all_the_same():
    engine = Engine()
    engine.tick()
    engine.coordinator.pause()
    assert Send(CAPTURE, control.CloseDevice()) in engine.says(CAPTURE, hello())


def test_the_end_of_a_pause_before_capture_says_hello_reaches_it_all_the_same():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.ends(CAPTURE, SIGKILL)
    engine.tick()
    engine.coordinator.resume()
    assert Send(CAPTURE, control.OpenDevice()) in engine.says(CAPTURE, hello())


def test_a_device_that_waits_for_the_connection_is_not_opened_by_the_end_of_a_pause():
    engine = Engine(CONNECTED_FIRST).start()
    engine.coordinator.pause()
    assert sent(engine.coordinator.resume()) == []


def test_in_a_pause_a_capture_that_dies_is_not_all_right():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.says(CAPTURE, control.DeviceClosed())
    assert (engine.status().state, engine.status().reason) == ("running", "paused")
    engine.ends(CAPTURE, SIGKILL)
    assert engine.status().state == "degraded"
    assert "killed by SIGKILL" in engine.status().reason


# While no audio can come


def all_acknowledged():
    """An engine that runs, and whose audio all has its result."""
    engine = Engine().run()
    assert expected(engine.says(STREAMING, heard(0, 2 * S))) == []
    return engine


def paused():
    """The same, in a pause: of the last second there was nothing to say."""
    engine = all_acknowledged()
    assert expected(engine.coordinator.pause()) == [False]
    assert expected(engine.says(CAPTURE, control.DeviceClosed())) == []
    return engine


def lose_the_device(engine):
    """Capture says that the device has gone, and ends; streaming beats on."""
    fault = control.Fault(code="device", message="the device has gone", exit_code=int(ExitCode.DEVICE))
    actions = engine.says(CAPTURE, fault) + engine.ends(CAPTURE, int(ExitCode.DEVICE))
    return actions + engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))


def without_a_device():
    """An engine whose device has gone, with nothing left to send."""
    engine = all_acknowledged()
    assert expected(lose_the_device(engine)) == [False]
    return engine


def try_to_open(engine):
    """Capture is started once more, and finds no device."""
    engine.now = engine.coordinator.lives[CAPTURE].spawn_at
    engine.tick()
    return engine.says(CAPTURE, hello()) + lose_the_device(engine)


def test_a_pause_with_nothing_left_to_send_is_told_to_streaming_once():
    engine = paused()
    engine.beats(captured=2 * S)
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=2 * S))) == []


def test_in_a_pause_what_has_no_result_yet_is_to_be_expected():
    engine = Engine().run()
    assert expected(engine.coordinator.pause()) == []
    assert expected(engine.says(CAPTURE, control.DeviceClosed())) == []
    assert expected(engine.says(STREAMING, heard(0, 2 * S))) == [False]


def test_what_capture_took_in_at_the_end_is_to_be_expected():
    """Its beat comes behind the pause."""
    engine = paused()
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=3 * S))) == [True]


def test_after_a_pause_audio_is_to_be_expected_once_the_device_has_given_some():
    engine = paused()
    assert expected(engine.coordinator.resume()) == []
    assert expected(engine.says(CAPTURE, device_opened())) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=2 * S))) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=2 * S + 320))) == [True]


def test_a_device_that_has_gone_is_told_to_streaming_until_it_is_back():
    engine = without_a_device()
    for _ in range(3):
        assert expected(try_to_open(engine)) == []
    engine.now = engine.coordinator.lives[CAPTURE].spawn_at
    engine.tick()
    assert expected(engine.says(CAPTURE, hello(), device_opened())) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=2 * S + 320))) == [True]


def test_without_a_device_capture_sends_nothing_of_the_window_either():
    """It ends before it gets so far: a connection for that would get no audio, and be closed for it."""
    engine = Engine().run()
    assert expected(lose_the_device(engine)) == [False]
    for _ in range(3):
        assert expected(try_to_open(engine)) == []


@pytest.mark.parametrize("make", [paused, without_a_device])
def test_a_streaming_process_begins_with_what_it_is_to_expect(make):
    engine = make()
    assert not engine.coordinator.expects_audio  # as its settings have it
    engine.ends(STREAMING, SIGKILL)
    engine.tick()
    assert expected(engine.says(STREAMING, hello())) == [False]


def test_the_first_connection_is_wanted_behind_the_first_audio():
    engine = Engine().start()
    assert not engine.coordinator.expects_audio
    assert expected(engine.says(CAPTURE, device_opened())) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=0))) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=320))) == [True]


def test_the_first_connection_is_wanted_behind_all_of_a_short_file():
    engine = Engine(FILE).start()
    assert expected(engine.says(CAPTURE, device_opened(), control.SourceEnded(end=320))) == [True]


def test_in_a_pause_before_any_audio_no_connection_is_wanted():
    engine = Engine().start()
    assert expected(engine.coordinator.pause()) == []
    assert expected(engine.says(CAPTURE, control.DeviceClosed())) == []
    engine.says(STREAMING, control.StreamBeat(sent=0, highest_sent=0, replayed=0))
    assert (engine.status().state, engine.status().reason) == ("running", "paused")


def test_a_connection_before_the_device_is_open_is_wanted_where_it_was_asked_for():
    engine = Engine(CONNECTED_FIRST).start()
    assert engine.coordinator.expects_audio
    assert expected(engine.connect()) == [False]
    assert expected(engine.says(CAPTURE, device_opened())) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=320))) == [True]


@pytest.mark.parametrize("acknowledged", [S, 2 * S])
def test_a_supervisor_started_again_wants_a_connection_for_what_has_no_result(acknowledged):
    engine = Engine()
    engine.coordinator.continues(acknowledged=acknowledged, captured=2 * S, sent=2 * S, connection=7)
    assert expected(engine.start().says(STREAMING, hello())) == [False]
    capture_works = engine.says(CAPTURE, control.CaptureBeat(captured=2 * S))
    assert expected(capture_works) == [True] * (acknowledged < 2 * S)
    assert expected(engine.hears(2 * S + 320)) == [True] * (acknowledged == 2 * S)


@pytest.mark.parametrize(
    ("make", "state", "reason"),
    [(paused, "running", "paused"), (without_a_device, "degraded", "capture: the device has gone")],
)
def test_a_lost_connection_that_nobody_needs_changes_no_status(make, state, reason):
    engine = make()
    engine.status()
    engine.says(STREAMING, down(1, "closed by the recogniser: 1011 NET-0001"))
    for now in range(101, 200):
        engine.now = float(now)
        engine.beats(captured=2 * S)
        assert (engine.status().state, engine.status().reason) == (state, reason)
        streaming = engine.status().children["streaming"]
        assert (streaming.next_try_in_s, streaming.reason) == (None, "not connected while there is no audio")


@pytest.mark.parametrize(
    ("make", "state", "reason"),
    [(paused, "running", "paused"), (without_a_device, "degraded", "capture: the device has gone")],
)
def test_a_streaming_process_killed_when_nobody_needs_it_leaves_no_trouble_behind(make, state, reason):
    engine = make()
    engine.says(STREAMING, down(1))
    engine.ends(STREAMING, SIGKILL)
    engine.tick()
    engine.says(STREAMING, hello())
    engine.beats(captured=2 * S)
    assert (engine.status().state, engine.status().reason) == (state, reason)
    assert engine.status().children["streaming"].reason == "not connected while there is no audio"


def test_while_nobody_tries_to_connect_no_limit_runs():
    engine = paused()
    engine.says(STREAMING, down(1))
    actions = []
    for now in range(101, 200):
        engine.now = float(now)
        engine.beats(captured=2 * S)
        actions += engine.tick()
    assert published(actions, messages.Error) == []


def test_after_such_a_pause_the_status_follows_device_and_connection():
    engine = paused()
    engine.says(STREAMING, down(1))
    engine.coordinator.resume()
    assert (engine.status().state, engine.status().reason) == ("degraded", "waiting for the device")
    engine.says(CAPTURE, device_opened())
    waits = "waiting for the first audio of the device"
    assert (engine.status().state, engine.status().reason) == ("degraded", waits)
    engine.says(CAPTURE, control.CaptureBeat(captured=3 * S))
    assert (engine.status().state, engine.status().reason) == ("degraded", "reset")
    engine.connect(2)
    assert engine.status().state == "running"


@pytest.mark.parametrize("make", [paused, without_a_device])
def test_a_stop_while_nobody_is_connected_leaves_at_once_and_stirs_nobody(make):
    engine = make()
    engine.says(STREAMING, down(1))
    actions = engine.stop()
    assert STREAMING in leaves(actions)
    actions += engine.says(STREAMING, control.StreamBeat(sent=0, highest_sent=2 * S, replayed=0))
    assert expected(actions) == []
    engine.ends(CAPTURE, 0)
    assert engine.ends(STREAMING, 0) == [Exit(ExitCode.OK)]
