"""What two looks at a silent process show: the table, line by line and in order."""

import itertools

import pytest

from mpengine.supervisor.decide.hangs import Seen, is_loaded, verdict
from tests.pure.support import look

LONG_S = 1.05


def two(before, after, *, cpu_s=0.0, switches=0, loads=(0.5, 0.5)):
    """Two looks, between which so much time was used and the main thread was switched so often."""
    return look(100.0, before, load=loads[0]), look(
        100.0 + LONG_S, after, cpu_s=cpu_s, switches=switches, load=loads[1]
    )


@pytest.mark.parametrize(
    ("before", "after", "more", "expected"),
    [
        ("SS", "St", {}, Seen.TRACED),
        ("tS", "TS", {}, Seen.TRACED),
        ("TT", "TT", {}, Seen.STOPPED),
        ("TTS", "TTS", {"switches": 1}, Seen.STOPPED),
        ("ST", "TT", {}, Seen.SLOW),  # stopped just now: the next look tells
        ("TT", "SS", {"switches": 1}, Seen.SLOW),
        ("RS", "RS", {"cpu_s": 1.0}, Seen.SPINNING),
        ("SS", "SS", {"cpu_s": 0.53}, Seen.SPINNING),  # a helper thread that is busy
        ("SS", "SS", {"cpu_s": 0.52}, Seen.BLOCKED),
        ("RS", "SS", {}, Seen.STARVED),
        ("SS", "SR", {}, Seen.STARVED),
        ("DS", "RS", {}, Seen.STARVED),
        ("DS", "DS", {}, Seen.IN_KERNEL),
        ("SS", "DS", {"switches": 1}, Seen.IN_KERNEL),
        ("SS", "SS", {}, Seen.BLOCKED),
        ("SD", "SD", {}, Seen.BLOCKED),  # a helper thread waits for a disk
        ("S", "SSS", {}, Seen.BLOCKED),
        ("SS", "SS", {"switches": 1}, Seen.SLOW),
        ("DS", "SS", {}, Seen.SLOW),
        ("ZS", "ZS", {}, Seen.SLOW),
    ],
)
def test_the_first_line_that_fits_counts(before, after, more, expected):
    assert verdict(*two(before, after, **more)) is expected


def test_nothing_but_stopped_and_sleeping_main_threads_is_certain():
    letters = "RSDZTtXI"
    for before, after in itertools.product(letters, repeat=2):
        found = verdict(*two(f"{before}S", f"{after}S"))
        assert (found in {Seen.STOPPED, Seen.BLOCKED}) == ((before, after) in {("T", "T"), ("S", "S")})


@pytest.mark.parametrize(
    ("loads", "expected"),
    [((0.5, 1.99), False), ((2.0, 0.5), True), ((0.5, 2.0), True), ((8.0, 8.0), True)],
)
def test_a_machine_is_loaded_from_two_runnable_tasks_a_processor_on(loads, expected):
    assert is_loaded(*two("SS", "SS", loads=loads)) is expected
