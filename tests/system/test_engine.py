"""mpengine.Engine: as the origin engine's class, row by row; and what becomes of it when its program is gone."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mpengine import Engine
from mpengine.embedded import engine as engine_module
from mpengine.embedded import recording as recording_module
from mpengine.shared import sockets
from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.gui import Gui, flat
from tests.rig.origin_table import TABLE
from tests.rig.processes import kill_all, marked, process_info, spawned
from tests.rig.waiting import promised, scaled, wait_until

ROOT = Path(__file__).parents[2]


def running(mark):
    """The processes that were started with `mark` in their environment."""
    infos = [process_info(pid) for pid in marked(mark)]
    return [info for info in infos if info is not None and info.running]


@pytest.fixture
def mark(microphone, monkeypatch, tmp_path_factory):
    """The environment of a GUI with the microphone; what it starts is found by the mark, and is gone afterwards."""
    short = str(tmp_path_factory.mktemp("r", numbered=True))
    mark = f"MPENGINE_RIG={secrets.token_hex(8)}"
    environment = microphone.environment | {"XDG_RUNTIME_DIR": short, "MPENGINE_RIG": mark.partition("=")[2]}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    yield mark
    try:
        wait_until(lambda: not running(mark), 5, "the end of all engines")
    finally:
        kill_all(info.pid for info in running(mark))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mpengine-")]


def runtime_directories():
    """Names of the runtime directories of engines."""
    base = Path(os.environ["XDG_RUNTIME_DIR"], "mpengine")
    return sorted(os.listdir(base)) if base.exists() else []


def supervisors(mark):
    return [info for info in running(mark) if "mpengine.embedded.child" in info.command]


@pytest.fixture
def soon(row, monkeypatch):
    """The 15 s limit, shortened where it is waited for; anywhere else a busy machine may need some of it."""
    if row.name == "server away, server silent":
        monkeypatch.setattr(Engine, "_connect_limit_s", promised(5.0))


def wait_for_threads():
    """The callbacks' thread may have a last thing to do."""
    names = ("mpengine-callbacks", "mpengine-engine")
    wait_until(lambda: not [t for t in threading.enumerate() if t.name in names], 5, "the end of the engine's threads")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_is_as_the_origin_engine_or_better_on_purpose(mark, soon, row):
    assert row.script(Engine) == row.origin | row.ours
    assert bool(row.ours) == bool(row.why)
    wait_for_threads()
    assert runtime_directories() == []


@pytest.mark.parametrize("how", ["wait", "fork"])
def test_a_killed_program_takes_its_engine_with_it(mark, microphone, how):
    with FakeDeepgram() as server:
        program, told = start_program(server, how)
        assert told["started"]
        assert len(running(mark)) >= 4
        microphone.wait_for_recording(1)
        limit_s = promised(1)
        program.kill()
        killed_at = time.monotonic()
        program.wait()
        wait_until(lambda: {info.pid for info in running(mark)} <= {told["forked"]}, limit_s, "the end of the engine")
        microphone.wait_for_recording(0, timeout=limit_s)
        assert time.monotonic() - killed_at < scaled(limit_s)
        assert runtime_directories() == []
        if told["forked"]:
            kill_all([told["forked"]])


def test_a_program_that_ends_without_a_stop_does_not_hang(mark):
    with FakeDeepgram() as server:
        program, told = start_program(server, "return")
        assert told["started"]
        limit_s = promised(1)
        assert program.wait(scaled(promised(5))) == 0
        wait_until(lambda: not running(mark), limit_s, "the end of the engine")
        assert runtime_directories() == []


def test_an_engine_that_nobody_refers_to_ends(mark, microphone):
    with FakeDeepgram() as server:
        program, told = start_program(server, "drop")
        assert told["started"]
        wait_until(lambda: [info.pid for info in running(mark)] == [program.pid], promised(3), "the end of the engine")
        program.kill()
        program.wait()


def test_a_process_that_a_recording_program_forks_has_a_recording_of_its_own_or_none(mark):
    with FakeDeepgram() as server:
        program, told = start_program(server, "record")
        forked = told["forked"]
        assert (forked["before"], forked["started"], forked["after"], told["started"]) == (False, True, False, True)
        assert forked["name"] != told["name"]
        limit_s = promised(1)
        assert program.wait(scaled(promised(15))) == 0
        assert len(server.connections) == 2
        wait_until(lambda: not running(mark), limit_s, "the end of both engines")


def start_program(server, how):
    command = [sys.executable, "-m", "tests.rig.gui_program", "mpengine", "Engine", how, json.dumps(flat(byok(server)))]
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with program.stdout:
        return program, json.loads(program.stdout.readline())


def test_an_engine_that_hangs_is_killed(mark):
    tables = {"mpengine": {"supervisor": {"stop_limit_s": 0.5}}}
    with FakeDeepgram() as server:
        config = flat(byok(server)) | tables
        engine = Engine(config)
        assert engine.initialize()
        assert engine.start_recording()
        os.kill(supervisors(mark)[0].pid, signal.SIGSTOP)
        limit_s = promised(3)
        began = time.monotonic()
        engine.stop()
        assert time.monotonic() - began < scaled(limit_s)
        wait_until(lambda: not running(mark), limit_s / 3, "the end of all processes")
        wait_for_threads()
        assert runtime_directories() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_an_engine_that_is_killed_or_hangs_is_replaced_and_no_word_is_lost(mark, monkeypatch, how):
    monkeypatch.setattr(recording_module, "_SHORTEST_LIFE_S", 0.0)
    if how == signal.SIGSTOP:
        monkeypatch.setattr(recording_module, "_SILENCE_LIMIT_S", promised(2.0))
    with FakeDeepgram() as server, Gui(Engine, byok(server)) as gui:
        assert gui.start(server)
        os.kill(supervisors(mark)[0].pid, how)
        gui.wait_for(("error", "The engine was killed by signal 9; restarting"), timeout=120)
        assert gui.engine.is_recording_active()
        second = server.wait_for_connection(2)
        first = server.connections[0].audio
        server.wait_for(lambda: first and second.audio.startswith(first), 30, "the same audio once more")
    wait_for_threads()


def test_an_engine_that_is_killed_again_and_again_is_given_up_and_can_be_started_again(mark, monkeypatch):
    monkeypatch.setattr(recording_module, "_SHORTEST_LIFE_S", 60.0)
    with FakeDeepgram() as server, Gui(Engine, byok(server)) as gui:
        assert gui.start(server)
        os.kill(supervisors(mark)[0].pid, signal.SIGKILL)
        gui.wait_for(("error", "The engine has ended: killed by signal 9"))
        assert not gui.engine.is_recording_active()
        assert gui.start(server)
    wait_for_threads()


def test_a_start_that_waits_is_ended_by_a_stop(mark):
    with FakeDeepgram(upgrade_delay_s=30) as server, Gui(Engine, byok(server)) as gui:
        started = []
        thread = threading.Thread(target=lambda: started.append(gui.start()))
        thread.start()
        server.wait_for(lambda: server.attempts, 30, "an attempt")
        assert gui.engine.is_recording_active()
        limit_s = promised(3)
        gui.engine.stop_recording()
        thread.join(scaled(limit_s))
        assert started == [False]
        assert gui.engine.last_error == "Recording was stopped before it began"
        server.stop()
    wait_for_threads()


def test_an_engine_that_fails_at_once_waits_until_it_is_heard(mark, monkeypatch):
    monkeypatch.setattr(sockets, "_RECONNECT_MS", 1500)
    monkeypatch.setattr(sockets, "_RECONNECT_MAX_MS", 1500)
    with FakeDeepgram() as server, Gui(Engine, byok(server), device="Røde") as gui:
        assert not gui.start()
        assert gui.engine.last_error.startswith("Audio stream error: no audio input device 'Røde'; there are: ")
    wait_for_threads()


def test_a_runtime_directory_that_cannot_be_used_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("long" * 20)))
    with FakeDeepgram() as server, Gui(Engine, byok(server)) as gui:
        assert not gui.start()
        assert "too long for a socket; set XDG_RUNTIME_DIR" in gui.engine.last_error
    wait_for_threads()


def test_a_callback_that_does_not_return_keeps_no_stop(mark, monkeypatch):
    monkeypatch.setattr(engine_module, "_DELIVERY_LIMIT_S", 0.3)
    with FakeDeepgram(echoing=True) as server, Gui(Engine, byok(server)) as gui:
        free = threading.Event()
        gui.on_call = lambda _call: free.wait(scaled(30))
        assert gui.start(server)
        wait_until(lambda: gui.calls, 30, "a callback")
        limit_s = promised(4)
        began = time.monotonic()
        gui.engine.stop()
        assert time.monotonic() - began < scaled(limit_s)
        assert supervisors(mark) == []
        free.set()
    wait_for_threads()


def test_a_recording_begins_with_itself_and_not_with_what_an_outage_left_of_the_one_before(mark):
    with FakeDeepgram() as server, Gui(Engine, byok(server)) as gui:
        assert gui.start(server)
        server.stop()
        wait_until(lambda: gui.of_kind("error"), 30, "the loss of the connection")
        limit_s = promised(4)
        began = time.monotonic()
        gui.engine.stop_recording()
        assert time.monotonic() - began < scaled(limit_s)
        assert runtime_directories() == []
        server.start()
        assert gui.start(server)
        first = server.connections[1].frames[0]
        assert len(first.data) < 32000
    wait_for_threads()


def test_others_can_follow_it_by_its_name_and_see_no_secret(mark):
    with FakeDeepgram(echoing=True) as server, Gui(Engine, byok(server, byok_api_key="s3cr3t-k3y")) as gui:
        assert gui.start(server)
        assert server.connections[0].authorization == "Token s3cr3t-k3y"
        assert "s3cr3t" not in repr(gui.engine)
        for info in running(mark):
            for file in ("cmdline", "environ"):
                assert b"s3cr3t" not in Path(f"/proc/{info.pid}/{file}").read_bytes()
        gui.engine.set_user_name("Bob")
        command = [sys.executable, "-m", "mpengine", "listen", "--name", gui.engine.name, "--format", "jsonl"]
        with spawned(command, stdout=subprocess.PIPE) as listen:
            names = (json.loads(line).get("user_name") for line in listen.stdout)
            assert "Bob" in names
    wait_for_threads()
