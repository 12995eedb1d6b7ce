"""`mpengine status --watch` on a real terminal and in pipes, and output that cannot be written; a fake engine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from mpengine.cli import parser_for
from mpengine.cli.target import read_status
from mpengine.shared import control
from mpengine.shared.config import Config
from mpengine.shared.errors import ConfigError
from mpengine.supervisor.bus.answers import Answers
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.coordinator import Coordinator
from tests.pure.support import within
from tests.rig.fake_engine import FakeEngine
from tests.rig.processes import spawn
from tests.rig.terminal import Terminal
from tests.rig.waiting import scaled

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, CLEAR_BELOW = "\x1b[H", "\x1b[J"
NEXT_LINE = "\x1b[K\r\r\n"  # the terminal adds a return of its own
CTRL_C, CTRL_Z = b"\x03", b"\x1a"


@pytest.fixture
def engine(tmp_path):
    with FakeEngine(tmp_path, greeting=[{"type": "transcript", "text": "hello", "is_final": True}]) as fake:
        fake.status = {"state": "running", "name": "fake", "children": {"capture": {"state": "RUNNING", "pid": 7}}}
        yield fake


def command(engine, *arguments):
    return [sys.executable, "-m", "mpengine", "status", "--query", engine.query, *arguments]


class Watching(Terminal):
    """`mpengine status --watch` on a terminal of its own."""

    def __init__(self, engine, *arguments, **size):
        super().__init__(command(engine, "--watch", *arguments), **size)

    @property
    def text(self):
        """All that was written, but for half a letter at its end."""
        return self.written.decode(errors="ignore")

    def wait_for_text(self, probe):
        """Read on until `probe(everything that was written)` is true; returns that."""
        self.wait_for(lambda _: probe(self.text))
        return probe(self.text)

    def wait_for_drawn(self, probe):
        """Wait until the whole screen is drawn again so that `probe(its lines)` is true; returns the lines."""
        begin = len(self.text)

        def latest(written):
            drawn = written[begin:].rpartition(CLEAR_BELOW)[0].rpartition(HOME)
            lines = drawn[2].split(NEXT_LINE)
            return lines if drawn[1] and probe(lines) else None

        return self.wait_for_text(latest)


@pytest.fixture
def terminal(engine):
    """Starts watching on a terminal."""
    terminals = []

    def start(*arguments, **size):
        terminals.append(Watching(engine, *arguments, **size))
        return terminals[-1]

    yield start
    for each in terminals:
        each.close()


def plain(line):
    """Without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def has(text):
    return lambda lines: any(text in plain(line) for line in lines)


# On a terminal


def test_the_table_is_refreshed_in_place(engine, terminal):
    watching = terminal("0.1")
    lines = watching.wait_for_drawn(has("state       running"))
    assert plain(lines[0]) == "engine      fake (pid 0,  mode)"
    engine.status["state"] = "degraded"
    watching.wait_for_drawn(has("state       degraded"))
    written = watching.text
    assert written.startswith(ENTER + HOME)
    assert written.count(ENTER) == 1
    assert "\n" not in written.replace(NEXT_LINE, "")


def test_ctrl_c_ends_it_well_and_gives_the_terminal_back(terminal):
    watching = terminal("600")
    watching.wait_for_drawn(has("running"))
    watching.press(CTRL_C)
    assert watching.wait_for_end() == 0
    written = watching.text
    assert written.endswith(LEAVE)
    assert (written.count(ENTER), written.count(LEAVE)) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_as_signals_do_and_gives_the_terminal_back(terminal, number):
    watching = terminal("600")
    watching.wait_for_drawn(has("running"))
    watching.process.send_signal(number)
    assert watching.wait_for_end() == -number
    assert watching.text.endswith(LEAVE)


def test_lines_are_wrapped_to_the_terminal_also_when_it_changes_its_size(engine, terminal):
    engine.status["device"] = "日本語" * 20
    watching = terminal("600", rows=24, columns=60)
    lines = [plain(line) for line in watching.wait_for_drawn(has("running"))]
    assert f"device      {'日本語' * 7}日本" in lines
    assert f"            語{'日本語' * 7}日" in lines
    watching.resize(4, 20)
    lines = [plain(line) for line in watching.wait_for_drawn(lambda lines: len(lines) == 4)]
    assert lines[:3] == ["engine      fake", "            (pid 0,", "            mode)"]
    assert re.fullmatch(r"\(\d+ more lines\)", lines[3])
    assert engine.questions == 1


def test_ctrl_z_gives_the_terminal_back_and_the_way_back_takes_it_again(terminal):
    watching = terminal("600")
    watching.wait_for_drawn(has("running"))
    watching.press(CTRL_Z)  # nobody controls jobs here: it goes on at once
    watching.wait_for_drawn(has("running"))
    watching.wait_for_text(lambda written: written.count(ENTER) == 2)
    assert written_in_order(watching.text, ENTER, "running", LEAVE, ENTER, "running")


def written_in_order(written, *pieces):
    at = 0
    for piece in pieces:
        at = written.find(piece, at) + 1
        if not at:
            return False
    return True


def test_a_terminal_that_was_stopped_does_not_keep_it_from_its_end(terminal):
    watching = terminal("0.1")
    watching.wait_for_drawn(has("running"))
    watching.stop_output()
    watching.wait_for_write()
    watching.process.send_signal(signal.SIGTERM)
    assert watching.process.wait(scaled(30)) == -signal.SIGTERM


def test_an_engine_that_goes_away_is_said_to_be_and_awaited(engine, terminal):
    watching = terminal("0.1")
    watching.wait_for_drawn(has("running"))
    engine.vanish()
    lines = watching.wait_for_drawn(has("no engine"))
    assert lines[0].startswith('no engine called "default" answers at')
    assert lines[-1] == "retrying"
    engine.start()
    watching.wait_for_drawn(has("running"))
    watching.press(CTRL_C)
    assert watching.wait_for_end() == 0


def test_what_cannot_be_is_no_reason_to_try_on(engine, terminal):
    watching = terminal("--server-key", "short")
    assert watching.wait_for_end() == 2
    words = "mpengine: server_key: expected the engine's public CURVE key, 40 characters (Z85)"
    assert watching.text.split() == words.split()  # broken at words


# In pipes


@contextmanager
def piped(engine, *arguments, stdout=subprocess.PIPE):
    """The command with its output in pipes; what reads from them must end in time."""
    words = command(engine, "--watch", "0.1", *arguments)
    with within(60), spawn(words, stdout=stdout, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_piped_the_tables_are_written_one_after_the_other(engine):
    with piped(engine) as process:
        first = list(iter(process.stdout.readline, b"\n"))
        assert first[0] == b"engine      fake (pid 0,  mode)\n"
        second = list(iter(process.stdout.readline, b"\n"))
        assert second[0].startswith(b"PROCESS")
        assert process.stdout.readline() == first[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=scaled(30))
        assert (process.returncode, errors) == (0, b"")


def test_a_reader_that_goes_away_ends_it(engine):
    with piped(engine) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(scaled(30)) == 0
        assert process.stderr.read() == b""


def test_json_is_an_object_a_line_also_when_the_engine_goes_away(engine):
    with piped(engine, "--json") as process:
        assert [json.loads(process.stdout.readline())["state"] for _ in range(3)] == ["running"] * 3
        engine.vanish()
        lines = (json.loads(line) for line in process.stdout)
        error = next(line for line in lines if line["type"] != "status")
        assert (error["type"], error["code"]) == ("error", "unreachable")
        engine.start()
        assert next(lines)["state"] == "running"


@contextmanager
def full_pipe():
    """A pipe that nobody reads, its writing end in non-blocking mode."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        pass
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


def test_a_full_pipe_that_does_not_block_ends_it(engine):
    with full_pipe() as writer, piped(engine, stdout=writer) as process:
        assert process.wait(scaled(30)) == 1
        assert process.stderr.read() == b"mpengine: cannot write: Resource temporarily unavailable\n"


def test_a_full_pipe_does_not_keep_it_from_its_end(engine):
    with full_pipe() as writer:
        os.set_blocking(writer, True)
        with piped(engine, stdout=writer) as process:
            engine.wait_for_questions(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(scaled(30)) == 0
            assert process.stderr.read() == b""


# Output that cannot be written


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "--json"),
        ("status", "--watch"),
        ("listen",),
        ("listen", "--format", "jsonl"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(engine, words, unbuffered):
    words = [sys.executable, "-m", "mpengine", *words, "--query", engine.query]
    words += ["--publish", engine.results] if "listen" in words else []
    with open("/dev/full", "wb") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        ended = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=scaled(30), check=False
        )
        assert (ended.returncode, ended.stderr) == (1, b"mpengine: cannot write: No space left on device\n")


def test_where_even_the_line_cannot_be_written_the_exit_code_tells(engine):
    words = [sys.executable, "-m", "mpengine", "status", "--query", "foo"]
    with open("/dev/full", "wb") as full:
        assert subprocess.run(words, stdout=full, stderr=full, timeout=scaled(30), check=False).returncode == 2


# The answer


def test_the_answer_has_all_that_the_table_shows():
    coordinator = Coordinator(Config.parse({"remote": {"mode": "local"}}), chance=lambda: 0.0, now=time.monotonic())
    endpoints = {f"{each}_endpoint": f"ipc://{each}" for each in ("publish", "query", "command")}
    bus = SimpleNamespace(run="r", boot="b", last={}, **endpoints)
    answers = Answers(coordinator.config, coordinator, bus, processes={})

    def says(child, *several):
        for message in several:
            coordinator.heard(child, message, time.monotonic())

    for child in coordinator.lives:
        coordinator.spawned(child, 7, time.monotonic())
    says(Child.CAPTURE, control.DeviceOpened(name="USB", sample_rate=16000, channels=1, latency_s=0.1))
    says(Child.CAPTURE, control.LevelHeard(first=0, end=4000, rms_dbfs=-30.0, peak_dbfs=-20.0, digital_silence=False))
    connection = {"connection": 1, "endpoint": "ws://here"}
    says(Child.STREAMING, control.Connecting(**connection), control.ConnectionReady(**connection))
    coordinator.exited(Child.STREAMING, -9, time.monotonic())
    answer = read_status(answers.to(b'{"type":"status"}', time.monotonic())[0])
    assert answer.level.rms_dbfs == -30.0
    assert answer.last_disconnect == "the streaming process ended"
    assert 0 <= answer.last_disconnect_ago_s < scaled(5)
    capture, streaming = answer.children["capture"], answer.children["streaming"]
    assert (0 <= capture.up_s < scaled(5), capture.last_end) == (True, "")
    assert (streaming.up_s, streaming.reason, streaming.last_end) == (None, "killed by SIGKILL", "killed by SIGKILL")


@pytest.mark.parametrize(
    ("words", "interval_s"), [([], None), (["--watch"], 1.0), (["--watch", "0.5"], 0.5), (["--watch", "--json"], 1.0)]
)
def test_without_a_number_it_is_refreshed_every_second(words, interval_s):
    assert parser_for("status").parse_args(["status", *words]).watch == interval_s


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", ""])
def test_an_interval_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match=r"\Astatus --watch: expected 0.1 to 86400 seconds\Z"):
        parser_for("status").parse_args(["status", f"--watch={text}"])
