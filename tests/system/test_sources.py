"""Audio from standard input, a FIFO and a command: a whole engine, whose sources and processes come and go.

What is live is coded (`tests.rig.live_code`): the audio that arrives says how long each gap truly was.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mpengine
from tests.rig import live_code
from tests.rig.configs import byok, noise, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.processes import all_processes, spawned
from tests.rig.waiting import PATIENCE_S, wait_until

SECOND = 32000  # bytes
LIVE = [sys.executable, live_code.__file__]
BLOCK = 320
# The program that writes the code may itself be late, on a busy machine. The engine cannot know that.
TOLERANCE = 3 * BLOCK
PAGE = Path(mpengine.__file__).parent / "docs" / "configuration.md"
EXAMPLES = [
    tables["audio"]
    for tables in map(tomllib.loads, re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    if "command" in tables.get("audio", {})
]


def source(server, **audio):
    return byok(server) | {"audio": audio}


def gaps(running, reason):
    return [gap for gap in running.bus.of_type("gap") if gap["reason"] == reason]


def program_of(running):
    """The pid of the command of an engine; 0 while there is none."""
    found = [each.pid for each in running.process_tree() if live_code.__file__ in each.command]
    return found[0] if len(found) == 1 else 0


def assert_told(running, server, reasons):
    """Each gap was told where it is, with its true length, and nothing else is missing."""
    told = running.bus.of_type("gap")
    jumps = live_code.jumps(server.audio)
    errors = [live_code.error(gap["samples"], missing) for gap, (_, missing) in zip(told, jumps, strict=True)]
    print("gaps:", [(gap["reason"], gap["samples"]) for gap in told], "errors:", errors)
    assert [gap["reason"] for gap in told] == reasons
    assert all(abs(error) <= TOLERANCE for error in errors), errors
    passed = 0
    for gap, (index, _) in zip(told, jumps, strict=True):
        assert round(gap["start_s"] * 16000) == index + passed
        passed += gap["samples"]


# Standard input


def test_a_file_by_cat_is_heard_whole_and_the_engine_ends(engine, tmp_path):
    pcm = noise(3)
    path = write_wav(tmp_path / "talk.wav", pcm)
    knobs = {"echoing": True, "holds_upgrades": True}
    with FakeDeepgram(**knobs) as server, spawned(["cat", path], stdout=subprocess.PIPE) as cat:
        running = engine(source(server, source="-"), stdin=cat.stdout)
        listen_first(running, server)
        assert running.wait() == 0
        assert server.audio == pcm
        assert running.bus.of_type("gap") == []
        assert not server.violations
    running.assert_nothing_left()


def test_a_long_file_unpaced_is_heard_whole_and_fast(engine, tmp_path):
    pcm = noise(300)
    path = write_wav(tmp_path / "talk.wav", pcm)
    tables = {"buffer": {"seconds": 60}}
    knobs = {"echoing": True, "holds_upgrades": True}
    with FakeDeepgram(**knobs) as server, spawned(["cat", path], stdout=subprocess.PIPE) as cat:
        running = engine(source(server, source="-", paced=False) | tables, stdin=cat.stdout)
        listen_first(running, server)
        assert running.wait(120) == 0
        assert server.audio == pcm
        assert running.bus.of_type("gap") == []
    running.assert_nothing_left()


@pytest.mark.parametrize("paced", [True, False])
def test_a_killed_capture_goes_on_with_the_same_pipe(engine, tmp_path, paced):
    pcm = noise(3)
    data = write_wav(tmp_path / "talk.wav", pcm).read_bytes()
    half = 44 + 3 * SECOND // 2  # not at the end of a block
    reader, writer = os.pipe()
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source="-", paced=paced), stdin=reader)
        os.close(reader)
        os.write(writer, data[:half])
        running.wait_for_state("running")
        server.wait_for_audio(SECOND)
        killed = running.signal_child("capture")
        running.child_pid("capture", other_than=killed)
        os.write(writer, data[half:])
        os.close(writer)
        assert running.wait() == 0
        heard = server.audio
        lost = sum(gap["samples"] for gap in gaps(running, "capture_restart"))
        if not paced:
            assert len(heard) // 2 + lost == len(pcm) // 2
        # The header was not needed again, and no byte was shifted.
        assert heard[:SECOND] == pcm[:SECOND]
        assert heard[-SECOND:] == pcm[-SECOND:]
    running.assert_nothing_left()


def test_live_audio_from_a_pipe_survives_the_killing_of_capture(engine):
    with FakeDeepgram(echoing=True) as server, spawned(LIVE, stdout=subprocess.PIPE) as live:
        running = engine(source(server, source="-"), stdin=live.stdout)
        live.stdout.close()  # the engine alone reads it
        running.wait_for_state("running")
        server.wait_for_audio(2 * SECOND)
        killed = running.signal_child("capture")
        running.child_pid("capture", other_than=killed)
        server.wait_for_audio(server.current.audio_bytes + 2 * SECOND)
        assert live.poll() is None
        live.kill()
        assert running.wait() == 0
        missing = sum(count for _, count in live_code.jumps(server.audio))
        told = sum(gap["samples"] for gap in running.bus.of_type("gap"))
        assert abs(live_code.error(told, missing)) <= TOLERANCE
        assert missing <= 16000  # the pipe had kept what came meanwhile
    running.assert_nothing_left()


@pytest.mark.parametrize(("data", "words"), [(b"", "has ended without a sample"), (b"fLaC" * 9, "it is a FLAC file")])
def test_standard_input_without_audio_is_no_success(engine, data, words):
    reader, writer = os.pipe()
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source="-"), stdin=reader)
        os.close(reader)
        os.write(writer, data)
        os.close(writer)
        assert running.wait() == 2
    log = running.log_text()
    assert "Traceback" not in log
    assert any("audio.source" in line and words in line for line in log.splitlines()), log
    running.assert_nothing_left()


def test_a_terminal_as_standard_input_is_refused(engine):
    master, terminal = os.openpty()
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source="-"), stdin=terminal)
        os.close(terminal)
        assert running.wait() == 2
        assert "standard input is a terminal" in running.log_text()
    os.close(master)
    running.assert_nothing_left()


def test_it_is_read_without_a_zygote_as_well(engine, tmp_path):
    pcm = noise(2)
    data = write_wav(tmp_path / "talk.wav", pcm).read_bytes()
    reader, writer = os.pipe()
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source="-"), stdin=reader, environment={"MPENGINE_WITHOUT": "zygote"})
        os.close(reader)
        os.write(writer, data[: 44 + SECOND])
        running.wait_for_state("running")
        server.wait_for_audio(SECOND)
        killed = running.signal_child("capture")
        running.child_pid("capture", other_than=killed)
        os.write(writer, data[44 + SECOND :])
        os.close(writer)
        assert running.wait() == 0
        assert server.audio == pcm
    running.assert_nothing_left()


# A FIFO


def test_an_engine_waits_for_the_first_writer_of_a_fifo_and_costs_nothing(engine, tmp_path):
    path = tmp_path / "talk"
    os.mkfifo(path)
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source=str(path)))
        lost = running.wait_for_state("degraded")
        assert f"nothing comes from the FIFO {path}" in lost["reason"]
        calm = running.bus.wait_for(lambda m: m["type"] == "metrics")
        later = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] >= calm["uptime_s"] + 4)
        used_s = later["children"]["capture"]["cpu_s"] - calm["children"]["capture"]["cpu_s"]
        assert used_s < 0.05 * (later["uptime_s"] - calm["uptime_s"])
        assert later["restarts"] == 0
        with spawned(["sh", "-c", f'exec "$@" > {path}', "sh", *LIVE]):
            running.wait_for_state("running")
            server.wait_for_audio(SECOND)
        assert running.stop() == 0
    running.assert_nothing_left()


def last_status(messages):
    """The last status that was published."""
    return next(message for message in reversed(messages) if message["type"] == "status")


def test_the_writers_of_a_fifo_come_and_go(engine, tmp_path):
    path = tmp_path / "talk"
    os.mkfifo(path)
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source=str(path)))
        for number in (1, 2, 3):
            with spawned(["sh", "-c", f'exec "$@" > {path}', "sh", *LIVE]):
                server.wait_for_audio(number * 2 * SECOND)
                running.wait_for_state("running")
            running.bus.wait_until(
                lambda messages: f"no writer at {path}" in str(last_status(messages)["children"]["capture"]),
                PATIENCE_S,
                "the loss",
            )
        assert running.stop() == 0
        assert_told(running, server, ["device", "device"])
        assert len(server.connections) == 1
    running.assert_nothing_left()


def test_a_killed_capture_does_not_end_the_writer_of_a_fifo(engine, tmp_path):
    path = tmp_path / "talk"
    os.mkfifo(path)
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, source=str(path)))
        with spawned(["sh", "-c", f'exec "$@" > {path}', "sh", *LIVE]) as writer:
            server.wait_for_audio(2 * SECOND)
            killed = running.signal_child("capture")
            running.child_pid("capture", other_than=killed)
            server.wait_for_audio(server.current.audio_bytes + SECOND)
            assert writer.poll() is None
        assert running.stop() == 0
    running.assert_nothing_left()


# A command


def test_a_command_that_is_killed_is_started_again_and_each_gap_is_told(engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, command=LIVE))
        running.wait_for_state("running")
        for kills in range(3):
            server.wait_for_audio(2 * (kills + 1) * SECOND + SECOND)
            before = wait_until(lambda: program_of(running), PATIENCE_S, "the command")
            os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: program_of(running) not in (0, before), PATIENCE_S, "another one")
        server.wait_for_audio(server.current.audio_bytes + SECOND)
        assert running.stop() == 0
        assert_told(running, server, ["device"] * 3)
    running.assert_nothing_left()


def test_a_killed_capture_takes_its_command_along(engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, command=LIVE))
        running.wait_for_state("running")
        server.wait_for_audio(2 * SECOND)
        before = program_of(running)
        running.signal_child("capture")
        wait_until(lambda: program_of(running) not in (0, before), PATIENCE_S, "another command")
        assert before not in {each.pid for each in all_processes() if each.running}
        server.wait_for_audio(server.current.audio_bytes + 2 * SECOND)
        assert running.stop() == 0
        assert_told(running, server, ["capture_restart"])
    running.assert_nothing_left()


def test_a_killed_supervisor_takes_the_command_along(engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, command=LIVE))
        server.wait_for_audio(SECOND)
        assert program_of(running)
        running.kill()
        running.assert_nothing_left()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/no/such/program"], "cannot start /no/such/program: No such file or directory"),
        (["sh", "-c", "echo no device hw:9 >&2; exit 1"], "sh has ended with exit code 1: no device hw:9"),
    ],
)
def test_a_command_that_never_worked_ends_the_engine(engine, command, words):
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, command=command))
        assert running.wait() == 3
    log = running.log_text()
    assert "Traceback" not in log
    assert any(words in line for line in log.splitlines()), log
    running.assert_nothing_left()


def test_an_engine_that_waits_starts_a_command_until_it_works(engine, tmp_path):
    there = tmp_path / "there"
    script = f'test -e {there} || {{ echo not yet >&2; exit 1; }}; exec "$@"'
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, command=["sh", "-c", script, "sh", *LIVE]), arguments=("--wait",))
        lost = running.wait_for_state("degraded")
        assert "sh has ended with exit code 1: not yet" in lost["reason"]
        pid = running.child_pid("capture")
        there.touch()
        running.wait_for_state("running")
        server.wait_for_audio(SECOND)
        assert running.child_pid("capture") == pid  # it has waited inside
        assert running.stop() == 0
        assert running.bus.of_type("gap") == []
    running.assert_nothing_left()


@pytest.mark.parametrize("audio", EXAMPLES, ids=lambda audio: audio["command"][0])
def test_the_examples_of_the_page_configuration_work(microphone, engine, audio):
    if shutil.which(audio["command"][0]) is None:
        pytest.skip(f"{audio['command'][0]} is not here")
    with FakeDeepgram(echoing=True) as server:
        running = engine(source(server, **audio), microphone)
        running.wait_for_state("running")
        played = noise(1)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in server.audio, PATIENCE_S, "what was played")
        assert running.stop() == 0
        assert running.bus.of_type("gap") == []
        assert [error["message"] for error in running.bus.of_type("error")] == []
    running.assert_nothing_left()
