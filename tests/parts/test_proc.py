"""What /proc shows of real processes, by looks and verdicts as the supervisor has them."""

import os
import signal
import subprocess
import sys

import pytest

from mpengine.supervisor.decide.hangs import Seen, verdict
from mpengine.supervisor.host.proc import look_at, usage_of
from tests.rig.processes import PROCESSORS, busy_processes, spawned
from tests.rig.waiting import wait_until

WAITS = "input()"
SPINS = "while True: pass"
WAITS_BESIDE_A_BUSY_THREAD = f"""
import threading
def spin():
    {SPINS}
threading.Thread(target=spin, daemon=True).start()
input()
"""


@pytest.fixture
def start():
    """Starts an interpreter with a program; returns its pid when it has begun with it."""
    started = []

    def begin(program):
        running = spawned(
            [sys.executable, "-c", f"print(flush=True)\n{program}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(running)
        process = running.__enter__()
        process.stdout.readline()
        return process.pid

    yield begin
    for running in started:
        running.__exit__(None, None, None)


def looks_like(pid, wanted, now=0.0):
    """A look at it as soon as it looks like that."""

    def found():
        look = look_at(pid, now)
        return look if wanted(look) else None

    return wait_until(found, 30, "a process in that state")


def test_one_that_waits_is_blocked(start):
    pid = start(WAITS)
    before = looks_like(pid, lambda look: look.states == "S")
    after = look_at(pid, 1.05)
    assert (after.at_s, after.switches, after.cpu_s) == (1.05, before.switches, before.cpu_s)
    assert before.switches > 0
    assert verdict(before, after) is Seen.BLOCKED


def test_one_that_got_sigstop_is_stopped(start):
    pid = start(WAITS_BESIDE_A_BUSY_THREAD)
    looks_like(pid, lambda look: len(look.states) == 2)
    os.kill(pid, signal.SIGSTOP)
    before = looks_like(pid, lambda look: look.states == "TT")
    assert verdict(before, look_at(pid, 1.05)) is Seen.STOPPED


@pytest.mark.parametrize("program", [SPINS, WAITS_BESIDE_A_BUSY_THREAD])
def test_one_that_uses_half_of_the_time_is_spinning(start, program):
    pid = start(program)
    before = look_at(pid, 0.0)
    after = looks_like(pid, lambda look: look.cpu_s >= before.cpu_s + 0.1, now=0.19)
    assert verdict(before, after) is Seen.SPINNING


def test_the_state_of_the_main_thread_comes_first(start):
    pid = start(WAITS_BESIDE_A_BUSY_THREAD)
    look = looks_like(pid, lambda look: look.states == "SR")
    assert verdict(look, look._replace(at_s=1.05)) is Seen.STARVED


def test_a_loaded_machine_is_seen(start):
    pid = start(WAITS)
    with busy_processes(2 * PROCESSORS):
        assert looks_like(pid, lambda look: look.runnable_per_processor >= 2.0)


def test_of_one_that_is_gone_nothing_is_seen():
    with spawned([sys.executable, "-c", ""]) as process:
        process.wait()
    assert look_at(process.pid, 0.0) is None
    assert usage_of(process.pid) == type(usage_of(process.pid))()


def test_what_this_process_uses_is_shown():
    used = usage_of(os.getpid())
    assert used.cpu_s > 0
    assert used.rss_mb > 1
