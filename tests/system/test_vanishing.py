"""The engine's files vanish, or something else stands in their place: it heals, or ends with a plain word."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mpengine.shared.runtime import RuntimeDir
from mpengine.shared.window_layout import left_in
from tests.rig import small_disk as namespaces
from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.manager import Manager
from tests.rig.processes import spawned
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

FILES = {"lock", "control", "results", "query", "journal", "frames", "rig.window"}


@pytest.fixture
def server():
    with FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        yield server


@pytest.fixture
def config(server, tmp_path):
    return byok(server) | silent_file(tmp_path / "talk.wav", 600) | {"buffer": {"catch_up": 20.0}}


def vanished(running, times=1):
    """Wait until it was told so often that names have vanished; returns the errors."""

    def told(_messages):
        found = [each for each in running.bus.of_type("error") if each["code"] == "names_vanished"]
        return found if len(found) >= times else None

    return running.bus.wait_until(told, 30, "the error names_vanished")


def until_complete(running):
    """Wait until all names are there."""

    def is_complete():
        return running.runtime.is_dir() and {path.name for path in running.runtime.iterdir()} >= FILES

    wait_until(is_complete, 30, "all names")


def state_of(running):
    """What the engine that is reached by the names of `running` says of itself."""
    answer = running.query({"type": "status"})
    return answer.get("status", answer)["state"]


def assert_all_works(running, server):
    """Results come, questions are answered, and both children can be started again."""
    before = len(running.bus.finals())
    running.bus.wait_until(lambda _: len(running.bus.finals()) > before + 1, 30, "results on the old connection")
    assert state_of(running) == "running"
    for child in ("streaming", "capture"):
        killed = running.signal_child(child)
        running.child_pid(child, other_than=killed)
        since = len(running.bus.messages)
        running.bus.wait_until(lambda messages, at=since: any(m["type"] == "transcript" for m in messages[at:]), 60)
    running.wait_for_state("running")


def assert_no_hole(running):
    finals = running.bus.finals()
    assert running.bus.of_type("gap") == []
    for before, after in itertools.pairwise(finals):
        assert after["start_s"] <= before["end_s"] + 0.001


@pytest.mark.parametrize("what", ["the base", "sockets", "lock", "journal and window"])
def test_what_vanishes_is_made_again_and_nothing_is_lost(engine, config, server, what):
    running = engine(config)
    running.wait_for_state("running")
    until_complete(running)
    pid, processes = running.pid, {each.pid for each in running.process_tree()}
    gone = {"sockets": ["control", "results", "query", "frames"], "lock": ["lock"], "the base": []}
    if what == "the base":
        shutil.rmtree(running.runtime.parent)
    else:
        for name in gone.get(what, ["journal", "rig.window"]):
            os.unlink(running.runtime / name)
    (error,) = vanished(running)
    assert error["message"].startswith(f"vanished from {running.runtime}: ")
    until_complete(running)
    assert (running.runtime / "lock").read_text() == f"{pid}\n"
    assert {each.pid for each in running.process_tree()} == processes
    assert_all_works(running, server)
    assert len(vanished(running)) == 1

    second = subprocess.run(
        [sys.executable, "-m", "mpengine", "run", "--name", "rig", "--set", "remote.mode=local"],
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert (second.returncode, f"is running already (pid {pid})" in second.stderr) == (1, True)

    run = running.bus.finals()[0]["run"]
    running.kill()
    running.start()
    running.bus.wait_until(lambda _: running.bus.finals()[-1]["boot"] != running.bus.finals()[0]["boot"], 60)
    assert {final["run"] for final in running.bus.finals()} == {run}
    assert running.stop() == 0
    assert_no_hole(running)
    running.assert_nothing_left()


def test_a_window_elsewhere_is_written_again(engine, config, tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    window = directory / "rig.window"
    running = engine(config | {"buffer": config["buffer"] | {"directory": str(directory)}})
    running.wait_for_state("running")
    size = window.stat().st_size
    window.unlink()
    wait_until(lambda: window.exists() and left_in(str(window)) is not None, 30, "the window")
    assert window.stat().st_size == size
    running.kill()
    running.start().wait_for_state("running")
    assert running.stop() == 0
    assert_no_hole(running)
    assert len({final["run"] for final in running.bus.finals()}) == 1


def test_where_nothing_can_be_made_it_ends_with_a_word(engine, config, server):
    manager = Manager()
    running = engine(config, manager)
    running.wait_for_state("running")
    shutil.rmtree(running.runtime.parent)
    running.runtime.parent.touch()
    assert running.wait(60) == 1
    (error,) = [each for each in running.bus.of_type("error") if each["fatal"]]
    assert error["code"] == "unreachable_engine"
    assert "File exists; set XDG_RUNTIME_DIR" in error["message"]
    assert "loginctl enable-linger" in error["message"]
    assert running.bus.of_type("status")[-1]["state"] == "failed"
    assert manager.count("STOPPING=1") == 1
    assert_no_hole(running)
    running.assert_nothing_left()
    manager.close()


def test_a_directory_that_another_engine_has_by_now_is_left_to_it(engine, config, monkeypatch):
    running = engine(config)
    running.wait_for_state("running")
    until_complete(running)
    shutil.rmtree(running.runtime)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(running.directory))
    other = RuntimeDir("rig")
    other.lock()
    assert running.wait(60) == 1
    assert "by now another engine of this name has taken its place" in running.log_text()
    assert os.listdir(running.runtime) == ["lock"]
    other.unlock()


def test_an_engine_that_took_the_place_of_a_stopped_one_stays_reachable(engine, config):
    """The end of the first removes sockets by their paths: the second makes them again."""
    first = engine(config)
    first.wait_for_state("running")
    until_complete(first)
    first.send_signal(signal.SIGSTOP)
    shutil.rmtree(first.runtime)
    command = [*first.command, "--config", first.directory / "config.toml"]
    with (
        (first.directory / "second").open("wb") as log,
        spawned(command, env=first.environment, stdin=subprocess.DEVNULL, stderr=log) as second,
    ):
        until_complete(first)
        first.send_signal(signal.SIGCONT)
        assert first.process.wait(scaled(60)) == 1
        until_complete(first)
        wait_until(lambda: state_of(first) == "running", PATIENCE_S, "the second to run")
        second.terminate()
        assert second.wait(scaled(60)) == 0


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="no systemd-tmpfiles here")
def test_a_program_that_cleans_up_removes_nothing_of_a_living_engine(engine, config, tmp_path):
    """However old it looks: a stale file beside it shows that the program works."""
    running = engine(config)
    running.wait_for_state("running")
    until_complete(running)
    stale = running.directory / "stale"
    stale.touch()
    rule = tmp_path / "rule.conf"
    rule.write_text(f"d {running.directory} 0700 - - 1s\n", encoding="utf-8")
    before = {path.name: os.lstat(path).st_ino for path in running.runtime.iterdir()}
    deadline = time.monotonic() + scaled(30)
    while stale.exists() and time.monotonic() < deadline:
        subprocess.run(["systemd-tmpfiles", "--clean", str(rule)], check=False, capture_output=True)
    assert not stale.exists()
    assert {path.name: os.lstat(path).st_ino for path in running.runtime.iterdir()} == before
    assert running.stop() == 0
    assert "names_vanished" not in running.log_text()


PUTS = {
    "link": lambda path: path.symlink_to("/dev/zero"),
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("name", ["lock", "journal", "rig.window"])
def test_anything_but_a_file_in_place_of_one_is_a_line(engine_files, name, put):
    running = engine_files
    running.runtime.mkdir(parents=True, mode=0o700)
    PUTS[put](running.runtime / name)
    running.start()
    assert running.wait() == 1
    (line,) = running.log_text().splitlines()
    assert line.startswith("mpengine: cannot ")
    assert str(running.runtime / name) in line
    running.assert_nothing_left()


@pytest.fixture
def engine_files(engine, config):
    """An engine that has not been started: it has been stopped, and its files are gone."""
    running = engine(config)
    running.wait_for_state("running")
    assert running.stop() == 0
    shutil.rmtree(running.runtime, ignore_errors=True)
    running.log_file.unlink()
    return running


@pytest.mark.skipif(not namespaces.SmallDisk.is_possible(), reason="no mount namespaces here")
@pytest.mark.parametrize("command", [["run", "--set", "remote.mode=local"], ["status"], ["listen"], ["stop"]])
def test_without_a_writable_place_it_is_one_line_and_nothing_in_the_working_directory(tmp_path, command):
    script = 'for at in /tmp /var/tmp; do mount --bind $at $at && mount -o remount,ro,bind $at; done; exec "$@"'
    places = {"XDG_RUNTIME_DIR": "", "TMPDIR": "", "TEMP": ".", "TMP": "", "HOME": str(tmp_path)}
    with namespaces.SmallDisk(tmp_path) as writable:
        done = subprocess.run(
            [*namespaces.unshare(), "sh", "-c", script, "sh", sys.executable, "-m", "mpengine", *command],
            env=os.environ | places,
            cwd=writable,
            capture_output=True,
            text=True,
            timeout=scaled(60),
            check=False,
        )
        assert os.listdir(writable) == []
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("mpengine: there is no place for the engine's sockets")
    assert "set XDG_RUNTIME_DIR" in line


def test_an_endpoint_that_another_engine_has_is_refused_and_that_engine_goes_on(engine, config, tmp_path, server):
    config |= {"bus": {"publish": f"ipc://{tmp_path}/results"}}
    first = engine(config, name="one")
    first.wait_for_state("running")
    second = engine(config, name="two")
    assert second.process.wait(scaled(60)) == 1
    taken = f"cannot listen on ipc://{tmp_path}/results: another program listens there"
    assert second.log_text() == f"mpengine: {taken}; name another path, or stop that program\n"
    late = first.subscriber()
    late.wait_for(lambda m: m["type"] == "transcript", 30)
    first.kill()
    second.start().wait_for_state("running")  # what a killed engine left is taken
    assert second.stop() == 0


def test_an_ordinary_file_in_place_of_an_endpoint_is_refused_and_stays(engine, config, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("precious", encoding="utf-8")
    running = engine(config | {"bus": {"publish": f"ipc://{path}"}})
    assert running.wait() == 2
    written = running.directory / "config.toml"
    lines = written.read_text(encoding="utf-8").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if str(path) in line)
    says = f"bus.publish: {path} is there, and is no socket; name another path, or remove it"
    assert running.log_text() == f"mpengine: {written}:{number}: {says}\n"
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_transcript_that_is_renamed_every_second_loses_and_doubles_no_line_over_a_kill(engine, config, tmp_path):
    path = tmp_path / "said.jsonl"
    running = engine(config | {"bus": {"transcript": str(path)}})
    running.wait_for_state("running")
    for number in range(3):
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") > 2, 30, "lines")
        os.replace(path, tmp_path / f"said-{number}.jsonl")
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") > 6, 30, "lines for more than a second")
    os.replace(path, tmp_path / "said-3.jsonl")
    running.kill()
    running.start().wait_for_state("running")
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") > 2, 30, "lines of the next supervisor")
    assert running.stop() == 0
    texts = [file.read_text(encoding="utf-8") for file in tmp_path.glob("said*")]
    seqs = [json.loads(line)["seq"] for text in texts for line in text.splitlines()]
    assert sorted({final["seq"] for final in running.bus.finals()} - set(seqs)) == []
    # Of the last second before the kill the journal need not know that it was written.
    assert len(seqs) - len(set(seqs)) <= 6
    assert "Traceback" not in running.log_text()
