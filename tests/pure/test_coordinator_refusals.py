"""The coordinator: refusals, what ends the engine, what is waited for, and what is told of it."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Exit, Log, Terminate
from mpengine.supervisor.decide.coordinator import Coordinator
from tests.pure.engine_history import (
    BYOK,
    CAPTURE,
    FILE,
    SIGKILL,
    STREAMING,
    Engine,
    S,
    connecting,
    device_opened,
    down,
    heard,
    hello,
    published,
    quiet,
)
from tests.pure.support import of_kind

WAITING = {**BYOK, "supervisor": {"wait": True}}
WORDS = "refused by the service: HTTP 401: INVALID_AUTH"
DAY_S = 86400.0


def refused(number, reason=WORDS):
    return control.ConnectionDown(connection=number, reason=reason, next_try_in_s=1.0, is_refusal=True)


def fault(message=WORDS, code="unauthorized", exit_code=None):
    return control.Fault(code=code, message=message, exit_code=exit_code)


def faults(actions):
    return published(actions, messages.Error)


# What ends the engine


@pytest.mark.parametrize("exit_code", [ExitCode.CONFIG, ExitCode.ACCOUNT])
def test_before_the_first_result_the_end_of_streaming_ends_the_engine(exit_code):
    engine = Engine().run()
    (error,) = faults(engine.says(STREAMING, fault(exit_code=int(exit_code))))
    assert error.fatal
    assert Terminate(CAPTURE) in engine.ends(STREAMING, int(exit_code))
    assert engine.ends(CAPTURE, 0) == [Exit(exit_code)]


@pytest.mark.parametrize("is_final", [True, False])
def test_one_result_is_enough_for_all_processes_to_come(is_final):
    engine = Engine().run()
    assert engine.coordinator.lives.gives_up
    engine.says(STREAMING, heard(0, S, is_final=is_final))
    assert not engine.coordinator.lives.gives_up
    assert of_kind(engine.ends(STREAMING, int(ExitCode.ACCOUNT)), Terminate, Exit) == []
    assert of_kind(engine.ends(CAPTURE, int(ExitCode.DEVICE)), Terminate, Exit) == []


def test_a_result_of_a_connection_before_is_none():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S, connection=7))
    assert engine.coordinator.lives.gives_up


@pytest.mark.parametrize(("acknowledged", "gives_up"), [(0, True), (S, False)])
def test_a_run_that_goes_on_has_brought_what_its_journal_has(acknowledged, gives_up):
    coordinator = Coordinator(Config.parse(BYOK), chance=lambda: 1.0, now=100.0)
    coordinator.continues(acknowledged=acknowledged, captured=2 * S, sent=S, connection=1)
    assert coordinator.lives.gives_up is gives_up


def test_a_final_in_the_journal_is_enough():
    coordinator = Coordinator(Config.parse(BYOK), chance=lambda: 1.0, now=100.0)
    final = messages.Transcript(text="words", is_final=True, start_s=0.0, end_s=1.0)
    coordinator.continues(acknowledged=0, captured=2 * S, sent=S, connection=1, finals=iter([final]))
    assert not coordinator.lives.gives_up


@pytest.mark.parametrize(("child", "exit_code"), [(STREAMING, ExitCode.ACCOUNT), (CAPTURE, ExitCode.DEVICE)])
def test_an_engine_that_was_told_to_wait_waits(child, exit_code):
    engine = Engine(WAITING).start()
    (error,) = faults(engine.says(child, fault(exit_code=int(exit_code))))
    assert not error.fatal
    assert of_kind(engine.ends(child, int(exit_code)), Terminate, Exit) == []
    assert engine.coordinator.lives[child].spawn_at >= engine.now


@pytest.mark.parametrize("child", [STREAMING, CAPTURE])
def test_a_wrong_configuration_ends_it_all_the_same(child):
    engine = Engine(WAITING).start()
    (error,) = faults(engine.says(child, fault(code="config", exit_code=int(ExitCode.CONFIG))))
    assert error.fatal
    assert of_kind(engine.ends(child, int(ExitCode.CONFIG)), Terminate)


# The log


def test_words_that_the_fault_has_told_are_not_told_again_with_the_connection():
    engine = Engine().start()
    engine.hears()
    (told,) = of_kind(engine.says(STREAMING, connecting(1), fault(), refused(1)), Log)[:1]
    assert (told.level, told.event, told.fields["message"]) == ("warning", "fault", WORDS)
    engine.says(STREAMING, connecting(2))
    (down,) = of_kind(engine.says(STREAMING, refused(2, "HTTP 503")), Log)
    assert (down.level, down.event, down.fields["reason"]) == ("warning", "connection_down", "HTTP 503")


# The status


@pytest.mark.parametrize("tables", [BYOK, WAITING])
def test_an_engine_that_is_refused_is_degraded_at_once_in_the_words_of_the_refusal(tables):
    engine = Engine(tables).start()
    engine.hears()
    engine.says(STREAMING, connecting(1), refused(1))
    assert (engine.status().state, engine.status().reason) == ("degraded", WORDS)
    engine.connect(2)
    assert engine.status().state != "degraded"


def test_a_refusal_is_the_reason_though_streaming_was_killed_before():
    engine = Engine().run()
    engine.ends(STREAMING, SIGKILL)
    engine.tick()
    engine.says(STREAMING, hello(), connecting(2))
    assert engine.status().reason == "streaming: killed by SIGKILL"
    engine.says(STREAMING, refused(2))
    assert (engine.status().state, engine.status().reason) == ("degraded", WORDS)


def test_an_engine_whose_file_is_over_is_degraded_while_it_is_refused():
    engine = Engine({**FILE, "supervisor": {"wait": True}}).start()
    engine.says(CAPTURE, device_opened(), control.SourceEnded(end=5 * S))
    engine.says(STREAMING, connecting(1), refused(1))
    assert (engine.status().state, engine.status().reason) == ("degraded", WORDS)
    engine.connect(2)
    assert engine.status().state == "stopping"


def test_an_engine_without_a_device_that_was_told_to_wait_is_degraded():
    engine = Engine(WAITING).start()
    engine.connect()
    engine.says(CAPTURE, fault("no such device", "device", exit_code=int(ExitCode.DEVICE)))
    engine.ends(CAPTURE, int(ExitCode.DEVICE))
    assert (engine.status().state, engine.status().reason) == ("degraded", "capture: no such device")


def refused_s(engine):
    coordinator = engine.coordinator
    return coordinator.situation.metrics(coordinator.lives, {}, {}, engine.now).refused_s


def test_how_long_a_refusal_has_stood_is_counted_from_the_first_one():
    engine = Engine().run()
    assert refused_s(engine) == 0.0
    for number, engine.now in ((1, 110.0), (2, 120.0), (3, 150.0)):
        engine.says(STREAMING, connecting(number), refused(number))
    engine.now = 170.0
    assert refused_s(engine) == 60.0
    engine.connect(4)
    assert refused_s(engine) == 0.0
    engine.now = 180.0
    engine.says(STREAMING, control.ConnectionDown(connection=4, reason="reset", next_try_in_s=0.5))
    assert refused_s(engine) == 0.0


def test_a_refusal_that_comes_after_each_upgrade_stands_all_the_while():
    """The recogniser upgrades each connection and closes it with an error at once."""
    engine, states = Engine().run(), set()
    for number, engine.now in ((1, 110.0), (2, 120.0), (3, 150.0)):
        if number > 1:
            engine.connect(number)
            states.add(engine.status().state)
        engine.says(STREAMING, refused(number))
        states.add(engine.status().state)
    assert states == {"degraded"}
    assert refused_s(engine) == 40.0
    engine.now = 160.0
    engine.connect(4)
    engine.now = 170.5
    assert engine.status().state == "running"
    assert refused_s(engine) == 0.0
    engine.says(STREAMING, refused(4))
    engine.connect(5)
    assert engine.status().state == "degraded"
    engine.says(STREAMING, heard(0, S, connection=5, is_final=False))
    assert engine.status().state == "running"


def test_how_long_it_does_not_run_is_known():
    engine = Engine().run()
    situation = engine.coordinator.situation
    engine.now = 130.0
    engine.status()
    assert situation.not_running_s(130.0) == 0.0
    engine.now = 140.0
    engine.says(STREAMING, refused(1))
    engine.status()
    assert situation.not_running_s(210.0) == 70.0


def test_a_recogniser_that_closes_each_connection_at_once_does_not_make_it_run():
    engine = Engine().run()
    situation = engine.coordinator.situation
    for number in range(1, 11):
        engine.now += 10.0
        engine.connect(number)
        engine.status()
        engine.says(STREAMING, down(number, "closed: 1011"))
        engine.status()
    assert situation.not_running_s(engine.now) > 80.0
    engine.connect(11)
    engine.says(STREAMING, heard(0, S, connection=11, is_final=False))
    assert engine.status().state == "running"
    assert situation.not_running_s(engine.now) == 0.0


def test_an_engine_that_is_refused_makes_progress_for_the_watchdog():
    engine = Engine(WAITING).start()
    engine.says(CAPTURE, device_opened())
    engine.says(STREAMING, connecting(1), refused(1))
    quiet(engine, 400.0, captured=lambda now: int((now - 100.0) * S), sent=lambda _: 0)
    assert engine.coordinator.lives.stands_still_s(engine.now) < 2.0


# What is told


def test_a_first_connection_that_is_refused_is_no_other_error_after_15_s():
    engine = Engine(WAITING).start()
    engine.says(STREAMING, connecting(1), refused(1))
    assert len(faults(engine.says(STREAMING, fault()))) == 1
    assert faults(engine.tick(116.0)) == []
    assert engine.status().state == "degraded"


def test_a_refusal_that_stands_is_told_again_once_a_day():
    engine = Engine().run()
    engine.says(STREAMING, heard(0, S), refused(1))
    told = faults(engine.says(STREAMING, fault()))
    for hour in range(1, 73):
        engine.now = 100.0 + 3600.0 * hour
        engine.says(STREAMING, connecting(hour + 1), refused(hour + 1))
        told += faults(engine.tick())
    assert [error.message for error in told if error.code == "unauthorized"] == [WORDS] * 4


def test_a_refusal_that_is_over_is_not_told_again():
    engine = Engine().run()
    engine.says(STREAMING, refused(1), fault())
    engine.connect(2)
    engine.now += 2 * DAY_S
    engine.coordinator.overslept(engine.now, 2 * DAY_S)
    assert [error for error in faults(engine.tick()) if error.code == "unauthorized"] == []


def test_a_missing_device_is_told_again_once_a_day():
    engine = Engine(WAITING).start()
    missing = fault("no such device", "device", exit_code=int(ExitCode.DEVICE))
    told = faults(engine.says(CAPTURE, missing))
    engine.ends(CAPTURE, int(ExitCode.DEVICE))
    engine.now += DAY_S
    engine.coordinator.overslept(engine.now, DAY_S)
    told += [error for error in faults(engine.tick()) if error.code == "device"]
    assert [error.message for error in told] == ["no such device"] * 2


def test_errors_in_ever_new_words_are_published_twenty_a_minute_and_the_rest_is_counted():
    engine, told = Engine().run(), []
    for number in range(1000):
        told += faults(engine.says(STREAMING, fault(f"words {number}", "busy")))
    assert len(told) == 21
    engine.now += 61.0
    engine.coordinator.overslept(engine.now, 61.0)
    actions = engine.tick()
    assert [error.message for error in faults(actions)] == ["words 999 (978 other errors of streaming are left out)"]
    assert len(of_kind(actions, Log)) == 1


def test_an_engine_that_ends_says_how_many_errors_it_left_out():
    engine = Engine().run()
    for number in range(100):
        engine.says(STREAMING, fault(f"words {number}", "busy"))
    engine.says(STREAMING, down(1))
    (error,) = faults(engine.stop())
    assert error.message == "words 99 (78 other errors of streaming are left out)"


def test_a_fatal_error_is_never_left_out():
    engine = Engine().run()
    for number in range(100):
        engine.says(STREAMING, fault(f"words {number}", "busy"))
    (error,) = faults(engine.says(STREAMING, fault(exit_code=int(ExitCode.ACCOUNT))))
    assert error.fatal


def test_an_error_in_many_words_is_cut():
    (error,) = faults(Engine().run().says(STREAMING, fault("x" * 1_000_000, "c" * 1_000_000)))
    assert len(error.message) + len(error.code) < 1100
