"""The coordinator: histories of what happens to the engine, and what it decides."""

import msgspec
import pytest

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import (
    Abort,
    Acknowledge,
    Child,
    Exit,
    Kill,
    Log,
    Publish,
    Send,
    Spawn,
    Terminate,
)
from mpengine.supervisor.decide.child_life import ChildState
from mpengine.supervisor.decide.coordinator import Coordinator, Phase
from mpengine.supervisor.decide.results import MOST_TRIES, EndTries
from tests.pure.support import of_kind, result

CAPTURE, STREAMING, RECOGNISER = Child.CAPTURE, Child.STREAMING, Child.RECOGNISER
S = 16000
BYOK = {"remote": {"mode": "byok", "byok_api_key": "k"}}
CONNECTED_FIRST = {**BYOK, "audio": {"start": "connected"}}
FILE = {**BYOK, "audio": {"source": "talk.wav"}}
LOCAL = {"remote": {"mode": "local"}}
SIGKILL = -9


class Engine:
    """A coordinator, with children that exist as long as it is told so; time is set by hand."""

    def __init__(self, tables=BYOK, now=100.0):
        self.now = now
        self.coordinator = Coordinator(Config.parse(tables), chance=lambda: 1.0, now=now)
        self._next_pid = 1000

    def tick(self, now=None):
        """Let time pass; what is decided. Children that are to be spawned are."""
        self.now = self.now if now is None else now
        actions = self.coordinator.tick(self.now)
        for spawn in of_kind(actions, Spawn):
            self._next_pid += 1
            self.coordinator.spawned(spawn.child, self._next_pid, self.now)
        return actions

    def says(self, child, *several):
        """A child says these; what is decided."""
        return [action for message in several for action in self.coordinator.heard(child, message, self.now)]

    def beats(self, *, captured, sent=None):
        self.says(CAPTURE, control.CaptureBeat(captured=captured))
        sent = captured if sent is None else sent
        self.says(STREAMING, control.StreamBeat(sent=sent, highest_sent=sent, replayed=0))

    def ends(self, child, status):
        return self.coordinator.exited(child, status, self.now)

    def stop(self):
        return self.coordinator.stop(self.now, "SIGTERM")

    def status(self):
        coordinator = self.coordinator
        return coordinator.situation.status(coordinator.lives, coordinator.phase.name, self.now)

    # Whole stretches of a history

    def start(self):
        """Everything is spawned and has said hello."""
        self.tick()
        for child in self.coordinator.lives:
            self.says(child, hello())
        return self

    def connect(self, number=1):
        return self.says(STREAMING, connecting(number), ready(number))

    def run(self):
        """Everything runs: the device is open, the recogniser connected, two seconds were sent."""
        self.start()
        self.says(CAPTURE, device_opened())
        self.connect()
        self.beats(captured=2 * S)
        self.status()  # as in every turn of the supervisor's loop
        return self


def hello():
    return control.Hello(pid=1)


def device_opened():
    return control.DeviceOpened(name="USB", sample_rate=S, channels=1, latency_s=0.08)


def connecting(number):
    return control.Connecting(connection=number, endpoint="wss://service")


def ready(number):
    return control.ConnectionReady(connection=number, endpoint="wss://service", request_id="r")


def down(number, reason="reset"):
    return control.ConnectionDown(connection=number, reason=reason, next_try_in_s=0.5)


def heard(first, end, *, connection=1, is_final=True, text="words", acknowledges=None):
    if is_final and acknowledges is None:
        acknowledges = end
    return result(first, end, text, is_final=is_final, acknowledges=acknowledges, connection=connection)


def published(actions, kind=None):
    found = [action.message for action in of_kind(actions, Publish)]
    return of_kind(found, kind) if kind else found


def sent(actions):
    """The commands, but for what streaming is to expect."""
    return [send for send in of_kind(actions, Send) if not isinstance(send.message, control.Expect)]


def expected(actions):
    """What streaming is told of the audio to come, in order."""
    assert all(send.child is STREAMING for send in of_kind(actions, Send) if send not in sent(actions))
    return [send.message.audio for send in of_kind(actions, Send) if send not in sent(actions)]


def resumes(actions):
    """The grants to send, in order."""
    return [send.message for send in sent(actions) if isinstance(send.message, control.Grant)]


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
    assert sent(Engine().start().connect()) == [Send(CAPTURE, control.Grant(connection=1, sample=0))]


def test_a_capture_that_comes_late_may_send_at_once():
    engine = Engine()
    engine.tick()
    engine.connect()
    assert resumes(engine.says(CAPTURE, hello())) == [control.Grant(connection=1, sample=0)]


def test_by_default_capture_opens_the_device_without_waiting():
    assert Engine().coordinator.may_open_device


# audio.start = connected


def test_a_device_that_waits_is_opened_when_connected():
    engine = Engine(CONNECTED_FIRST)
    assert not engine.coordinator.may_open_device
    engine.start()
    assert sent(engine.connect()) == [
        Send(CAPTURE, control.OpenDevice()),
        Send(CAPTURE, control.Grant(connection=1, sample=0)),
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
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=0))]


@pytest.mark.parametrize("tables", [BYOK, CONNECTED_FIRST])
def test_without_a_connection_for_15_s_there_is_an_error_and_the_engine_tries_on(tables):
    engine = Engine(tables).start()
    engine.says(STREAMING, connecting(1), down(1, "no route"))
    assert published(engine.tick(114.9)) == []
    (error,) = published(engine.tick(115.0))
    assert (error.code, error.fatal) == ("connect_timeout", False)
    assert error.message == "Timed out connecting to wss://service after 15 s: no route; retrying"
    assert engine.status().state == "degraded"


def test_the_error_of_a_missing_connection_comes_once():
    engine = Engine().start()
    engine.tick(115.0)
    assert published(engine.tick(119.0), messages.Error) == []


def test_with_a_connection_there_is_no_such_error():
    engine = Engine().run()
    assert published(engine.tick(115.0)) == []


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
    engine.says(STREAMING, heard(0, S))
    engine.says(STREAMING, down(1))
    engine.connect(2)
    assert engine.says(STREAMING, heard(0, S, connection=2)) == []


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
            control.LevelHeard(rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False),
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
    engine.coordinator.continues(acknowledged=S, captured=3 * S, sent=2 * S, connection=7)
    engine.start()
    assert sent(engine.connect(8)) == [Send(CAPTURE, control.Grant(connection=8, sample=S))]
    assert engine.status().unacknowledged_s == 2.0
    assert engine.says(STREAMING, heard(0, S, connection=8)) == []


def test_anchors_give_transcripts_their_utc():
    engine = Engine().run()
    engine.says(CAPTURE, control.Anchor(sample=0, utc_ns=10**18))
    (transcript,) = published(engine.says(STREAMING, heard(S, 2 * S)))
    assert transcript.start_time_ns == 10**18 + 10**9


def test_what_was_heard_before_the_kill_had_been_sent_whatever_the_journal_says():
    """It has how far sending was a second or two before."""
    final = messages.Transcript(text="words", is_final=True, start_s=2.0, end_s=3.5, connection=7, estimated=True)
    engine = Engine()
    engine.coordinator.continues(acknowledged=S, captured=4 * S, sent=2 * S, connection=7, finals=iter([final]))
    assert engine.coordinator.situation.highest_sent == 3.5 * S


# A lost connection


def test_the_next_connection_begins_at_the_first_sample_that_is_not_acknowledged():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S))
    engine.says(STREAMING, down(1))
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=S))]


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
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=S))]


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
    assert resumes(engine.says(CAPTURE, hello())) == [control.Grant(connection=1, sample=S)]


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


def test_after_a_pause_audio_is_to_be_expected_once_the_device_is_open():
    engine = paused()
    assert expected(engine.coordinator.resume()) == []
    assert expected(engine.says(CAPTURE, device_opened())) == [True]


def test_a_device_that_has_gone_is_told_to_streaming_until_it_is_back():
    engine = without_a_device()
    for _ in range(3):
        assert expected(try_to_open(engine)) == []
    engine.now = engine.coordinator.lives[CAPTURE].spawn_at
    engine.tick()
    assert expected(engine.says(CAPTURE, hello(), device_opened())) == [True]


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


def test_the_first_connection_is_wanted_in_any_case():
    engine = Engine().start()
    engine.coordinator.pause()
    assert engine.coordinator.expects_audio
    engine.says(STREAMING, connecting(1), down(1))
    assert engine.coordinator.expects_audio
    assert expected(engine.connect(2)) == [False]


def test_a_connection_before_the_device_is_open_is_wanted_and_kept():
    engine = Engine(CONNECTED_FIRST).start()
    assert engine.coordinator.expects_audio
    assert expected(engine.connect()) == [False]
    assert expected(engine.says(CAPTURE, device_opened())) == [True]


def test_a_supervisor_started_again_wants_its_first_connection():
    engine = Engine()
    engine.coordinator.continues(acknowledged=S, captured=S, sent=S, connection=7)
    assert expected(engine.start().says(STREAMING, hello())) == [True]


def test_the_end_of_a_file_is_to_be_confirmed_though_nothing_is_left_to_send():
    engine = ended_file()
    engine.says(STREAMING, heard(S, 3 * S))
    engine.says(STREAMING, down(1))
    assert expected(engine.ends(CAPTURE, SIGKILL)) == []
    engine.beats(captured=3 * S)
    assert engine.coordinator.expects_audio


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


# Stopping


def leaves(actions):
    """Who is told to end now."""
    return {action.child for action in of_kind(actions, Terminate)}


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
    assert sent(engine.says(STREAMING, ready(1))) == [Send(CAPTURE, control.Grant(connection=1, sample=0))]


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


@pytest.mark.parametrize("is_paused", [False, True])
def test_what_was_said_before_capture_could_hear_is_said_again(is_paused):
    engine = Engine(CONNECTED_FIRST)
    engine.tick()
    engine.connect()
    if is_paused:
        engine.coordinator.pause()
    wanted = control.CloseDevice() if is_paused else control.OpenDevice()
    assert sent(engine.says(CAPTURE, hello()))[0] == Send(CAPTURE, wanted)


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


# The end of a file


def ended_file(*, connected=True):
    """A file of three seconds is over; two of them were sent, one is acknowledged."""
    engine = Engine(FILE).run() if connected else Engine(FILE).start()
    engine.says(CAPTURE, control.SourceEnded(end=3 * S))
    if connected:
        engine.says(STREAMING, heard(0, S))
    return engine


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
    assert sent(engine.connect(2)) == [Send(CAPTURE, control.Grant(connection=2, sample=S))]


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
        Send(CAPTURE, control.Grant(connection=1, sample=S)),
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


# When to wake


def test_it_wakes_for_the_connect_limit_first():
    engine = Engine().start()
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


def test_what_has_its_result_is_no_gap():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S))
    missing = control.SamplesMissing(first=0, end=S + 100, reason="window_full")
    (gap,) = published(engine.says(CAPTURE, missing), messages.Gap)
    assert gap.samples == 100


# Work that stands still


def quiet(engine, until, **beats):
    """Time passes; both say that they are well, and how far they are."""
    actions = []
    while engine.now < until:
        engine.now += 1.0
        engine.beats(**{name: value(engine.now) for name, value in beats.items()})
        actions += engine.tick()
    return actions


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


# A silent device


def levels(engine, count, *, is_silent):
    level = control.LevelHeard(rms_dbfs=-120.0, peak_dbfs=-120.0, digital_silence=is_silent)
    told = [each for _ in range(count) for each in published(engine.says(CAPTURE, level))]
    return [each for each in told if isinstance(each, messages.Error)]


def test_ten_seconds_of_digital_silence_are_told_once_until_it_is_heard_again():
    engine = Engine().run()
    assert levels(engine, 39, is_silent=True) == []
    (told,) = levels(engine, 400, is_silent=True)
    assert (told.code, told.fatal) == ("digital_silence", False)
    levels(engine, 1, is_silent=False)
    assert len(levels(engine, 40, is_silent=True)) == 1


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


def test_in_a_pause_a_capture_that_dies_is_not_all_right():
    engine = Engine().run()
    engine.coordinator.pause()
    engine.says(CAPTURE, control.DeviceClosed())
    assert (engine.status().state, engine.status().reason) == ("running", "paused")
    engine.ends(CAPTURE, SIGKILL)
    assert engine.status().state == "degraded"
    assert "killed by SIGKILL" in engine.status().reason


def test_when_all_is_over_nothing_is_started():
    engine = Engine().run()
    engine.ends(STREAMING, SIGKILL)
    engine.coordinator.stop_at_once("SIGINT")
    assert engine.tick(200.0) == []


LEVEL = control.LevelHeard(rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=False)


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


def test_a_stop_while_all_leave_after_the_end_of_a_file_changes_nothing():
    engine = Engine(FILE).run()
    engine.says(CAPTURE, control.SourceEnded(end=2 * S))
    engine.says(STREAMING, control.StreamEnded(sent=2 * S))
    assert engine.coordinator.phase is Phase.LEAVING
    assert engine.stop() == []
    assert engine.coordinator.phase is Phase.LEAVING
