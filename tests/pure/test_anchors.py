"""From samples to UTC, by the pairs of both that capture reports."""

from random import Random

import pytest

from mpengine.shared.clocks import Clocks
from mpengine.supervisor.decide.results import Anchors
from tests.pure.support import weight

S = 1_000_000_000
NOON = 1_770_000_000 * S
CLOCKS = Clocks(NOON, 0)


@pytest.fixture
def anchors():
    return Anchors(16000)


def test_without_an_anchor_there_is_no_time(anchors):
    assert anchors.utc_ns(0) is None


@pytest.mark.parametrize(("sample", "seconds"), [(16000, 0), (0, -1), (32000, 1), (16000 * 3601, 3600)])
def test_with_one_anchor_the_nominal_rate_counts(anchors, sample, seconds):
    anchors.add(16000, NOON, CLOCKS)
    assert anchors.utc_ns(sample) == NOON + seconds * S


@pytest.mark.parametrize(
    ("sample", "seconds"), [(0, 0.0), (160_000, 10.1), (80_000, 5.05), (40_000, 2.525), (176_000, 11.1)]
)
def test_between_two_anchors_the_line_between_them_counts(anchors, sample, seconds):
    anchors.add(0, NOON, CLOCKS)
    anchors.add(160_000, NOON + round(10.1 * S), CLOCKS)
    assert anchors.utc_ns(sample) == NOON + round(seconds * S)


def test_before_the_first_anchor_the_nominal_rate_counts(anchors):
    anchors.add(160_000, NOON, CLOCKS)
    anchors.add(320_000, NOON + 11 * S, CLOCKS)
    assert anchors.utc_ns(0) == NOON - 10 * S


class Machine:
    """A machine that captures, at `now_ns` on its monotonic clock."""

    def __init__(self, anchors):
        self.anchors, self.now_ns, self.clocks = anchors, 0, Clocks(NOON, 0)

    def captures(self, seconds):
        self.now_ns += seconds * S
        return self.tells()

    def tells(self):
        sample = self.now_ns * 16000 // S
        return self.anchors.add(sample, self.now_ns + self.clocks.utc_ahead_ns, self.clocks)

    def is_set(self, seconds):
        self.clocks = Clocks(self.clocks.utc_ahead_ns + round(seconds * S), self.clocks.suspended_ns)

    def sleeps(self, seconds):
        ahead_ns, suspended_ns = self.clocks.utc_ahead_ns, self.clocks.suspended_ns
        self.clocks = Clocks(ahead_ns + seconds * S, suspended_ns + seconds * S)

    def utc_s(self, at_s):
        utc_ns = self.anchors.utc_ns(at_s * 16000)
        return (utc_ns - NOON) / S


@pytest.fixture
def machine(anchors):
    made = Machine(anchors)
    made.tells()
    return made


@pytest.mark.parametrize("step_s", [3 * 86400, 0.05, -0.05, -3600, 1_770_000_000])
def test_a_step_of_the_wall_clock_is_told_once_and_moves_all_audio(machine, step_s):
    assert machine.captures(10) == 0
    assert [machine.utc_s(at_s) for at_s in (0, 5, 12)] == [0, 5, 12]
    machine.is_set(step_s)
    assert machine.captures(2) == round(step_s * S)
    assert [machine.utc_s(at_s) - at_s for at_s in (0, 5, 10, 11, 12, 20)] == pytest.approx([step_s] * 6)
    assert machine.captures(10) == 0
    assert [machine.utc_s(at_s) - at_s for at_s in (0, 11, 15, 22, 30)] == pytest.approx([step_s] * 5)


def test_steps_add_up(machine):
    assert [machine.is_set(step_s) or machine.captures(1) for step_s in (5, -2, 7)] == [5 * S, -2 * S, 7 * S]
    assert machine.utc_s(0) == 10


def test_a_step_is_told_though_no_sample_has_come(machine):
    machine.captures(1)
    machine.is_set(5)
    assert machine.tells() == 5 * S
    assert [machine.utc_s(at_s) for at_s in (0, 1, 2)] == [5, 6, 7]


@pytest.mark.parametrize("step_s", [0.049, -0.049])
def test_a_late_reading_is_no_step(machine, step_s):
    machine.captures(10)
    machine.is_set(step_s)
    assert machine.captures(10) == 0
    assert [machine.utc_s(at_s) for at_s in (0, 10, 20)] == [0, 10, 20 + step_s]


def test_a_suspension_is_no_step_and_moves_only_what_comes_later(machine):
    machine.captures(10)
    machine.sleeps(3600)
    assert machine.captures(1) == 0
    machine.captures(9)
    assert [machine.utc_s(at_s) for at_s in (0, 5, 10)] == [0, 5, 10]
    assert [machine.utc_s(at_s) for at_s in (11, 15, 20)] == [3611, 3615, 3620]
    assert machine.anchors.utc_ns(10 * 16000 + 8000) == NOON + 10 * S + S // 2


def test_a_clock_that_is_set_in_a_suspension_is_told_without_the_suspension(machine):
    machine.captures(10)
    machine.sleeps(3600)
    machine.is_set(-20)
    assert machine.captures(1) == -20 * S
    assert [machine.utc_s(at_s) for at_s in (0, 10, 11)] == [-20, -10, 3591]


@pytest.mark.parametrize("sample", [0, 100, 160_000])
def test_an_anchor_that_is_not_later_is_ignored(anchors, sample):
    anchors.add(160_000, NOON, CLOCKS)
    anchors.add(sample, NOON + 99 * S, CLOCKS)
    assert anchors.utc_ns(160_000) == NOON


def test_a_day_of_anchors_is_kept_in_little(anchors):
    for n in range(8640):
        anchors.add(n * 160_000, NOON + n * 10 * S, CLOCKS)
    assert weight(anchors) < 100_000
    assert anchors.utc_ns(8639 * 160_000 - 80_000) == NOON + 8639 * 10 * S - 5 * S


def test_a_crystal_that_is_off_is_followed(anchors):
    """2 seconds a day: without anchors the time would be off by as much at the end of it."""
    chance, rate = Random(1), 16000 * (1 + 2 / 86400)
    for n in range(8641):
        sample = round(n * 10 * rate)
        anchors.add(sample, NOON + n * 10 * S, CLOCKS)
    for _ in range(100):
        seconds = chance.randrange(80_000, 86_400)
        assert anchors.utc_ns(round(seconds * rate)) == pytest.approx(NOON + seconds * S, abs=S // 1000)
