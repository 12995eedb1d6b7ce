"""Time that nearly stands still while nobody looks."""

import pytest

from mpengine.client.patience import Patience


def looked(every_s, look_s, looks):
    """What somebody has waited who looks `every_s`, for so long each time."""
    patience, now = Patience(0.0), 0.0
    for _ in range(looks):
        now += every_s - look_s
        patience.back(now)
        now += look_s
        patience.leave(now)
    return patience, now


@pytest.mark.parametrize(
    ("every_s", "look_s", "waited_s"),
    [
        (1.0, 1.0, 100),  # always looking
        (0.02, 0.0, 2),  # a screen that is drawn: looks take no time, but there is no time between them
        (2.0, 0.0, 10),
        (60.0, 0.5, 60),
    ],
)
def test_what_was_waited_is_the_time_of_the_looks_and_a_little_between_them(every_s, look_s, waited_s):
    patience, now = looked(every_s, look_s, 100)
    assert patience.waited(now) == pytest.approx(waited_s)


def test_a_time_that_was_waited_can_be_found_on_the_clock():
    patience, now = looked(2.0, 0.5, 10)
    assert patience.clock(patience.waited(now) + 3.0) == pytest.approx(now + 3.0)


def test_a_look_that_begins_within_another_counts_no_absence_twice():
    patience = Patience(0.0)
    patience.back(5.0)
    patience.back(5.0)
    assert patience.waited(5.0) == pytest.approx(0.1)
