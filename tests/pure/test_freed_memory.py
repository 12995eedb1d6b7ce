"""Freed memory goes back after the start, and again only where a process has grown."""

import os

import pytest

from mpengine.processes.freed_memory import FreedMemory, own_mb

STARTED_S, LOOK_S = 3.0, 10.0


class Process:
    """One that has so many megabytes, and `freed_mb` of them free."""

    def __init__(self, size_mb):
        self.size_mb, self.freed_mb, self.given = size_mb, 0.0, 0
        self.memory = FreedMemory(0.0, measure=lambda: self.size_mb, give_back=self._give_back)
        self._now = STARTED_S - LOOK_S

    def _give_back(self):
        self.given += 1
        self.size_mb -= self.freed_mb
        self.freed_mb = 0.0

    def later(self):
        """It is looked at again. Returns how often it has given something back by now."""
        self._now += LOOK_S
        self.memory.look(self._now)
        return self.given


def test_what_the_start_needed_goes_back_once_it_is_over():
    process = Process(20.0)
    process.freed_mb = 2.0
    process.memory.look(STARTED_S - 0.1)
    assert process.given == 0
    assert process.later() == 1
    assert process.size_mb == 18.0


def test_a_process_that_hardly_grows_is_left_alone():
    process = Process(20.0)
    assert [process.later() for _ in range(3)] == [1, 1, 1]
    process.size_mb = 23.9
    assert process.later() == 1


def test_what_a_flood_left_goes_back():
    process = Process(20.0)
    process.later()
    process.size_mb, process.freed_mb = 90.0, 0.0  # in the middle of it: all is in use
    assert process.later() == 2
    process.freed_mb = 70.0  # and it is over
    assert process.later() == 3
    assert process.size_mb == 20.0
    assert process.later() == 3


def test_between_two_looks_there_is_none():
    process = Process(20.0)
    process.later()
    process.size_mb = 90.0
    process.memory.look(STARTED_S + LOOK_S - 0.1)
    assert process.given == 1


def test_without_proc_what_the_start_needed_goes_back_all_the_same():
    process = Process(0.0)
    assert [process.later() for _ in range(3)] == [1, 1, 1]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there is no /proc")
def test_a_process_knows_what_it_has():
    before = own_mb()
    held = b"\1" * (32 << 20)
    assert own_mb() - before == pytest.approx(len(held) / 1e6, abs=4.0)
    del held
