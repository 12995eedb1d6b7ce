"""The coordinator: children that are silent, that stand still, or that cannot be killed."""

import pytest

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Abort, Exit, Kill, Log, Spawn
from tests.pure.engine_history import (
    CAPTURE,
    FILE,
    LOCAL,
    RECOGNISER,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    device_opened,
    down,
    hello,
    quiet,
)
from tests.pure.support import look, of_kind

# Hung children


def test_a_child_that_is_silent_for_20_s_is_killed():
    engine = Engine().run()
    engine.now = 119.0
    engine.says(STREAMING, control.StreamBeat(sent=0, highest_sent=0, replayed=0))
    assert engine.tick(119.9) == []
    log, told, abort = engine.tick(120.0)
    assert (log.event, told.message.code, abort) == ("hung", "hung", Abort(CAPTURE))
    assert engine.tick(120.9) == []
    assert engine.tick(121.0) == [Kill(CAPTURE)]


def test_a_killed_hung_child_is_started_again_with_the_reason():
    engine = Engine().run()
    engine.tick(120.0)
    engine.ends(CAPTURE, SIGKILL)
    assert engine.status().children["capture"].reason.startswith("capture hangs: no sign of life for 20 s;")
    assert Spawn(CAPTURE) in engine.tick()


def test_a_child_that_does_not_even_start_is_killed_after_a_minute():
    engine = Engine()
    engine.tick()
    engine.now = 159.0
    engine.says(STREAMING, hello())
    assert of_kind(engine.tick(159.9), Abort) == []
    assert of_kind(engine.tick(160.0), Abort) == [Abort(CAPTURE)]


def test_a_child_that_does_not_die_at_once_is_not_killed_in_every_turn():
    """The loop sleeps until the deadline: one in the past would make it spin."""
    engine = Engine().run()
    engine.tick(120.0)
    assert engine.coordinator.deadline > 120.0
    assert engine.tick(120.001) == []


def test_what_a_child_says_after_the_supervisor_slept_counts():
    engine = Engine().run()
    engine.coordinator.overslept(10_000.0, 9900.0)
    assert of_kind(engine.tick(10_019.0), Abort) == []
    assert of_kind(engine.tick(10_020.0), Abort) == [Abort(CAPTURE), Abort(STREAMING)]


# What is seen of silent children


def silent(engine, child, until, **seen):
    """The other children beat every second. What is decided, and when that was."""
    engine.looks[child] = lambda now: look(now, **seen)
    found = []
    while engine.now < until:
        engine.now = round(engine.now + 0.05, 2)
        if engine.now % 1 == 0:
            for other in engine.coordinator.lives:
                if other is not child:
                    engine.says(other, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))
        found += [(action, engine.now) for action in engine.tick()]
    return found


def test_a_blocked_child_is_asked_where_after_three_seconds():
    engine = Engine().run()
    (log, _), (told, _), (abort, at) = silent(engine, CAPTURE, 103.5)
    assert (log.event, told.message.code, abort) == ("hung", "hung", Abort(CAPTURE))
    assert told.message.message.startswith("capture hangs: no sign of life for 3 s: a call of its main thread")
    assert at == pytest.approx(103.0, abs=0.1)
    assert engine.tick(104.2) == [Kill(CAPTURE)]


def test_a_stopped_child_is_killed_at_once_because_it_cannot_take_sigabrt():
    engine = Engine().run()
    (log, _), (told, _), (kill, at) = silent(engine, CAPTURE, 103.5, states="TT")
    assert (log.event, told.message.code, kill) == ("hung", "hung", Kill(CAPTURE))
    assert told.message.message == "capture hangs: no sign of life for 3 s: it is stopped, as by SIGSTOP; restarting"
    assert at == pytest.approx(103.0, abs=0.1)
    engine.ends(CAPTURE, SIGKILL)
    assert Spawn(CAPTURE) in engine.tick()


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ({"load": 2.0}, "BLOCKED"),
        ({"states": "TT", "load": 2.0}, "STOPPED"),
        ({"states": "RS"}, "STARVED"),
        ({"states": "DS"}, "IN_KERNEL"),
        ({"states": "tt"}, "TRACED"),
    ],
)
def test_all_others_get_the_limit_of_silence_and_the_log_says_once_what_is_seen(seen, word):
    engine = Engine().run()
    ((log, at),) = silent(engine, CAPTURE, 119.9, **seen)
    assert (log.level, log.event, log.fields) == ("warning", "silent", {"child": CAPTURE, "seen": word})
    assert at == pytest.approx(103.0, abs=0.1)
    last = engine.tick(120.0)[-1]
    assert last == (Kill(CAPTURE) if word == "STOPPED" else Abort(CAPTURE))


def test_a_child_that_said_why_it_ends_and_is_blocked_then_is_killed():
    engine = Engine().run()
    engine.says(CAPTURE, control.Fault(code="device", message="it has gone", exit_code=int(ExitCode.DEVICE)))
    ((kill, at),) = silent(engine, CAPTURE, 103.5)
    assert (kill, at) == (Kill(CAPTURE), pytest.approx(103.0, abs=0.1))
    engine.ends(CAPTURE, SIGKILL)
    assert engine.status().children["capture"].reason == "it has gone"


def test_while_a_pause_closes_the_device_the_sound_server_may_take_its_time():
    engine = Engine().run()
    engine.coordinator.pause()
    ((log, _),) = silent(engine, CAPTURE, 110.0)
    assert (log.event, log.fields["seen"]) == ("silent", "BLOCKED")
    engine.says(CAPTURE, control.DeviceClosed())
    assert of_kind([action for action, _ in silent(engine, CAPTURE, 113.5)], Abort) == [Abort(CAPTURE)]


# Work that stands still


def test_a_capture_process_that_beats_without_capturing_is_ended():
    engine = Engine().run()
    assert quiet(engine, 119.0, captured=lambda _: 2 * S) == []
    assert Abort(CAPTURE) in quiet(engine, 121.0, captured=lambda _: 2 * S)


@pytest.mark.parametrize("tables", [FILE])
def test_a_file_that_waits_for_room_is_well(tables):
    engine = Engine(tables).run()
    assert of_kind(quiet(engine, 200.0, captured=lambda _: 2 * S), Abort) == []


def test_a_paused_device_captures_nothing_and_is_well():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.says(CAPTURE, control.DeviceClosed())
    assert of_kind(quiet(engine, 200.0, captured=lambda _: 2 * S), Abort) == []


def test_a_streaming_process_that_beats_without_sending_what_waits_is_ended():
    engine = Engine().run()
    actions = quiet(engine, 121.0, captured=lambda now: int((now - 98) * S), sent=lambda _: 2 * S)
    assert of_kind(actions, Abort) == []
    actions = quiet(engine, 125.0, captured=lambda now: int((now - 98) * S), sent=lambda _: 2 * S)
    assert of_kind(actions, Abort) == [Abort(STREAMING)]


def test_without_a_connection_nothing_is_sent_and_all_is_well():
    engine = Engine().run()
    engine.says(STREAMING, down(1))
    actions = quiet(engine, 200.0, captured=lambda now: int((now - 98) * S), sent=lambda _: 2 * S)
    assert of_kind(actions, Abort) == []


def test_a_capture_process_that_waits_for_the_disk_is_well():
    engine = Engine().run()
    for now in range(101, 200):
        engine.now = float(now)
        engine.says(CAPTURE, control.CaptureBeat(captured=2 * S, is_waiting=True))
        engine.says(STREAMING, control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=0))
        assert engine.tick() == []


def test_the_first_sample_of_a_device_may_take_a_minute():
    engine = Engine().start()
    engine.says(CAPTURE, device_opened())
    engine.connect()
    assert of_kind(quiet(engine, 159.0, captured=lambda _: 0), Abort) == []
    assert of_kind(quiet(engine, 162.0, captured=lambda _: 0), Abort) == [Abort(CAPTURE)]


def test_a_recogniser_that_beats_without_decoding_what_it_has_is_ended():
    engine = Engine(LOCAL).run()
    for now in range(101, 120):
        engine.now = float(now)
        engine.beats(captured=int((now - 98) * S))
        engine.says(RECOGNISER, control.RecogniserBeat(received=100, decoded=60))
        assert of_kind(engine.tick(), Abort) == []
    for now in range(120, 123):
        engine.now = float(now)
        engine.beats(captured=int((now - 98) * S))
        engine.says(RECOGNISER, control.RecogniserBeat(received=100, decoded=60))
        if aborted := of_kind(engine.tick(), Abort):
            break
    assert aborted == [Abort(RECOGNISER)]


# Those that cannot be killed


def test_a_stop_does_not_wait_for_ever_for_a_child_that_cannot_die():
    engine = Engine().run()
    engine.beats(captured=2 * S)
    engine.coordinator.stop(engine.now, "SIGTERM")
    seen = []
    for _ in range(600):
        engine.now += 0.1
        seen += engine.tick()
        if of_kind(seen, Exit):
            break
    assert of_kind(seen, Kill)[-2:] == [Kill(CAPTURE), Kill(STREAMING)]
    assert [log.event for log in of_kind(seen, Log)][-1] == "cannot_be_killed"
    assert seen[-1] == Exit(ExitCode.CRASH)
    assert engine.now < 100.0 + 30.5
