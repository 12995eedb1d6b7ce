"""How it ends: signals, bad input, permanent errors. What the user sees, the exit code, and that nothing is left."""

import os
import signal
import subprocess
import sys

import pytest

from tests.rig import wav_files
from tests.rig.configs import byok, managed, noise, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first, toml
from tests.rig.proxy import FakeProxy
from tests.rig.waiting import promised, scaled, wait_until
from tests.rig.wav_files import chunk, fmt, riff


def assert_one_clear_line(log: str, *words: str) -> None:
    """The log has a line with all `words`, and no traceback."""
    assert "Traceback" not in log
    assert any(all(word in line for word in words) for line in log.splitlines()), log


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_cleanly(microphone, engine, how):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        assert running.stop(how) == 0
        assert [text.json["type"] for text in server.connections[0].texts] == ["CloseStream"]
        states = [message["state"] for message in running.bus.of_type("status")]
        assert states[-2:] == ["stopping", "stopped"]
    running.assert_nothing_left()
    assert_one_clear_line(running.log_text(), "stopping", how.name)
    assert microphone.wait_for_recording(0) == []


def test_without_a_terminal_a_hangup_asks_for_a_reload_and_is_told_that_there_is_none(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        running.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload_refused" in running.log_text(), 30, "the answer to SIGHUP")
        server.wait_for_audio(server.current.audio_bytes + 16000)
        running.send_signal(signal.SIGHUP)  # and a request to stop right behind it
        assert running.stop() == 0
        published = [message for message in running.bus.of_type("status") if message["seq"]]  # not asked for by the rig
        assert [message["state"] for message in published].count("running") == 1


def test_with_its_terminal_the_engine_ends_cleanly(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        running.stop()
        master, terminal = os.openpty()
        running.start(terminal)
        os.close(terminal)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        os.close(master)  # the window is closed
        assert running.wait() == 0
        assert_one_clear_line(running.log_text(), "stopping", "SIGHUP")
    running.assert_nothing_left()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_under_nohup_it_outlives_its_terminal_and_ends_as_asked(microphone, engine, how):
    """A shell has its background jobs ignore Ctrl-C, too."""
    ignoring = ("sh", "-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh", sys.executable, "-m", "mpengine", "run")
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone, command=ignoring)
        running.wait_for_state("running")
        assert running.stop(how) == 0
        master, terminal = os.openpty()
        running.start(terminal)
        os.close(terminal)
        running.wait_for_state("running")
        os.close(master)  # the window is closed
        running.send_signal(signal.SIGHUP)
        server.wait_for_audio(server.current.audio_bytes + 16000)
        assert running.stop(how) == 0
        assert "HUP" not in running.log_text()
    running.assert_nothing_left()
    assert_one_clear_line(running.log_text(), "stopping", how.name)


def test_a_second_signal_is_immediate(microphone, engine):
    with FakeDeepgram() as server:  # answers CloseStream only after half a minute
        server.flush_delay_s = 30
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        running.send_signal(signal.SIGINT)
        server.wait_for_text("CloseStream")
        limit_s = promised(1)
        # The first copies count as the same request: launchers signal a process and its group.
        running.repeat_signal(signal.SIGINT, timeout=5 * limit_s)
        assert running.wait(timeout=2 * limit_s) == 1
        running.bus.wait_for(lambda m: m["type"] == "status" and m["state"] == "failed")
    running.assert_nothing_left(timeout=limit_s)
    assert_one_clear_line(running.log_text(), "stopping_at_once", "SIGINT")


def test_stop_during_an_outage_does_not_wait_for_the_server(microphone, engine):
    with FakeDeepgram() as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > 0)
    running.wait_for_state("degraded")
    assert running.stop(timeout=promised(5)) == 0
    assert running.bus.of_type("status")[-1]["unacknowledged_s"] > 0
    running.assert_nothing_left()


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"audio": {"blok_ms": 20}}, ':6: audio.blok_ms: unknown key; did you mean "block_ms"?'),
        ({"audio": {"block_ms": "long"}}, ":6: audio.block_ms: expected a whole number, 5 to 250 ms, not text"),
        ({"remote": {"mode": "magic"}}, ':6: remote.mode: expected "managed", "byok" or "local"'),
        ({}, ": remote.server_url: managed mode requires a server URL"),
        ({"remote": {"server_url": "x"}}, ": remote.auth_token: managed mode requires an auth token"),
        ({"remote": {"mode": "byok"}}, ": remote.byok_api_key: byok mode requires an API key"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_line_and_its_key(engine, tables, words):
    running = engine(tables)
    assert running.wait() == 2
    assert running.log_text().startswith(f"mpengine: {running.directory}/config.toml{words}")
    assert len(running.log_text().splitlines()) == 1
    running.assert_nothing_left()


def test_a_missing_configuration_file_is_named(tmp_path):
    command = [sys.executable, "-m", "mpengine", "run", "--config", str(tmp_path / "none.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"mpengine: cannot read {tmp_path}/none.toml: No such file or directory\n"


def test_without_a_configuration_the_usual_one_is_taken_and_told(tmp_path):
    (tmp_path / "mpengine").mkdir()
    usual = tmp_path / "mpengine" / "mic.toml"
    source = silent_file(tmp_path / "a.wav", 1)["audio"]["source"]
    usual.write_text(toml({"remote": {"mode": "byok"}, "audio": {"source": source, "paced": False}}))
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mpengine", "run", "--local"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    (told,) = [line for line in ended.stderr.splitlines() if "configuration_chosen" in line]
    assert str(usual) in told


def test_a_missing_device_names_those_there_are(microphone, engine):
    with FakeDeepgram() as server:
        running = engine(byok(server) | {"audio": {"device": "Røde"}}, microphone)
        assert running.wait() == 3
    assert_one_clear_line(running.log_text(), "no audio input device 'Røde'", "virtualmic")
    running.assert_nothing_left()


def test_a_missing_device_is_published_as_a_fatal_error(microphone, engine):
    # Opened only once connected.
    with FakeDeepgram(holds_upgrades=True) as server:
        running = engine(byok(server) | {"audio": {"device": "Røde", "start": "connected"}}, microphone)
        listen_first(running, server)
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["fatal"])
        assert (error["source"], error["code"]) == ("capture", "device")
        assert running.wait() == 3
        running.bus.wait_for(lambda m: m["type"] == "status" and m["state"] == "failed")


def test_a_missing_or_unfit_file_is_named(engine, tmp_path):
    with FakeDeepgram() as server:
        running = engine(byok(server) | {"audio": {"source": str(tmp_path / "none.wav")}})
        assert running.wait() == 2
    assert_one_clear_line(running.log_text(), "audio.source", "none.wav", "No such file")
    running.assert_nothing_left()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (riff(fmt(), chunk(b"LIST", b"INFO", 0xFFFFFFFF), chunk(b"data", bytes(64))), "it ends before its audio"),
        (riff(fmt(), chunk(b"data", b"")), "has no samples"),
        (b"fLaC" + bytes(1000), "it is a FLAC file; convert it"),
        ("/dev/zero", "it is no ordinary file"),
        ("/", "it is a directory"),
    ],
    ids=["list of 4 GB", "no samples", "FLAC", "device", "directory"],
)
def test_a_bad_file_is_one_line(engine, tmp_path, content, words):
    source = content if isinstance(content, str) else wav_files.write(tmp_path / "bad.wav", content)
    with FakeDeepgram() as server:
        running = engine(byok(server) | {"audio": {"source": source}})
        assert running.wait() == 2
    assert_one_clear_line(running.log_text(), "audio.source", source, words)
    running.assert_nothing_left()


def test_the_file_of_a_killed_recorder_is_sent_to_its_end(engine, tmp_path):
    audio = noise(3)
    content = riff(fmt(), chunk(b"data", audio, 0), size=0)
    source = wav_files.write(tmp_path / "killed.wav", content)
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | {"audio": {"source": source, "paced": False}})
        assert running.wait() == 0
        assert bytes(server.connections[0].audio) == audio
    assert_one_clear_line(running.log_text(), "wav_length_wrong", source)
    assert running.log_text().count("wav_length_wrong") == 1
    running.assert_nothing_left()


def test_a_wrong_key_is_tried_once(microphone, engine):
    with FakeDeepgram(api_key="the-right-one", holds_upgrades=True) as server:
        running = engine(byok(server), microphone)
        listen_first(running, server)
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["fatal"])
        assert running.wait() == 4
        assert len(server.attempts) == 1
        assert error["code"] == "unauthorized"
        assert error["request_id"] == server.attempts[0].request_id
        assert "INVALID_AUTH" in error["message"]
    assert_one_clear_line(running.log_text(), "401", "Invalid credentials")
    assert "a-key" not in running.log_text()
    running.assert_nothing_left()


def test_a_token_that_the_proxy_refuses_is_tried_once(microphone, engine):
    with FakeProxy(auth_answer=FakeProxy.error("token expired"), holds_upgrades=True) as server:
        running = engine(managed(server), microphone)
        listen_first(running, server)
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["fatal"])
        assert running.wait() == 4
        assert len(server.auths) == 1
    assert error["message"] == "Proxy auth error: token expired"
    assert "a-token" not in running.log_text()
    running.assert_nothing_left()


def test_a_second_engine_of_the_same_name_is_refused(microphone, engine):
    with FakeDeepgram() as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        command = [*running.command, "--config", str(running.directory / "config.toml")]
        second = subprocess.run(
            command, env=running.environment, capture_output=True, text=True, timeout=20, check=False
        )
        assert second.returncode == 1
        assert f"running already (pid {running.pid})" in second.stderr
        assert "Traceback" not in second.stderr
        running.wait_for_state("running")
        assert running.stop() == 0


@pytest.mark.parametrize("without", ["", "proc_title"])
def test_secrets_stand_nowhere_but_in_the_file(microphone, engine, without):
    environment = {"DEEPGRAM_API_KEY": "s3cr3t-k3y", "MPENGINE_WITHOUT": without}
    with FakeDeepgram() as server:
        running = engine(byok(server, byok_api_key=None), microphone, environment=environment)
        running.wait_for_state("running")
        assert server.wait_for_connection().authorization == "Token s3cr3t-k3y"
        for process in running.process_tree():
            with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                assert b"s3cr3t-k3y" not in file.read()
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                assert b"s3cr3t-k3y" not in file.read()
            with open(f"/proc/{process.pid}/coredump_filter", "rb") as file:
                assert int(file.read(), 16) == 0
        assert "s3cr3t" not in str(running.query({"type": "status"}))
        running.stop()
        assert "s3cr3t" not in running.log_text()


def test_the_terminal_stays_clean_when_the_device_goes_away(microphone, engine):
    with FakeDeepgram() as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        microphone.unplug()
        microphone.wait_for_recording(0)
        microphone.plug()
        running.stop()
    lines = running.log_text().splitlines()
    # Every line is one of ours: UTC time, level, process, event.
    assert [line for line in lines if not (line[4:5] == "-" and " supervisor " in line)] == []


def test_the_runtime_directory_is_private(microphone, engine):
    with FakeDeepgram() as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        assert os.stat(running.runtime).st_mode & 0o777 == 0o700
        windows = [entry for entry in os.scandir(running.runtime) if entry.name.endswith(".window")]
        assert [entry.stat().st_mode & 0o777 for entry in windows] == [0o600]
        running.stop()
        wait_until(lambda: not os.path.exists(running.runtime / "results"), 30, "the sockets' end")


def test_an_endpoint_that_is_taken_is_named(engine, microphone):
    with FakeDeepgram() as server:
        taken = server.address.partition("://")[2]
        running = engine(byok(server) | {"bus": {"publish": f"tcp://{taken}"}})
        assert running.wait() == 1
    assert running.log_text().splitlines() == [f"mpengine: cannot listen on tcp://{taken}: Address already in use"]
    running.assert_nothing_left()


def test_a_bus_key_that_is_none_is_refused(engine):
    tables = {"remote": {"mode": "local"}, "bus": {"curve_secret_key": "short"}}
    running = engine(tables)
    assert running.wait() == 2
    assert running.log_text().startswith("mpengine: bus.curve_secret_key: expected")
