"""The command line in odd surroundings: a full disk behind an output, no working directory, an early Ctrl-C."""

import importlib
import signal
import subprocess
import sys
import threading

import pytest

from mpengine import cli
from mpengine.cli.interrupts import held
from tests.rig.waiting import scaled


def run(*arguments, **options):
    """The command, ended."""
    command = [sys.executable, "-m", "mpengine", *arguments]
    return subprocess.run(command, check=False, timeout=scaled(60), **options)


@pytest.fixture(autouse=True)
def interruptible():
    """Also where the run of the tests was told to ignore SIGINT, as nohup and `&` do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("arguments", [("--version",), ("help", "stop")])
def test_help_that_cannot_be_written_is_an_error_of_one_line(arguments):
    with open("/dev/full", "wb") as full:
        ended = run(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (1, b"mpengine: cannot write: No space left on device\n")


def test_the_short_help_needs_no_standard_error():
    with open("/dev/full", "wb") as full:
        assert run(stderr=full).returncode == 2


def test_a_working_directory_that_was_removed_is_told(capsys, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.main(["keys"]) == 1
    told = "mpengine: the working directory was removed: go to another one, and try again\n"
    assert capsys.readouterr() == ("", told)


def test_an_interrupt_comes_behind_the_block_that_holds_it():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117, PT012  the interrupt comes at the end of the inner block
        with held():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            done.append("block")
    assert done == ["block"]


def test_an_interrupt_waits_for_the_modules_of_the_command(monkeypatch):
    real, done = importlib.import_module, []

    def interrupted(name):
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        done.append(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", interrupted)
    monkeypatch.setattr(cli, "drop_output", lambda: None)
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert cli.main(["version"]) == 0
    finally:
        signal.signal(signal.SIGINT, handler)
    assert done == ["mpengine.cli.version"]
