"""One child's life: table of its ends, backoff, silence, what is seen of it."""

import pytest

from mpengine.shared.config_tables import SupervisorConfig
from mpengine.shared.errors import ExitCode
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.child_life import ChildState, Ended, Life, Lives
from mpengine.supervisor.decide.hangs import Seen
from tests.pure.support import look

POLICY = SupervisorConfig(
    backoff_s=0.5, backoff_ceiling_s=8.0, stable_after_s=10.0, hang_limit_s=20.0, first_frame_limit_s=60.0
)


@pytest.fixture
def life():
    return Life(POLICY, 100.0)


def running(now=100.0, *, has_worked=False):
    life = Life(POLICY, now)
    life.spawned(7, now)
    life.heard(now)
    if has_worked:
        life.worked(now)
    return life


# From state to state


def test_it_is_due_at_once(life):
    assert (life.state, life.is_alive, life.is_due(100.0)) == (ChildState.STOPPED, False, True)


def test_spawned_is_not_running(life):
    life.spawned(7, 100.0)
    assert (life.state, life.is_alive, life.pid, life.is_due(200.0)) == (ChildState.STARTING, True, 7, False)


def test_its_own_word_makes_it_running(life):
    life.spawned(7, 100.0)
    life.heard(100.5)
    assert life.state is ChildState.RUNNING


def test_a_stop_is_no_crash():
    life = running()
    life.stopping()
    assert life.state is ChildState.STOPPING
    assert life.exited(0, 101.0, 1.0) == Ended("exit code 0", None)
    assert (life.state, life.is_due(10_000.0), life.pid) == (ChildState.STOPPED, False, None)


@pytest.mark.parametrize("status", [-9, 1, 2, 4])
def test_after_a_stop_no_end_is_a_reason_to_fail(status):
    life = running()
    life.stopping()
    assert life.exited(status, 101.0, 1.0).exit_code is None
    assert life.state is ChildState.STOPPED


def test_a_child_in_backoff_that_is_stopped_is_not_spawned_again():
    life = running()
    life.exited(1, 101.0, 1.0)
    life.stopping()
    assert (life.state, life.is_due(10_000.0)) == (ChildState.STOPPED, False)


def test_hearing_of_a_stopping_child_does_not_make_it_running():
    life = running()
    life.stopping()
    life.heard(101.0)
    assert life.state is ChildState.STOPPING


# What an end means


@pytest.mark.parametrize(
    ("status", "has_worked", "exit_code"),
    [
        (0, False, None),
        (1, False, None),
        (2, False, ExitCode.CONFIG),
        (2, True, ExitCode.CONFIG),
        (3, False, ExitCode.DEVICE),
        (3, True, None),
        (4, False, ExitCode.ACCOUNT),
        (4, True, ExitCode.ACCOUNT),
        (5, False, None),
        (120, False, None),
        (-9, False, None),
        (-11, True, None),
        (-40, True, None),
    ],
)
def test_an_end_is_for_good_or_is_tried_again(status, has_worked, exit_code):
    life = running(has_worked=has_worked)
    assert life.exited(status, 101.0, 1.0).exit_code == exit_code
    assert life.state is (ChildState.FATAL if exit_code else ChildState.BACKOFF)


@pytest.mark.parametrize(("status", "exit_code"), [(2, ExitCode.CONFIG), (3, None), (4, None), (1, None)])
@pytest.mark.parametrize("why", ["asked to wait", "has brought a result"])
def test_an_engine_that_does_not_give_up_ends_for_a_wrong_configuration_alone(why, status, exit_code):
    policy = SupervisorConfig(wait=why == "asked to wait")
    lives = Lives([Child.CAPTURE], policy, chance=lambda: 1.0, now=100.0)
    if why == "has brought a result":
        assert lives.gives_up
        lives.keep_on()
    assert not lives.gives_up
    lives[Child.CAPTURE].spawned(7, 100.0)
    assert lives.exited(Child.CAPTURE, status, 101.0).exit_code == exit_code


@pytest.mark.parametrize(
    ("status", "how"), [(-9, "killed by SIGKILL"), (-11, "killed by SIGSEGV"), (0, "exit code 0"), (1, "exit code 1")]
)
def test_how_it_ended_is_said(status, how):
    life = running()
    assert life.exited(status, 101.0, 1.0).how == how
    assert life.reason == how


def test_its_last_words_are_the_reason():
    life = running()
    life.complained("the device is busy")
    life.exited(1, 101.0, 1.0)
    assert life.reason == "the device is busy"


def test_last_words_are_those_of_one_life():
    life = running()
    life.complained("the device is busy")
    life.exited(1, 101.0, 1.0)
    life.spawned(8, 101.0)
    life.exited(-9, 102.0, 1.0)
    assert life.reason == "killed by SIGKILL"


def test_the_reason_is_gone_when_it_works_again():
    life = running()
    life.exited(1, 101.0, 1.0)
    life.spawned(8, 101.0)
    life.worked(101.0)
    assert life.reason == ""


def test_what_is_fatal_is_never_spawned_again():
    life = running()
    life.exited(2, 101.0, 1.0)
    assert (life.is_due(10_000.0), life.deadline) == (False, float("inf"))


# Trying again


def waits(ends, *, chance=1.0, works=True, policy=POLICY):
    """How long it waits after each end, having beaten, and worked, for so many seconds."""
    life, now, found = Life(policy, 100.0), 100.0, []
    for lived in ends:
        life.spawned(7, now)
        life.heard(now)
        if works:
            life.worked(now)
        now += lived
        life.heard(now)
        life.progress(0, now, is_expected=False)
        life.exited(1, now, chance)
        found.append(life.spawn_at - now)
        now = life.spawn_at
    return found


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([1] * 8, [0, 0.5, 1, 2, 4, 8, 8, 8]),
        ([100, 100, 100], [0, 0, 0]),
        ([1, 1, 1, 10, 1, 1], [0, 0.5, 1, 0, 0.5, 1]),
        ([9.9, 9.9], [0, 0.5]),
    ],
    ids=["crashes at once", "crashes after a while", "stable in between", "not quite stable"],
)
def test_the_first_try_is_at_once_and_then_the_wait_doubles(ends, expected):
    assert waits(ends) == pytest.approx(expected)


def test_one_that_never_does_its_work_waits_however_long_it_beats():
    assert waits([100] * 4, works=False) == pytest.approx([0, 0.5, 1, 2])


def test_by_default_two_seconds_of_work_are_enough_ten_times_a_minute():
    expected = [*[0] * 10, 0.5, 1, 2, 4, 8, 16, 0]
    assert waits([2.0] * 17, policy=SupervisorConfig()) == pytest.approx(expected)


def test_one_that_works_less_often_than_ten_times_a_minute_never_waits():
    assert waits([6.0] * 100, policy=SupervisorConfig()) == [0] * 100


def test_a_device_that_is_open_and_gives_nothing_has_not_worked():
    life, now = Life(SupervisorConfig(), 100.0), 100.0
    for expected in (0.0, 0.5, 1.0):
        life.spawned(7, now)
        life.heard(now)
        life.worked(now)
        for passed in range(1, 4):
            life.heard(now + passed)
            life.progress(0, now + passed, is_expected=True)
        life.exited(3, now + 3, 1.0)
        assert life.spawn_at - (now + 3) == expected
        now = life.spawn_at


def test_a_recogniser_works_from_its_first_beat_on():
    life = Life(SupervisorConfig(), 100.0)
    for now, expected in ((100.0, 0.0), (200.0, 0.5)):
        life.spawned(7, now)
        life.began(now)
        life.worked(now)
        life.heard(now + 10)
        life.progress(0, now + 10, is_expected=False)
        life.exited(1, now + 11, 1.0)
        assert life.spawn_at - (now + 11) == expected


def test_chance_spreads_the_waits():
    assert waits([1] * 4, chance=0.5) == pytest.approx([0, 0.25, 0.5, 1])


def test_it_is_due_when_the_wait_is_over():
    life = running()
    life.exited(1, 101.0, 1.0)
    life.spawned(8, 101.0)
    life.exited(1, 102.0, 1.0)
    assert not life.is_due(102.49)
    assert life.is_due(102.5)
    assert life.deadline == 102.5


def test_a_spawn_that_failed_waits_longer_every_time(life):
    found = []
    now = 100.0
    for _ in range(4):
        life.failed(now, 1.0)
        found.append(life.spawn_at - now)
        now = life.spawn_at
    assert found == pytest.approx([0, 0.5, 1, 2])


def test_restarts_are_counted_and_the_first_start_is_none():
    life = running()
    assert life.restarts == 0
    life.exited(1, 101.0, 1.0)
    life.spawned(8, 101.0)
    assert life.restarts == 1


# Silence


@pytest.mark.parametrize(("limit", "speaks"), [(60.0, False), (20.0, True)])
def test_silence_is_counted_from_the_last_word(life, limit, speaks):
    life.spawned(7, 100.0)
    if speaks:
        life.heard(100.0)
    assert not life.hangs(100.0 + limit - 0.1)
    assert life.hangs(100.0 + limit)
    life.looked(None, 100.0 + limit - 0.5)
    assert life.deadline == 100.0 + limit


def test_a_word_starts_the_silence_anew():
    life = running()
    life.heard(115.0)
    assert not life.hangs(134.9)


def test_silence_while_the_supervisor_slept_does_not_count():
    life = running()
    life.overslept(500.0)
    assert not life.hangs(519.9)
    assert life.hangs(520.0)


def test_a_child_that_does_not_run_cannot_hang(life):
    assert not life.hangs(10_000.0)


@pytest.mark.parametrize(("limit", "speaks"), [(120.0, False), (40.0, True)])
def test_on_a_slow_board_the_limits_are_stretched(limit, speaks):
    life = Life(SupervisorConfig(patience=2.0), 100.0)
    life.spawned(7, 100.0)
    if speaks:
        life.heard(100.0)
    assert not life.hangs(100.0 + limit - 0.1)
    assert life.hangs(100.0 + limit) == f"no sign of life for {limit:g} s"


# Work that stands still


def beating(life, until, counter=None, *, is_expected=True):
    """It says every second that it is well; `counter` gives how far it is."""
    for now in range(101, until + 1):
        life.heard(now)
        life.progress(counter(now) if counter else 0, now, is_expected=is_expected)


def test_a_child_that_is_well_and_gets_on_does_not_hang():
    life = running()
    beating(life, 200, lambda now: now)
    assert not life.hangs(200.0)
    assert life.stands_still_s(200.0) == 0.0


def test_a_child_that_says_it_is_well_and_does_nothing_hangs():
    life = running()
    beating(life, 120)
    assert not life.hangs(120.9)
    assert life.stands_still_s(120.9) == pytest.approx(19.9)
    assert life.hangs(121.0) == "it gives signs of life, but its work has stood still for 20 s"


def test_where_nothing_is_expected_nothing_stands_still():
    life = running()
    beating(life, 200, is_expected=False)
    assert not life.hangs(200.0)
    life.progress(0, 200.0, is_expected=True)
    assert life.stands_still_s(219.0) == 19.0
    life.heard(219.0)
    assert life.deadline == 220.0


def test_work_that_goes_back_goes_on():
    """A file's reader may begin again."""
    life = running()
    beating(life, 200, lambda now: 1000 - now)
    assert not life.hangs(200.0)


def test_a_new_life_has_its_own_time_to_get_on():
    life = running()
    beating(life, 119)
    life.exited(1, 119.0, 1.0)
    life.spawned(8, 119.0)
    life.heard(119.0)
    life.progress(0, 119.0, is_expected=True)
    assert not life.hangs(138.9)


def test_one_that_was_asked_where_it_hangs_has_a_second_and_one_that_was_killed_five():
    life = running()
    life.aborting(120.0)
    assert not life.hangs(120.9)
    assert life.hangs(121.0) == "it does not end"
    life.killing(121.0)
    assert life.deadline == 126.0
    assert not life.hangs(125.9)
    assert life.hangs(126.0)


def test_a_child_that_hangs_again_and_again_backs_off():
    """The time that it hung is no time that it was well."""
    life, now, waits = running(has_worked=True), 100.0, []
    for _ in range(4):
        life.heard(now + 1)
        life.aborting(now + 21)
        life.exited(-6, now + 22, 1.0)
        waits.append(life.spawn_at - (now + 22))
        now = life.spawn_at
        life.spawned(9, now)
        life.heard(now)
        life.worked(now)
    assert waits == [0.0, 0.5, 1.0, 2.0]


def test_one_that_hangs_after_a_long_time_of_work_is_started_again_at_once():
    life = running()
    life.failed(100.0, 1.0)
    life.spawned(8, 100.0)
    life.heard(100.0)
    life.worked(100.0)
    life.heard(500.0)
    life.progress(1, 500.0, is_expected=True)
    life.aborting(520.0)
    life.exited(-6, 521.0, 1.0)
    assert life.spawn_at == 521.0


def test_one_that_never_ran_is_not_stable_however_late_it_dies(life):
    for expected in (0.0, 0.5, 1.0):
        now = life.spawn_at
        life.spawned(7, now)
        life.began(now + 1)
        life.exited(1, now + 50, 1.0)
        assert life.spawn_at - (now + 50) == expected


def test_a_device_may_take_as_long_to_open_as_a_process_to_start():
    life = running()
    life.opening()
    assert not life.hangs(159.9)
    assert life.hangs(160.0)
    life.worked(100.0)
    assert life.hangs(120.0)


def test_the_first_progress_may_take_as_long_too():
    life = running()
    for now in range(101, 161):
        life.heard(now)
        life.progress(0, now, is_expected=True, may_be_slow=True)
    assert not life.hangs(160.9)
    assert life.hangs(161.0)


def test_one_that_does_not_beat_any_more_is_not_said_to_be_well():
    """As one that was stopped just behind a message that was no beat: its work is missed before its voice."""
    life = running()
    beating(life, 110)
    life.heard(115.0)
    assert life.hangs(121.0) == "no sign of life for 6 s"


# What is seen of a silent one

BLOCKED = {"states": "SS", "switches": 5}
STOPPED = {"states": "TT", "switches": 5}


def first_look(life, states="SS", **more):
    """The first look at a life that was heard last at 100.0 s, as early as it may be."""
    assert life.look_at == pytest.approx(101.95)
    assert life.looked(look(life.look_at, states, **more), life.look_at) == ""


@pytest.mark.parametrize(("what", "why"), [(BLOCKED, "a call of its main thread"), (STOPPED, "it is stopped")])
def test_a_blocked_and_a_stopped_one_are_found_after_three_seconds(what, why):
    life = running()
    first_look(life, **what)
    assert life.look_at == pytest.approx(103.0)
    assert life.deadline == life.look_at
    assert life.looked(look(103.0, **what), 103.0).startswith(f"no sign of life for 3 s: {why}")


@pytest.mark.parametrize("what", [BLOCKED, STOPPED])
@pytest.mark.parametrize("loads", [(2.0, 0.5), (0.5, 2.0)])
def test_on_a_loaded_machine_nobody_is_found_before_the_limit_of_silence(what, loads):
    life = running()
    first_look(life, **what, load=loads[0])
    assert life.looked(look(103.0, **what, load=loads[1]), 103.0) == ""
    assert life.seen in {Seen.BLOCKED, Seen.STOPPED}
    assert life.deadline == pytest.approx(104.05)


def test_when_the_load_has_gone_two_more_looks_find_it():
    life = running()
    first_look(life, **BLOCKED, load=8.0)
    now = 103.0
    for _ in range(5):
        assert life.looked(look(now, **BLOCKED, load=8.0), now) == ""
        now = life.look_at
    assert life.looked(look(now, **BLOCKED), now) == ""
    assert life.looked(look(life.look_at, **BLOCKED), life.look_at)


def test_one_that_is_slow_is_looked_at_until_the_limit_of_silence():
    life, looks = running(), 0
    while life.deadline < 120.0:
        now = life.deadline
        assert life.looked(look(now, switches=looks), now) == ""
        assert not life.hangs(now)
        looks += 1
    assert looks == 18
    assert life.hangs(120.0) == "no sign of life for 20 s"


def test_a_word_makes_earlier_looks_void():
    life = running()
    first_look(life, **BLOCKED)
    life.heard(102.9)
    assert life.look_at == pytest.approx(104.85)
    assert life.looked(look(104.85, **BLOCKED), 104.85) == ""
    assert life.seen is None
    assert life.looked(look(105.9, **BLOCKED), 105.9)


def test_looks_from_before_the_supervisor_slept_are_void():
    life = running()
    first_look(life, **BLOCKED)
    life.overslept(500.0)
    assert life.looked(look(501.95, **BLOCKED), 501.95) == ""


def test_where_nothing_can_be_seen_only_time_tells():
    life = running()
    now = 100.0
    while life.deadline < 120.0:
        assert life.deadline > now, "the loop would spin"
        now = life.deadline
        assert life.looked(None, now) == ""
    assert life.hangs(120.0)


def test_patience_stretches_the_looks():
    life = Life(SupervisorConfig(patience=2.0), 100.0)
    life.spawned(7, 100.0)
    life.heard(100.0)
    assert life.look_at == pytest.approx(103.9)
    assert life.looked(look(103.9, **STOPPED), 103.9) == ""
    assert life.look_at == pytest.approx(106.0)
    assert life.looked(look(106.0, **STOPPED), 106.0)


def starting(life):
    life.spawned(8, 100.0)


def opening(life):
    life.opening()


def closing(life):
    life.progress(0, 100.0, is_expected=False, may_wait=True)


@pytest.mark.parametrize("may_wait", [starting, opening, closing])
def test_while_it_may_wait_for_a_sound_server_it_may_be_blocked_but_not_stopped(may_wait):
    life = running()
    may_wait(life)
    first_look(life, **BLOCKED)
    assert life.looked(look(103.0, **BLOCKED), 103.0) == ""
    assert life.looked(look(104.05, **STOPPED), 104.05) == ""
    assert life.looked(look(105.1, **STOPPED), 105.1)


def test_one_that_is_being_ended_is_not_looked_at():
    life = running()
    life.aborting(103.0)
    assert life.look_at == float("inf")
    life = running()
    life.stopping()
    assert life.look_at == float("inf")
