"""The wake-up that threads and signal handlers share."""

import os
import select
import signal
import threading

import pytest

from mpengine.shared.wake import Wake
from tests.rig.waiting import scaled


@pytest.fixture
def wake():
    made = Wake()
    yield made
    made.close()


def is_set(wake):
    return bool(select.select([wake], [], [], 0)[0])


def test_it_is_readable_from_set_to_drain_however_often_it_was_set(wake):
    assert not is_set(wake)
    for _ in range(3):
        wake.set()
    assert is_set(wake)
    wake.drain()
    assert not is_set(wake)


def test_to_drain_what_was_never_set_waits_for_nothing(wake):
    wake.drain()
    assert not is_set(wake)


def test_another_thread_wakes_the_one_who_waits(wake):
    thread = threading.Thread(target=wake.set)
    thread.start()
    assert select.select([wake], [], [], scaled(30))[0] == [wake]
    thread.join()


def test_a_signal_wakes_by_its_descriptor_alone(wake):
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    before = signal.set_wakeup_fd(wake.signal_fd)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert select.select([wake], [], [], scaled(30))[0] == [wake]
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR1, handler)


def test_nobody_blocks_when_it_was_set_more_often_than_it_holds(wake):
    for _ in range(100_000):
        wake.set()
    turns = 0
    while is_set(wake):
        wake.drain()
        turns += 1
    assert 1 <= turns <= 100


def looked_at(wake):
    """Which files its descriptors are."""
    return [(number, os.fstat(number)) for number in (wake.fileno(), wake.signal_fd)]


def is_open(number, found):
    """Whether the descriptor is still the one that was looked at; its number may be another's by now."""
    try:
        return os.path.samestat(os.fstat(number), found)
    except OSError:
        return False


def test_after_the_close_a_late_set_changes_nothing(wake):
    before = looked_at(wake)
    wake.close()
    wake.set()
    wake.close()
    assert not any(is_open(*each) for each in before)


def test_one_that_is_forgotten_gives_its_descriptors_back():
    wake = Wake()
    before = looked_at(wake)
    assert all(is_open(*each) for each in before)
    del wake
    assert not any(is_open(*each) for each in before)


def test_no_program_that_is_started_inherits_it(wake):
    assert not os.get_inheritable(wake.fileno())
    assert not os.get_inheritable(wake.signal_fd)
