"""The line below the offsets of a source: how far its crystal is off, whatever comes late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.capture.crystal import Crystal

S = 1_000_000_000
MS = 1_000_000
EVERY_NS = S // 5


def fed(seconds, ppm=0.0, late_ns=lambda _at_ns: 0):
    """A crystal that has heard a source for so long, whose samples come late by `late_ns`."""
    crystal = Crystal()
    for at_ns in range(0, seconds * S, EVERY_NS):
        crystal.add(at_ns, round(at_ns * ppm * 1e-6) + late_ns(at_ns))
    return crystal


@given(
    ppm=st.floats(-140, 140),
    seconds=st.integers(10, 150),
    late_ms=st.lists(st.floats(0, 50), min_size=1, max_size=40),
    on_time=st.integers(2, 25),
)
def test_the_line_is_known_where_some_samples_come_on_time(ppm, seconds, late_ms, on_time):
    def late_ns(at_ns):
        number = at_ns // EVERY_NS
        return 0 if number % on_time == 0 else round(late_ms[number % len(late_ms)] * MS)

    found_ns = fed(seconds, ppm, late_ns).offset_ns(seconds * S)
    assert found_ns == pytest.approx(seconds * S * ppm * 1e-6, abs=10_000)


@given(late_ms=st.lists(st.floats(0, 0.9), min_size=50, max_size=50), ppm=st.floats(-100, 100))
def test_no_sample_is_said_to_have_come_before_it_was_there(late_ms, ppm):
    crystal = fed(60, ppm, lambda at_ns: round(late_ms[at_ns // EVERY_NS % 50] * MS))
    assert abs(crystal.offset_ns(60 * S) - 60 * S * ppm * 1e-6) < MS


def test_before_some_seconds_have_passed_nothing_is_known():
    assert Crystal().offset_ns(0) is None
    assert fed(8).offset_ns(8 * S) is None
    assert fed(10).offset_ns(10 * S) == 0


def test_a_steep_line_has_to_last():
    assert fed(25, 300).offset_ns(25 * S) is None
    assert fed(40, 300).offset_ns(40 * S) == pytest.approx(12 * MS, abs=10_000)


def test_what_is_steeper_than_a_crystal_is_another_latency():
    assert fed(60, 600).offset_ns(60 * S) is None
    assert fed(60, late_ns=lambda at_ns: 50 * MS if at_ns > 20 * S else 0).offset_ns(60 * S) is None


def test_a_latency_that_has_grown_leaves_the_line():
    assert fed(60, late_ns=lambda at_ns: 5 * MS if at_ns > 25 * S else 0).offset_ns(60 * S) != 0
    assert fed(60, late_ns=lambda at_ns: 5 * MS if at_ns > 55 * S else 0).offset_ns(60 * S) == 0
    assert fed(90, late_ns=lambda at_ns: 5 * MS if at_ns > 25 * S else 0).offset_ns(90 * S) == 5 * MS


def test_other_offsets_may_begin():
    crystal = fed(60, 100)
    crystal.clear()
    assert crystal.offset_ns(60 * S) is None
    for at_ns in range(60 * S, 70 * S, EVERY_NS):
        crystal.add(at_ns, 7)
    assert crystal.offset_ns(70 * S) == 7


def test_an_arrival_that_goes_back_a_little_harms_nothing():
    crystal = Crystal()
    for at_ns in range(0, 60 * S, EVERY_NS):
        crystal.add(at_ns + (3 * MS if at_ns % S else 0), 10)
        crystal.add(at_ns, 10)
    assert crystal.offset_ns(60 * S) == 10
