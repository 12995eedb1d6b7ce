"""The commands, and the questions on the bus that they are made of."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from tests.rig.configs import byok, managed
from tests.rig.deepgram import FakeDeepgram
from tests.rig.proxy import FakeProxy
from tests.rig.waiting import scaled


def mpengine(running, *arguments, timeout=30):
    """Run a command beside the engine; returns it ended."""
    command = [sys.executable, "-m", "mpengine", *arguments]
    return subprocess.run(
        command, env=running.environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def test_status_is_a_table_for_people_and_json_for_machines(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        table = mpengine(running, "status", "--name", running.name)
        assert table.returncode == 0
        assert re.search(r"^state +running$", table.stdout, re.MULTILINE)
        assert re.search(r"^capture +RUNNING +\d+ +0 +\d", table.stdout, re.MULTILINE)
        assert server.url in table.stdout
        answer = json.loads(mpengine(running, "status", "--name", running.name, "--json").stdout)
        assert answer["type"] == "status"
        assert answer["children"]["streaming"]["state"] == "RUNNING"
        assert answer["metrics"]["children"]["supervisor"]["rss_mb"] > 1
        running.stop()


def test_stop_waits_until_the_engine_has_stopped(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        ended = mpengine(running, "stop", "--name", running.name)
        assert (ended.returncode, ended.stdout) == (0, "stopped\n")
        assert running.wait(timeout=3) == 0


@pytest.mark.parametrize("command", ["status", "stop"])
def test_without_an_engine_a_command_says_so(microphone, engine, tmp_path, command):
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    words = [sys.executable, "-m", "mpengine", command, "--name", "nobody"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith('mpengine: no engine called "nobody" answers at ipc://')
    assert ended.stderr.endswith("start one with: mpengine run\n")


def test_devices_lists_the_inputs_and_nothing_else(microphone):
    environment = os.environ | microphone.environment
    command = [sys.executable, "-m", "mpengine", "devices"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0
    assert "virtualmic" in ended.stdout
    assert ended.stderr == ""
    listed = subprocess.run([*command, "--json"], env=environment, capture_output=True, timeout=30, check=True)
    assert {"number", "name", "channels", "sample_rate"} <= set(json.loads(listed.stdout)[0])


def test_a_closed_pipe_is_no_error(microphone):
    environment = os.environ | microphone.environment
    command = f"{sys.executable} -m mpengine devices | true"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, timeout=30, check=False
    )
    assert ended.stderr == b""


def test_pause_frees_the_device_and_tells_the_gap(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        assert running.query({"type": "pause"}) == {"type": "ok"}
        assert microphone.wait_for_recording(0) == []
        paused = running.bus.wait_for(lambda m: m["type"] == "status" and m["reason"] == "paused")
        assert paused["state"] == "running"
        assert running.query({"type": "resume"}) == {"type": "ok"}
        gap = running.bus.wait_for(lambda m: m["type"] == "gap")
        assert gap["reason"] == "paused"
        before = len(server.audio)
        server.wait_for(lambda: len(server.audio) > before + 16000, 10, "audio after the pause")
        assert len(server.connections) == 1
        running.stop()


def test_the_user_name_can_be_changed(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | {"engine": {"user_name": "Ann"}}, microphone)
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["user_name"] == "Ann", 20)
        assert running.query({"type": "set_user_name", "user_name": "Bob"}) == {"type": "ok"}
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["user_name"] == "Bob", 20)
        running.stop()


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"type":"fly"}', b'{"type":"set_user_name"}'])
def test_a_malformed_command_gets_an_error_and_harms_nothing(engine, microphone, body):
    with FakeDeepgram() as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        answer = running.query(body)
        assert (answer["type"], answer["code"]) == ("error", "bad_command")
        assert running.query({"type": "status"})["state"] == "running"
        running.stop()


def test_what_the_proxy_says_beside_transcripts_is_published(engine, microphone):
    with FakeProxy() as server:
        running = engine(managed(server), microphone)
        running.wait_for_state("running")
        running.bus.messages  # noqa: B018  listen from here on
        for message in (
            {"type": "credits_low", "seconds_remaining": 12},
            {"type": "error", "code": "quota", "message": "soon over"},
            {"type": "session_end", "seconds_used": 34},
            {"type": "ready"},
            {"type": "of tomorrow", "field": 1},
            "no JSON at all",
            {"type": "transcript", "text": 5},
            {"type": "transcript", "text": "  ", "is_final": True},
            {"type": "transcript", "text": "hello", "is_final": True},
        ):
            server.push(message)
        final = running.bus.wait_for(lambda m: m["type"] == "transcript")
        assert (final["text"], final["is_final"], final["estimated"]) == ("hello", True, True)
        assert running.bus.of_type("credits_low")[0]["seconds_remaining"] == 12
        assert running.bus.of_type("session_end")[0]["seconds_used"] == 34
        errors = [(m["source"], m["code"], m["fatal"]) for m in running.bus.of_type("error")]
        assert errors == [("streaming", "quota", False), ("streaming", "malformed_message", False)]
        assert len(server.connections) == 1
        running.stop()


def test_listen_rewrites_the_interim_line_on_a_terminal(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        terminal, inner = pty.openpty()
        listen = subprocess.Popen(
            [sys.executable, "-m", "mpengine", "listen", "--name", running.name, "--exit-on-stop"],
            env=running.environment,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"] and m["start_s"] >= 2, 20)
        running.stop()
        assert listen.wait(scaled(10)) == 0
        shown = b""
        try:
            while piece := os.read(terminal, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        os.close(terminal)
        text = shown.decode()
        assert re.search("\r\x1b\\[K\x1b\\[2mwords \\d+\x1b\\[0m", text)
        assert re.search("\r\x1b\\[Kwords \\d+\r\n", text)
        assert "Traceback" not in text


def test_listen_ends_quietly_on_ctrl_c(tmp_path):
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = "import signal, sys; signal.setitimer(signal.ITIMER_REAL, 1.0);"
    command += "signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT));"
    command += "from mpengine.cli import main; sys.exit(main(['listen']))"
    ended = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
