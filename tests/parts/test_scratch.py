"""A test run depends on nobody who starts it, and leaves nothing behind: tried with runs inside of this one."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.processes import process_info, spawned
from tests.rig.waiting import scaled, wait_until

ROOT = Path(__file__).parents[2]

# Who was told to ignore signals goes on doing it, and what it starts does not.
IGNORING = """
import os, signal, subprocess, sys
from tests.rig.processes import heed_signals, spawn
signals = signal.SIGINT, signal.SIGQUIT, signal.SIGHUP
assert all(signal.getsignal(number) is signal.SIG_IGN for number in signals)
heed_signals()
for number in signals:
    os.kill(os.getpid(), number)
    with spawn(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        child.stdin.write(b"x")
        child.stdout.read(1)
        child.send_signal(number)
        print(child.wait(20) == -number)
"""

TEST = """
import os, tempfile
from tests.rig.processes import spawn

def test(tmp_path):
    child = spawn(["sleep", "600"])
    places = [tmp_path, tempfile.mkdtemp(), os.environ["HOME"], os.environ["XDG_RUNTIME_DIR"]]
    with open({told!r} + ".part", "w") as file:
        print(os.getpid(), child.pid, *places, file=file)
    os.rename({told!r} + ".part", {told!r})
    {then}
"""


@pytest.fixture
def a_run(tmp_path):
    """The command of a test run with one test, and where the test tells its processes and its directories."""

    def command(then):
        told = tmp_path / "told"
        test = tmp_path / "test_one.py"
        test.write_text(TEST.format(told=str(told), then=then))
        words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "1"]
        return [*words, str(test)], told

    return command


def read(told):
    """The pids of the worker and of what its test has started, and the one directory in which all of theirs lie."""
    worker, child, *places = told.read_text().split()
    scratch = Path(places[-1]).parent
    assert all(Path(place).is_relative_to(scratch) for place in places)
    return [int(worker), int(child)], scratch


def is_over(pid):
    info = process_info(pid)
    return info is None or not info.running


def test_what_a_run_starts_has_the_usual_signals_when_the_run_was_told_to_ignore_them():
    words = f"trap '' INT QUIT HUP; exec {shlex.join([sys.executable, '-c', IGNORING])}"
    done = subprocess.run(["sh", "-c", words], cwd=ROOT, capture_output=True, timeout=scaled(60), check=False)
    assert (done.stdout.split(), done.stderr) == ([b"True"] * 3, b"")


@pytest.mark.slow
def test_a_run_needs_no_home_and_leaves_nothing_behind(a_run, tmp_path):
    command, told = a_run("child.kill()\n    child.wait()")
    parent = tmp_path / "t"
    parent.mkdir()
    environment = os.environ | {"HOME": "/nonexistent", "TMPDIR": str(parent), "XDG_CONFIG_HOME": "/nonexistent"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=scaled(60), check=False)
    assert done.returncode == 0, done.stdout
    _, scratch = read(told)
    assert not scratch.exists()
    assert not list(parent.iterdir())


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_behind(a_run):
    command, told = a_run("child.wait()")
    with spawned(command, cwd=ROOT, stdout=subprocess.DEVNULL) as run:
        wait_until(told.exists, 60, "the test")
        pids, scratch = read(told)
        assert scratch.exists()
        assert not [pid for pid in pids if is_over(pid)]
        run.kill()
        wait_until(lambda: all(map(is_over, pids)), 30, f"the end of {pids}")
    wait_until(lambda: not scratch.exists(), 30, f"the end of {scratch}")
