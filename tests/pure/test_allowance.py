"""How much of a stream may be read: what is live is never held back, and a file is read like speech."""

import pytest

from mpengine.capture.allowance import Allowance

S = 1_000_000_000
RATE = 16000
STEP_NS = 20_000_000


def read_all(allowance, *, rate, seconds, at_ns=0, waiting=0.0):
    """Read a source that delivers `rate` frames a second, every 20 ms; returns what was read and what waits."""
    taken = 0
    became_file = []
    for step in range(int(seconds * S / STEP_NS)):
        now_ns = at_ns + step * STEP_NS
        waiting += rate * STEP_NS / S
        read = min(int(waiting), allowance.frames(now_ns))
        taken += read
        waiting -= read
        if allowance.took(read, now_ns, is_more=waiting >= 640):
            became_file.append(now_ns)
    return taken, waiting, became_file


@pytest.mark.parametrize("rate", [RATE, int(RATE * 1.0005), int(RATE * 1.09)])
def test_a_live_source_is_read_as_it_comes(rate):
    allowance = Allowance(rate_hz=RATE, waiting=0, now_ns=0)
    taken, waiting, became_file = read_all(allowance, rate=rate, seconds=600)
    assert became_file == []
    assert not allowance.is_file
    assert waiting < 1
    assert taken == pytest.approx(rate * 600, abs=1)


def test_what_waited_for_the_first_reader_is_read_at_once():
    allowance = Allowance(rate_hz=RATE, waiting=32 * RATE, now_ns=0)
    taken, waiting, became_file = read_all(allowance, rate=RATE, seconds=20, waiting=32 * RATE)
    assert (waiting < 1, became_file) == (True, [])
    assert taken == pytest.approx(52 * RATE, abs=1)


def test_a_live_source_catches_up_after_its_reader_was_away():
    allowance = Allowance(rate_hz=RATE, waiting=0, now_ns=0)
    read_all(allowance, rate=RATE, seconds=10)
    _, waiting, became_file = read_all(allowance, rate=RATE, seconds=1, at_ns=40 * S, waiting=30 * RATE)
    assert waiting < 1
    assert became_file == []


def test_what_is_faster_all_the_time_is_a_file_after_five_seconds_once():
    allowance = Allowance(rate_hz=RATE, waiting=0, now_ns=0)
    taken, _, became_file = read_all(allowance, rate=100 * RATE, seconds=30)
    assert [at_ns / S for at_ns in became_file] == [pytest.approx(5, abs=0.1)]
    assert allowance.is_file
    assert taken <= (2 + 5 * 1.1 + 25 + 0.1) * RATE


def test_a_file_is_read_at_the_pace_of_speech():
    allowance = Allowance(rate_hz=RATE, waiting=0, now_ns=0)
    read_all(allowance, rate=100 * RATE, seconds=10)
    taken, _, _ = read_all(allowance, rate=100 * RATE, seconds=60, at_ns=10 * S)
    assert taken == pytest.approx(60 * RATE, rel=0.001)


def test_a_file_that_is_read_late_makes_up_for_a_second_only():
    allowance = Allowance(rate_hz=RATE, waiting=0, now_ns=0)
    read_all(allowance, rate=100 * RATE, seconds=10)
    assert allowance.frames(100 * S) == pytest.approx(RATE, abs=RATE // 50)
