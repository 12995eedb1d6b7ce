"""Steps of the wall clock and suspensions, from two readings of the clocks."""

import pytest

from mpengine.capture import anchoring
from mpengine.shared.clocks import LEAST_STEP_NS, Clocks

S = 10**9
BEFORE = Clocks(100 * S, 7 * S)


@pytest.mark.parametrize(
    ("after", "step_ns", "suspended_ns"),
    [
        (BEFORE, 0, 0),
        (Clocks(100 * S + LEAST_STEP_NS - 1, 7 * S), 0, 0),
        (Clocks(100 * S + LEAST_STEP_NS, 7 * S), LEAST_STEP_NS, 0),
        (Clocks(100 * S - LEAST_STEP_NS, 7 * S), -LEAST_STEP_NS, 0),
        (Clocks(160 * S, 67 * S), 0, 60 * S),
        (Clocks(160 * S + 1000, 67 * S), 0, 60 * S),
        (Clocks(155 * S, 67 * S), -5 * S, 60 * S),
        (Clocks(100 * S, 7 * S + 1000), 0, 0),
    ],
)
def test_a_step_is_told_from_a_suspension(after, step_ns, suspended_ns):
    assert after.stepped_since(BEFORE) == step_ns
    assert after.suspended_since(BEFORE) == suspended_ns
    assert after.jumped_since(BEFORE) is bool(step_ns or suspended_ns)


class Time:
    """In place of the module `time`: each reading of a clock takes a while, and sometimes a long one."""

    CLOCK_MONOTONIC, CLOCK_BOOTTIME = 1, 7

    def __init__(self, delays_ns):
        self._delays, self._now = iter(delays_ns), 5 * S

    def _reads(self):
        self._now += next(self._delays, 1000)
        return self._now

    def monotonic_ns(self):
        return self._reads()

    def time_ns(self):
        return self._reads() + 100 * S

    def clock_gettime_ns(self, clock):
        return self._reads() + 7 * S


@pytest.mark.parametrize("delays_ns", [[], [0, S], [0, 0, S], [0, 0, 0, S], [S] * 12])
def test_a_reading_that_was_interrupted_is_taken_again(monkeypatch, delays_ns):
    monkeypatch.setattr(anchoring, "time", Time(delays_ns))
    read = anchoring.read_clocks()
    assert read.utc_ahead_ns == pytest.approx(100 * S, abs=2000)
    assert read.suspended_ns == pytest.approx(7 * S, abs=2000)


def test_a_machine_that_interrupts_every_reading_is_read_all_the_same(monkeypatch):
    monkeypatch.setattr(anchoring, "time", Time([S] * 1000))
    assert anchoring.read_clocks().utc_ahead_ns == pytest.approx(100 * S, abs=2 * S)
