"""The command line in odd surroundings: a full disk behind an output, no working directory, an early Ctrl-C."""

import importlib
import signal
import subprocess
import sys
import threading

import pytest

from mpengine import cli
from mpengine.cli.interrupts import at_once
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


LOADING = """
import os, signal
from mpengine.cli.interrupts import at_once
with at_once():
    print("loading", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
print("loaded")
"""


def test_an_interrupt_while_modules_are_loaded_ends_the_process_without_a_word():
    ended = subprocess.run([sys.executable, "-c", LOADING], check=False, capture_output=True, timeout=scaled(60))
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"loading\n", b"")


def test_behind_the_modules_an_interrupt_is_what_it_was(monkeypatch):
    real, meanwhile = importlib.import_module, []

    def observed(name):
        meanwhile.append((name, signal.getsignal(signal.SIGINT)))
        return real(name)

    monkeypatch.setattr(importlib, "import_module", observed)
    assert cli.main(["version"]) == 0
    assert set(meanwhile) == {("mpengine.cli.version", signal.SIG_DFL)}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_is_ignored_stays_so_and_other_threads_change_nothing():
    meanwhile = []

    def load():
        with at_once():
            meanwhile.append(signal.getsignal(signal.SIGINT))

    other = threading.Thread(target=load)
    other.start()
    other.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()
    assert meanwhile == [signal.default_int_handler, signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(("words", "code"), [(["listen"], 0), (["transcribe", "talk.wav"], 1), (["check"], 1)])
def test_an_interrupt_is_no_success_where_work_is_left(monkeypatch, words, code):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.module_of(words[0]), "main", interrupted)
    monkeypatch.setattr(cli, "drop_output", lambda: None)
    assert cli.main(words) == code
