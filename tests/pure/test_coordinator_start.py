"""The coordinator: what it starts, and when capture may open the device and send."""

import pytest

from mpengine.shared import control, messages
from mpengine.supervisor.decide.actions import Send, Spawn
from tests.pure.engine_history import (
    BYOK,
    CAPTURE,
    CONNECTED_FIRST,
    LOCAL,
    RECOGNISER,
    STREAMING,
    Engine,
    connecting,
    device_opened,
    down,
    hello,
    published,
    resumes,
    sent,
)

# Starting


def test_capture_and_streaming_are_spawned_at_once():
    assert Engine().tick() == [Spawn(CAPTURE), Spawn(STREAMING)]


def test_in_local_mode_the_recogniser_is_spawned_first():
    assert Engine(LOCAL).tick() == [Spawn(RECOGNISER), Spawn(CAPTURE), Spawn(STREAMING)]


def test_nothing_is_spawned_twice():
    engine = Engine()
    engine.tick()
    assert engine.tick(110.0) == []


def test_a_capture_that_only_said_hello_may_not_send_yet():
    engine = Engine()
    engine.tick()
    assert resumes(engine.says(CAPTURE, hello())) == []
    assert sent(engine.says(STREAMING, hello())) == []


def test_capture_may_send_when_the_recogniser_is_ready():
    assert sent(Engine().start().connect()) == [Send(CAPTURE, control.Grant(connection=1, sample=0, attempt=1))]


def test_a_capture_that_comes_late_may_send_at_once():
    engine = Engine()
    engine.tick()
    engine.connect()
    assert resumes(engine.says(CAPTURE, hello())) == [control.Grant(connection=1, sample=0, attempt=2)]


def test_by_default_capture_opens_the_device_without_waiting():
    assert Engine().coordinator.may_open_device


# audio.start = connected


def test_a_device_that_waits_is_opened_when_connected():
    engine = Engine(CONNECTED_FIRST)
    assert not engine.coordinator.may_open_device
    engine.start()
    assert sent(engine.connect()) == [
        Send(CAPTURE, control.OpenDevice()),
        Send(CAPTURE, control.Grant(connection=1, sample=0, attempt=1)),
    ]


def test_a_device_that_waits_is_opened_though_capture_says_hello_after_the_connection():
    """What was sent to it before its hello has not reached it."""
    engine = Engine(CONNECTED_FIRST)
    engine.tick()
    engine.connect()
    assert Send(CAPTURE, control.OpenDevice()) in engine.says(CAPTURE, hello())


def test_after_the_first_connection_the_device_waits_no_more():
    engine = Engine(CONNECTED_FIRST).run()
    engine.says(STREAMING, down(1))
    assert engine.coordinator.may_open_device
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=0, attempt=2))]


@pytest.mark.parametrize("tables", [BYOK, CONNECTED_FIRST])
def test_without_a_connection_for_15_s_there_is_an_error_and_the_engine_tries_on(tables):
    engine = Engine(tables).start()
    if tables == BYOK:
        engine.hears()
    engine.says(STREAMING, connecting(1), down(1, "no route"))
    engine.tick()
    assert published(engine.tick(114.9)) == []
    (error,) = published(engine.tick(115.0))
    assert (error.code, error.fatal) == ("connect_timeout", False)
    assert error.message == "Timed out connecting to wss://service after 15 s: no route; retrying"
    assert engine.status().state == "degraded"


def test_the_error_of_a_missing_connection_comes_once():
    engine = Engine().start()
    engine.hears()
    engine.tick()
    assert len(published(engine.tick(115.0), messages.Error)) == 1
    assert published(engine.tick(119.0), messages.Error) == []


def test_while_there_is_no_audio_no_limit_of_the_connection_runs():
    engine = Engine().start()
    for now in range(101, 200):
        engine.now = float(now)
        engine.says(CAPTURE, control.CaptureBeat(captured=0))
        engine.says(STREAMING, control.StreamBeat(sent=0, highest_sent=0, replayed=0))
        assert published(engine.tick()) == []
    engine.hears()
    assert published(engine.tick()) == []
    assert published(engine.tick(engine.now + 14.9)) == []
    (error,) = published(engine.tick(engine.now + 0.1), messages.Error)
    assert error.code == "connect_timeout"


def test_without_audio_it_says_for_what_it_waits():
    engine = Engine().start()
    engine.says(STREAMING, control.StreamBeat(sent=0, highest_sent=0, replayed=0))
    assert (engine.status().state, engine.status().reason) == ("connecting", "waiting for the device")
    engine.says(CAPTURE, device_opened())
    waits = "waiting for the first audio of the device"
    assert (engine.status().state, engine.status().reason) == ("connecting", waits)


def test_with_a_connection_there_is_no_such_error():
    engine = Engine().run()
    assert published(engine.tick(115.0)) == []


@pytest.mark.parametrize("is_paused", [False, True])
def test_what_was_said_before_capture_could_hear_is_said_again(is_paused):
    engine = Engine(CONNECTED_FIRST)
    engine.tick()
    engine.connect()
    if is_paused:
        engine.coordinator.pause()
    wanted = control.CloseDevice() if is_paused else control.OpenDevice()
    assert sent(engine.says(CAPTURE, hello()))[0] == Send(CAPTURE, wanted)
