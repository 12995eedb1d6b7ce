"""The coordinator: a device that is lost, that is missing from the start, and that is back."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Abort, Exit, KeepDevice, Kill, Log, Spawn, Terminate
from mpengine.supervisor.decide.child_life import ChildState
from mpengine.supervisor.decide.coordinator import Coordinator
from tests.pure.engine_history import (
    BYOK,
    CAPTURE,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    device_opened,
    expected,
    heard,
    hello,
    published,
)
from tests.pure.support import look, of_kind

WAITING = {**BYOK, "supervisor": {"wait": True}}
DEVICE = int(ExitCode.DEVICE)


def lost(reason='"USB" has gone', next_try_in_s=0.5):
    return control.DeviceLost(reason=reason, next_try_in_s=next_try_in_s)


def errors(actions):
    return [(error.code, error.message, error.fatal) for error in published(actions, messages.Error)]


def lines(actions):
    return [log for log in of_kind(actions, Log) if log.level in {"warning", "error"}]


def absent(engine, seconds, *, reason=lambda _: '"USB" has gone'):
    """Capture is without a device for so long, and says each second why; what is decided."""
    actions, captured = [], engine.coordinator.situation.captured
    for second in range(seconds):
        engine.now += 1.0
        engine.says(STREAMING, control.StreamBeat(sent=captured, highest_sent=captured, replayed=0))
        actions += engine.says(CAPTURE, lost(reason(second), 2.0), control.CaptureBeat(captured=captured))
        actions += engine.tick()
    return actions


# Lost


def test_a_lost_device_is_told_once_however_long_it_is_away():
    engine = Engine().run()
    actions = engine.says(CAPTURE, lost()) + absent(engine, 600)
    assert errors(actions) == [("device", '"USB" has gone', False)]
    assert [log.event for log in lines(actions)] == ["fault"]


def test_it_is_told_again_after_a_day():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    engine.now += 86400.0 - 2
    assert errors(absent(engine, 1)) == []
    assert errors(absent(engine, 10)) == [("device", '"USB" has gone', False)]


def test_of_ever_new_reasons_two_lines_a_minute_are_logged_at_most():
    engine = Engine().run()
    actions = engine.says(CAPTURE, lost())
    for _ in range(5):
        actions += absent(engine, 60, reason=lambda second: f"busy: PID {second}")
        assert len(lines(actions)) <= 2
        actions = []


def test_without_a_device_the_engine_is_degraded_and_says_why_and_when_it_tries_again():
    engine = Engine().run()
    engine.says(CAPTURE, control.LevelHeard(first=0, end=S, rms_dbfs=-20.0, peak_dbfs=-10.0, digital_silence=False))
    assert engine.coordinator.situation.level(engine.now) is not None
    engine.says(CAPTURE, lost(next_try_in_s=2.0))
    engine.now += 0.5
    status = engine.status()
    assert (status.state, status.reason, status.device) == ("degraded", 'capture: "USB" has gone', None)
    assert engine.coordinator.situation.level(engine.now) is None
    capture = status.children["capture"]
    assert (capture.state, capture.reason, capture.next_try_in_s) == ("running", '"USB" has gone', 1.5)
    engine.says(CAPTURE, lost("busy: PID 812 (arecord)", 2.0))
    assert engine.status().reason == "capture: busy: PID 812 (arecord)"


def test_a_device_that_is_back_is_logged_with_how_long_it_was_away():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    absent(engine, 3)
    (log,) = of_kind(engine.says(CAPTURE, device_opened()), Log)
    assert (log.event, log.fields["away_s"]) == ("device_opened", 3.0)
    assert (engine.status().state, engine.status().device) == ("running", "USB")
    assert engine.status().children["capture"].next_try_in_s is None
    assert errors(engine.says(CAPTURE, lost())) == [("device", '"USB" has gone', False)]


def test_a_device_that_is_opened_the_first_time_was_not_away():
    (log,) = of_kind(Engine().start().says(CAPTURE, device_opened()), Log)
    assert "away_s" not in log.fields


def test_a_device_that_comes_and_goes_for_ever_new_reasons_is_not_told_without_end():
    engine, told = Engine().run(), []
    for number in range(50):
        told += errors(engine.says(CAPTURE, lost(f"reason {number}"), device_opened()))
    assert len(told) == 21  # in a minute; the last one stands for all others


# What is expected meanwhile


def test_the_connection_is_kept_and_no_new_one_is_made_until_audio_is_back():
    engine = Engine().run()
    assert expected(engine.says(STREAMING, heard(0, 2 * S))) == []
    assert expected(engine.says(CAPTURE, lost())) == [False]
    assert expected(absent(engine, 30)) == []
    assert expected(engine.says(CAPTURE, device_opened())) == []
    assert expected(engine.says(CAPTURE, control.CaptureBeat(captured=3 * S))) == [True]


def test_what_has_no_result_is_sent_without_a_device_too():
    """Unlike a capture process that ends, one that waits goes on sending its window."""
    engine = Engine().run()
    assert expected(engine.says(CAPTURE, lost()) + absent(engine, 10)) == []
    assert engine.coordinator.expects_audio


def test_without_a_device_capture_makes_no_progress_and_does_not_hang():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    assert of_kind(absent(engine, 200), Abort, Kill) == []


def test_without_a_device_capture_must_beat():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    actions = []
    for _ in range(19):
        engine.now += 1.0
        engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))
        actions += engine.tick()
    assert of_kind(actions, Abort) == []
    assert Abort(CAPTURE) in engine.tick(engine.now + 1.0)


def test_while_capture_looks_for_its_device_the_sound_server_may_take_its_time():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    engine.looks[CAPTURE] = look
    actions = []
    for _ in range(160):
        engine.now = round(engine.now + 0.05, 2)
        actions += engine.tick()
    assert of_kind(actions, Abort) == []


# A capture process that ends


def test_a_capture_that_ends_itself_in_a_call_is_a_lost_device_and_comes_back_at_once():
    engine = Engine().run()
    engine.beats(captured=5 * S)
    engine.now += 5.0
    engine.beats(captured=10 * S)
    ((code, text, is_fatal),) = errors(engine.ends(CAPTURE, DEVICE))
    assert (code, is_fatal) == ("device", False)
    assert "does not answer" in text
    assert Spawn(CAPTURE) in engine.tick()


def test_a_loss_that_was_told_is_not_told_again_when_its_process_ends():
    engine = Engine().run()
    actions = engine.says(CAPTURE, lost())
    for _ in range(20):
        actions += engine.ends(CAPTURE, DEVICE)
        assert engine.status().state == "degraded"
        assert engine.status().reason == 'capture: "USB" has gone'
        assert engine.coordinator.lives[CAPTURE].spawn_at <= engine.now + 2.0
        engine.now = engine.coordinator.lives[CAPTURE].spawn_at
        engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))
        actions += engine.tick()
        actions += engine.says(CAPTURE, hello(), lost())
    assert errors(actions) == [("device", '"USB" has gone', False)]
    (log,) = of_kind(engine.says(CAPTURE, device_opened()), Log)
    assert log.fields["away_s"] == pytest.approx(engine.now - 100.0, abs=0.001)


def test_capture_processes_that_end_in_a_call_one_after_another_have_a_reason_in_words():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    actions = []
    for _ in range(3):
        actions += engine.ends(CAPTURE, DEVICE)
        engine.now = engine.coordinator.lives[CAPTURE].spawn_at
        engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))
        engine.tick()
        engine.says(CAPTURE, hello())
    assert errors(actions) == []
    assert "the audio device does not answer" in engine.status().reason


def test_a_device_that_hangs_at_each_try_keeps_its_reason():
    engine = Engine().run()
    actions = engine.says(CAPTURE, lost())
    for _ in range(20):
        actions += engine.ends(CAPTURE, DEVICE)
        engine.now = engine.coordinator.lives[CAPTURE].spawn_at
        engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))
        actions += engine.tick()
        actions += engine.says(CAPTURE, hello())  # and then PortAudio's start hangs
    assert errors(actions) == [("device", '"USB" has gone', False)]
    engine.ends(CAPTURE, DEVICE)
    assert "does not answer" in engine.status().reason
    assert "restart the sound server" in engine.status().reason


def test_a_capture_that_is_killed_without_a_device_comes_back_and_finds_none():
    engine = Engine().run()
    engine.says(CAPTURE, lost())
    engine.now += 5.0
    assert [code for code, _, _ in errors(engine.ends(CAPTURE, SIGKILL))] == ["crash"]
    assert engine.coordinator.situation.lost_reason == "device"  # whatever the next process takes for the gap
    engine.tick()
    assert errors(engine.says(CAPTURE, hello(), lost())) == []
    assert engine.status().state == "degraded"
    engine.says(CAPTURE, device_opened())
    engine.ends(CAPTURE, SIGKILL)
    assert engine.coordinator.situation.lost_reason == "capture_restart"


# A pause, and a stop


def test_in_a_pause_no_device_is_missed():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, 2 * S))
    engine.says(CAPTURE, lost())
    engine.coordinator.pause()
    assert (engine.status().state, engine.status().reason) == ("running", "paused")
    assert errors(engine.says(CAPTURE, lost(), control.DeviceClosed())) == []
    assert (engine.status().state, engine.status().reason) == ("running", "paused")
    engine.coordinator.resume()
    assert len(errors(engine.says(CAPTURE, lost()))) == 1


def test_a_stop_without_a_device_is_a_clean_one():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, 2 * S))
    engine.says(CAPTURE, lost())
    engine.stop()
    assert errors(engine.says(CAPTURE, lost(), control.SourceEnded(end=2 * S))) == []
    engine.ends(CAPTURE, 0)
    assert engine.ends(STREAMING, 0) == [Exit(ExitCode.OK)]


# At the start


@pytest.mark.parametrize(("tables", "waits"), [(BYOK, False), (WAITING, True)])
def test_a_device_that_is_missing_at_the_start_is_waited_for_where_that_was_asked_for(tables, waits):
    assert Engine(tables).coordinator.waits_for_device is waits


def test_a_device_that_was_open_is_waited_for():
    engine = Engine().start()
    engine.says(CAPTURE, device_opened())
    assert engine.coordinator.waits_for_device


@pytest.mark.parametrize(("known", "waits"), [({}, False), ({"captured": S}, True), ({"device": "usb:1"}, True)])
def test_a_run_that_had_a_device_waits_for_it(known, waits):
    coordinator = Coordinator(Config.parse(BYOK), chance=lambda: 1.0, now=100.0)
    coordinator.continues(**{"acknowledged": 0, "captured": 0, "sent": 0, "connection": 0} | known)
    assert coordinator.waits_for_device is waits


def test_an_engine_that_waits_for_its_first_device_is_degraded_and_restarts_nobody():
    engine = Engine(WAITING).start()
    actions = engine.says(CAPTURE, lost("there is no audio input device"))
    actions += absent(engine, 600, reason=lambda _: "there is no audio input device")
    assert errors(actions) == [("device", "there is no audio input device", False)]
    assert (engine.status().state, engine.status().reason) == ("degraded", "capture: there is no audio input device")
    assert engine.coordinator.lives[CAPTURE].state is ChildState.RUNNING
    assert of_kind(actions, Spawn, Terminate, Abort, Kill) == []
    assert expected(actions) == []
    assert not engine.coordinator.expects_audio


def test_a_first_device_that_hangs_ends_an_engine_that_does_not_wait():
    engine = Engine().start()
    ((code, _, is_fatal), *_) = errors(engine.ends(CAPTURE, DEVICE))
    assert (code, is_fatal) == ("device", True)


# Which one it is


def opened_as(identity):
    return control.DeviceOpened(name="USB", sample_rate=S, channels=1, latency_s=1.0, identity=identity)


def test_the_device_of_the_run_is_kept_whenever_it_is_another_one():
    engine = Engine().start()
    assert of_kind(engine.says(CAPTURE, opened_as("usb:1")), KeepDevice) == [KeepDevice("usb:1")]
    assert of_kind(engine.says(CAPTURE, lost(), opened_as("usb:1")), KeepDevice) == []
    assert of_kind(engine.says(CAPTURE, lost(), opened_as("")), KeepDevice) == []
    assert of_kind(engine.says(CAPTURE, lost(), opened_as("usb:2")), KeepDevice) == [KeepDevice("usb:2")]
    assert engine.coordinator.situation.remembered == "usb:2"


def test_the_status_says_which_source_of_the_sound_server_it_is():
    engine = Engine().run()
    (log,) = of_kind(engine.says(CAPTURE, control.DeviceFed(source="Built-in Audio")), Log)
    assert (log.event, log.fields) == ("device_fed", {"source": "Built-in Audio"})
    assert engine.status().device == "USB (fed by Built-in Audio)"
    assert engine.says(CAPTURE, control.DeviceFed(source="Built-in Audio")) == []
    engine.says(CAPTURE, lost(), device_opened())
    assert engine.status().device == "USB"
