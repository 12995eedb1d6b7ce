"""Freed memory goes back after the start, and again only where a process has grown."""

import ctypes
import os

import pytest

from mpengine.processes.freed_memory import FreedMemory
from tests.pure.support import in_fresh_interpreter

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
    process.later()
    assert process.later() == 3
    assert process.size_mb == 20.0
    assert [process.later() for _ in range(3)] == [3, 3, 3]


def test_a_process_that_needs_more_than_at_the_start_is_tried_ever_less_often():
    process = Process(20.0)
    process.later()
    process.size_mb = 30.0
    given = [process.later() - 1 for _ in range(40)]  # in 400 s: at 10, 30, 70, 150, 230, 310 and 390 s
    assert given[-1] == 7
    process.freed_mb = 9.0
    assert [process.later() for _ in range(8)][-1] == 9
    assert process.size_mb == 21.0


def test_between_two_looks_there_is_none():
    process = Process(20.0)
    process.later()
    process.size_mb = 90.0
    process.memory.look(STARTED_S + LOOK_S - 0.1)
    assert process.given == 1


def test_without_proc_what_the_start_needed_goes_back_all_the_same():
    process = Process(0.0)
    assert [process.later() for _ in range(3)] == [1, 1, 1]


_HELD_BYTES = 32 << 20
_HOLDS = """
import sys
from mpengine.processes.freed_memory import own_mb
before = own_mb()
held = b"1" * int(sys.argv[1])
print(own_mb() - before)
del held
print(own_mb() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there is no /proc")
def test_a_process_knows_what_it_has():
    """A fresh one: where earlier tests have left free memory in the heap, such a block makes no process larger."""
    grown_mb, left_mb = map(float, in_fresh_interpreter(_HOLDS, str(_HELD_BYTES)).split())
    assert grown_mb == pytest.approx(_HELD_BYTES / 1e6, abs=4.0)
    assert left_mb == pytest.approx(0.0, abs=4.0)


_LARGE = """
import sys
from mpengine.processes import tricks
from mpengine.processes.freed_memory import own_mb
if sys.argv[1] == "mapped":
    tricks.map_large_blocks()
bytes(20 << 20)  # glibc learns from it
before, held = own_mb(), []
for _ in range(200):  # small ones between, as in the middle of a flood
    held.append((bytearray(b"1" * (100 << 10)), bytearray(b"1" * 2000)))
small = [each for _, each in held]
held.clear()
print(own_mb() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_large_blocks_go_back_at_once_and_would_stay_by_themselves():
    grown_mb = {how: float(in_fresh_interpreter(_LARGE, how)) for how in ("mapped", "usual")}
    assert grown_mb["mapped"] < 3.0
    assert grown_mb["usual"] > 10.0
