"""The commands, and the questions on the bus that they are made of."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq

from mpengine import __version__, cli
from mpengine.cli.target import reachable
from tests.rig import speech
from tests.rig.configs import byok, managed, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.fake_engine import FakeEngine
from tests.rig.processes import process_info, spawn, spawned
from tests.rig.proxy import FakeProxy
from tests.rig.server import reserve_port
from tests.rig.terminal import Terminal
from tests.rig.waiting import promised, scaled, wait_until

COMMAND = [sys.executable, "-m", "mpengine"]
MANAGING = ("pause", "resume", "rename Ann", "status")
SILENCE_S = 0.5
# What `listen --exit-on-stop` does about an engine that says nothing it does sooner here.
SOONER = f"import sys; from mpengine import cli; from mpengine.cli import listen; listen._SILENCE_S = {SILENCE_S}"
IMPATIENT = [sys.executable, "-c", f"{SOONER}; sys.exit(cli.main())"]


def mpengine(running, *arguments, timeout=30, **environment):
    """Run a command beside the engine (or anywhere); returns it ended."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=(running.environment if running else os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=scaled(timeout),
        check=False,
    )


@pytest.fixture
def of_a_file(tmp_path):
    """Makes a configuration with ten minutes of a file instead of the microphone."""
    audio = silent_file(tmp_path / "long.wav", 600)
    return lambda server: byok(server) | audio


class StoppedEngine(FakeEngine):
    """One that may be asked to stop. Its process is one that sleeps.

    On a stop it publishes `last_word` and is killed if it `ends`. `shown`: where it says that its results are.
    """

    def __init__(self, directory, *, last_word=None, ends=True, shown=None):
        super().__init__(directory)
        self._last_word, self._ends = last_word, ends
        self.process = spawn(["sleep", "600"])
        self.status |= {"publish": shown or self.results, "pid": self.process.pid}

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        super().__exit__(*exc)

    def answered(self, kind, publisher):
        if kind in {"status", "snapshot"}:
            return
        if self._last_word is not None:
            self.publish(publisher, {"type": "status", **self._last_word})
        if self._ends:
            self.process.kill()  # and not collected: whoever started an engine may take their time


def test_status_is_a_table_for_people_and_json_for_machines(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        table = mpengine(running, "status", "--name", running.name)
        assert table.returncode == 0
        assert re.search(r"^state +running$", table.stdout, re.MULTILINE)
        assert re.search(r"^capture +running +\d+ +0 +\d", table.stdout, re.MULTILINE)
        assert server.url in table.stdout
        answer = json.loads(mpengine(running, "status", "--name", running.name, "--json").stdout)
        assert answer["type"] == "status"
        assert answer["children"]["streaming"]["state"] == "RUNNING"
        assert answer["metrics"]["children"]["supervisor"]["rss_mb"] > 1
        running.stop()


@pytest.mark.parametrize(
    ("status", "line", "code"),
    [
        ({"state": "running"}, "running", 0),
        ({"state": "running", "reason": "paused", "paused": True}, "running (paused)", 0),
        ({"state": "connecting", "not_running_s": 9.5}, "connecting for 9.5 s", 0),
        ({"state": "running", "not_running_s": 3.0}, "running after 3.0 s", 0),
        ({"state": "running", "not_running_s": 600.0}, "running after 00:10:00", 1),
        ({"state": "connecting", "not_running_s": 61.0}, "connecting for 61.0 s", 1),
        ({"state": "degraded", "reason": "a\x1b\nb", "not_running_s": 59.0}, "degraded (a\ufffd b) for 59.0 s", 0),
        ({"state": "degraded", "reason": "no route", "not_running_s": 7200.0}, "degraded (no route) for 02:00:00", 1),
        ({"state": "stopping", "not_running_s": 1.0}, "stopping for 1.0 s", 0),
        ({"state": "failed", "reason": "HTTP 402", "not_running_s": 1.0}, "failed (HTTP 402) for 1.0 s", 1),
    ],
)
def test_a_check_is_one_line_and_a_code_for_monitoring(tmp_path, status, line, code):
    with FakeEngine(tmp_path) as fake:
        fake.status |= status
        ended = mpengine(None, "status", "--check", "--query", fake.query)
    assert (ended.stdout, ended.stderr, ended.returncode) == (f"{line}\n", "", code)


def test_a_check_of_an_engine_that_is_not_there_is_one_line_too(tmp_path):
    ended = mpengine(None, "status", "--check", "--name", "nobody", XDG_RUNTIME_DIR=str(tmp_path))
    assert ended.returncode == 2
    assert re.fullmatch(r"absent \(no engine called \"nobody\" answers.*\)\n", ended.stdout)
    assert ended.stderr == ""


def test_stop_waits_until_the_engine_has_stopped(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        ended = mpengine(running, "stop", "--name", running.name)
        assert ended.returncode == 0
        assert re.fullmatch(r"stopped(; \d+\.\d s of audio without a result)?\n", ended.stdout)
        assert not process_info(running.pid).running
        assert running.wait(timeout=0) == 0


def test_an_engine_can_be_started_right_behind_a_stop(engine, of_a_file):
    with FakeDeepgram(echoing=True) as server:
        running = engine(of_a_file(server))
        for _ in range(3):
            running.wait_for_state("running")
            assert mpengine(running, "stop", "--name", running.name).returncode == 0
            assert running.wait(timeout=0) == 0
            running.start()
        running.wait_for_state("running")
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("last_word", "said", "code"),
    [
        ({"state": "stopped"}, "stopped\n", 0),
        ({"state": "stopped", "unacknowledged_s": 3.25}, "stopped; 3.2 s of audio without a result\n", 0),
        ({"state": "failed", "reason": "HTTP 402\x1b[2J"}, "failed: HTTP 402\ufffd[2J\n", 1),
        (None, "ended without a last status: it was killed or has crashed\n", 1),
    ],
)
def test_stop_tells_how_the_engine_ended(tmp_path, last_word, said, code):
    with StoppedEngine(tmp_path, last_word=last_word) as fake:
        ended = mpengine(None, "stop", "--query", fake.query)
        assert (ended.stdout, ended.stderr, ended.returncode) == (said, "", code)


class SlowWay:
    """A socket at `path` from where it takes `delay_s` to reach the one at `there`, as beside very busy programs."""

    def __init__(self, path, there, delay_s):
        self.endpoint = f"ipc://{path}"
        self._there, self._delay_s = there.removeprefix("ipc://"), delay_s
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="rig-slow-way")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        with contextlib.suppress(OSError):  # nobody may have come, or all may have gone
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(self._listener)
            near = stack.enter_context(self._listener.accept()[0])
            self._done.wait(self._delay_s)
            far = stack.enter_context(socket.socket(socket.AF_UNIX))
            far.connect(self._there)
            pairs = {near: far, far: near}
            while not self._done.is_set():
                for end in select.select(pairs, [], [], 0.02)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    pairs[end].sendall(data)


def test_stop_asks_only_once_it_will_hear_how_the_engine_ends(tmp_path):
    results = f"ipc://{tmp_path}/results"
    with (
        SlowWay(tmp_path / "way", results, scaled(1.5)) as way,
        StoppedEngine(tmp_path, last_word={"state": "stopped"}, shown=way.endpoint) as fake,
    ):
        ended = mpengine(None, "stop", "--query", fake.query)
        assert (ended.stdout, ended.stderr, ended.returncode) == ("stopped\n", "", 0)


def test_stop_says_that_it_could_not_hear_how_the_engine_ended(tmp_path):
    sooner = "from mpengine.cli import stop; stop._LIVE_LIMIT_S = stop._LAST_WORD_S = 0.2"
    words = [sys.executable, "-c", f"import sys; {sooner}; from mpengine import cli; sys.exit(cli.main())", "stop"]
    with StoppedEngine(tmp_path, last_word={"state": "stopped"}, shown=f"ipc://{tmp_path}/nobody") as fake:
        ended = subprocess.run([*words, "--query", fake.query], capture_output=True, timeout=scaled(30), check=False)
        assert ended.stdout == b"ended; nobody knows how, because nothing came from its bus.publish endpoint\n"
        assert (ended.stderr, ended.returncode) == (b"", 1)


def test_stop_waits_for_the_process_but_not_for_ever(tmp_path):
    with StoppedEngine(tmp_path, last_word={"state": "stopped"}, ends=False) as fake:
        ended = mpengine(None, "stop", "--query", fake.query, "--timeout", "1")
        assert ended.returncode == 1
        assert ended.stderr == f'mpengine: "default" (pid {fake.process.pid}) has not stopped within 1 s\n'


@pytest.mark.parametrize(
    ("publish", "query", "endpoint"),
    [
        ("ipc:///run/results", None, "ipc:///run/results"),
        ("tcp://10.0.0.1:5555", "tcp://10.0.0.9:5556", "tcp://10.0.0.1:5555"),
        ("tcp://*:5555", "tcp://pi.local:5556", "tcp://pi.local:5555"),
        ("tcp://0.0.0.0:5555", "tcp://10.0.0.9:5556", "tcp://10.0.0.9:5555"),
        ("tcp://[::]:5555", "tcp://[fe80::1]:5556", "tcp://[fe80::1]:5555"),
        ("tcp://*:5555", "ipc:///run/query", "tcp://127.0.0.1:5555"),
        ("tcp://*:5555", None, "tcp://127.0.0.1:5555"),
    ],
)
def test_results_bound_at_every_address_are_followed_where_the_engine_answered(publish, query, endpoint):
    assert reachable(publish, query) == endpoint


def test_an_encrypted_engine_takes_commands_with_its_public_key(engine, of_a_file):
    public, secret = (key.decode() for key in zmq.curve_keypair())
    publish, query = (f"tcp://127.0.0.1:{reserve_port()}" for _ in range(2))
    with FakeDeepgram(echoing=True) as server:
        bus = {"publish": publish, "query": query, "curve_secret_key": secret}
        running = engine(of_a_file(server) | {"bus": bus})
        there = ("--name", running.name, "--query", query)
        key = ("--server-key", public)
        words = [*COMMAND, "listen", *there, *key, "--publish", publish, "--exit-on-stop", "--finals"]
        with spawned(words, env=running.environment, stdout=subprocess.PIPE) as listen:
            wait_until(lambda: mpengine(running, "status", *there, *key).returncode == 0, 30, "an answer")
            unreachable = mpengine(running, "status", *there)
            assert unreachable.returncode == 1
            assert unreachable.stderr.startswith(f'mpengine: no engine called "{running.name}" answers at {query}')
            by_environment = mpengine(running, "status", *there, "--json", MPENGINE_CURVE_SERVER_KEY=public)
            assert json.loads(by_environment.stdout)["pid"] == running.pid
            assert listen.stdout.readline().startswith(b"words ")
            stopped = mpengine(running, "stop", *there, *key)
            assert (stopped.returncode, stopped.stderr) == (0, "")
            assert stopped.stdout.startswith("stopped")
            assert running.wait() == 0
            assert listen.wait(scaled(30)) == 0


@pytest.mark.slow
def test_an_encrypted_engine_on_tcp_is_found_by_its_name_alone(engine, of_a_file):
    _, secret = (key.decode() for key in zmq.curve_keypair())
    ends = {end: f"tcp://127.0.0.1:{reserve_port()}" for end in ("publish", "query", "command")}
    with FakeDeepgram(echoing=True) as server:
        running = engine(of_a_file(server) | {"bus": {**ends, "curve_secret_key": secret}})
        words = [*COMMAND, "listen", "--name", running.name, "--exit-on-stop", "--finals"]
        with spawned(words, env=running.environment, stdout=subprocess.PIPE) as listen:
            said = {command: mpengine(running, *command.split(), "--name", running.name) for command in MANAGING}
            assert {command: (ended.returncode, ended.stderr) for command, ended in said.items()} == dict.fromkeys(
                MANAGING, (0, "")
            )
            assert said["pause"].stdout.startswith("paused: the microphone is closed")
            (entry,) = json.loads(mpengine(running, "list", "--json").stdout)
            assert (entry["name"], entry["state"], entry["pid"]) == (running.name, "running", running.pid)
            assert listen.stdout.readline().startswith(b"words ")
            assert mpengine(running, "stop", "--name", running.name).stdout.startswith("stopped")
            assert running.wait() == 0
            assert listen.wait(scaled(30)) == 0
        assert json.loads(mpengine(running, "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("listen", "--publish", "garbage"), "bus.publish: Invalid argument"),
        (("status", "--query", "foo"), "bus.query: Invalid argument"),
        (("stop", "--query", "tcp://127.0.0.1"), "bus.query: Invalid argument"),
        (("status", "--name", "a" * 200), "engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -"),
        (("run", "--name", "a/../b"), "engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -"),
        (("listen", "--name", "a/../b"), "engine.name: expected 1 to 32 of A-Z a-z 0-9 _ -"),
        (("stop", "--server-key", "short"), "server_key: expected the engine's public CURVE key"),
        (("stop", "--server-key", "-begins-like-an-option"), "server_key: expected the engine's public CURVE key"),
    ],
)
def test_an_argument_that_cannot_be_is_a_configuration_error(arguments, words):
    ended = mpengine(None, *arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"mpengine: {words}")
    assert ended.stderr.count("\n") == 1


def test_a_trick_of_starting_that_is_none_is_a_configuration_error():
    ended = mpengine(None, "run", MPENGINE_WITHOUT="give_back,zigote")
    assert ended.returncode == 2
    assert ended.stderr.startswith("mpengine: MPENGINE_WITHOUT: no trick is called zigote; there are zygote, ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["status", "stop"])
def test_without_an_engine_a_command_says_so(tmp_path, command):
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    words = [sys.executable, "-m", "mpengine", command, "--name", "nobody"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=scaled(30), check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith('mpengine: no engine called "nobody" answers at ipc://')
    assert ended.stderr.endswith("start one with: mpengine run --name nobody\n")


def test_devices_lists_the_inputs_and_nothing_else(microphone):
    environment = os.environ | microphone.environment
    command = [sys.executable, "-m", "mpengine", "devices"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=scaled(30), check=False)
    assert ended.returncode == 0
    assert "virtualmic" in ended.stdout
    assert ended.stderr == ""
    listed = subprocess.run([*command, "--json"], env=environment, capture_output=True, timeout=scaled(30), check=True)
    assert {"number", "name", "channels", "sample_rate"} <= set(json.loads(listed.stdout)[0])


def test_devices_without_portaudio_say_what_is_missing(tmp_path):
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")\n')
    ended = mpengine(None, "devices", PYTHONPATH=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("mpengine: PortAudio library not found")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("devices", 3), ("status", 1), ("status --query foo", 2), ("fly", 2)])
def test_closed_standard_descriptors_change_no_exit_code(tmp_path, closed, command, code):
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")\n')
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    words = ["bash", "-c", f"{sys.executable} -m mpengine {command} {closed}"]
    ended = subprocess.run(words, env=environment, capture_output=True, timeout=scaled(30), check=False)
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_an_engine_runs_with_closed_standard_descriptors(engine, closed):
    with FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"audio": {"source": str(speech.PATH), "paced": False}}
        shell = ("bash", "-c", f'exec {sys.executable} -m mpengine run "$@" {closed}', "mpengine")
        running = engine(config, command=shell)
        restarts = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > 13, 20)["restarts"]
        assert (running.wait(), restarts) == (0, 0)


def test_a_closed_pipe_is_no_error(microphone):
    environment = os.environ | microphone.environment
    command = f"{sys.executable} -m mpengine devices | true"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, timeout=scaled(30), check=False
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
        # A pause shorter than a block is none: let at least a second pass.
        seen = len(running.bus.of_type("metrics"))
        running.bus.wait_until(lambda _: len(running.bus.of_type("metrics")) >= seen + 2, 30, "two seconds of pause")
        assert running.query({"type": "resume"}) == {"type": "ok"}
        gap = running.bus.wait_for(lambda m: m["type"] == "gap")
        assert gap["reason"] == "paused"
        before = len(server.audio)
        server.wait_for(lambda: len(server.audio) > before + 16000, 30, "audio after the pause")
        assert len(server.connections) == 1
        running.stop()


def hears_all(connection, samples):
    """A Responder: a final that covers all there is, after every frame."""
    return [connection.transcript("", 0, samples + 160)]


def lost_while_nobody_needs_it(running, server):
    """Drop the connection once all audio has its result; three seconds later the status is what it was before."""
    seconds(running, 2)  # so that it is known how much was captured
    assert running.query({"type": "status"})["unacknowledged_s"] == 0
    attempts, statuses = len(server.attempts), len(running.bus.of_type("status"))
    server.current.drop()
    rest = running.bus.wait_for(lambda m: m["type"] == "status" and m["children"]["streaming"]["reason"])
    assert rest["children"]["streaming"]["reason"] == "not connected while there is no audio"
    seconds(running, 3)
    assert len(server.attempts) == attempts
    assert len(running.bus.of_type("status")) <= statuses + 1


def seconds(running, count):
    """Let them pass."""
    seen = len(running.bus.of_type("metrics"))
    running.bus.wait_until(lambda _: len(running.bus.of_type("metrics")) >= seen + count, 30, f"{count} seconds")


def test_in_a_pause_a_lost_connection_stays_lost(microphone, engine):
    """Without audio the service would close the next one, too, and so on."""
    with FakeDeepgram(responder=hears_all, silence_limit_s=6) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        running.query({"type": "pause"})
        running.bus.wait_for(lambda m: m["type"] == "status" and m["reason"] == "paused")
        lost_while_nobody_needs_it(running, server)
        running.child_pid("streaming", other_than=running.signal_child("streaming"))
        seconds(running, 3)
        status = running.query({"type": "status"})
        assert (status["state"], status["reason"], len(server.attempts)) == ("running", "paused", 1)
        running.query({"type": "resume"})
        server.wait_for_audio(16000, connection=server.wait_for_connection(2))
        running.wait_for_state("running")
        running.query({"type": "pause"})
        lost_while_nobody_needs_it(running, server)
        assert running.stop(timeout=promised(5)) == 0
        assert not (running.runtime / "journal").exists()
        assert running.bus.of_type("gap")[0]["reason"] == "paused"
        assert not server.violations
    running.assert_nothing_left()


def test_without_a_device_a_lost_connection_stays_lost(microphone, engine):
    with FakeDeepgram(responder=hears_all, silence_limit_s=6) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        microphone.unplug()
        running.wait_for_state("degraded")
        lost_while_nobody_needs_it(running, server)
        assert len(server.attempts) == 1
        status = running.query({"type": "status"})
        assert status["state"] == "degraded"
        assert status["reason"].startswith("capture: ")
        assert "by the peer" not in status["reason"]
        microphone.plug()
        server.wait_for_audio(64000, connection=server.wait_for_connection(2, 40))
        running.wait_for_state("running")
        assert running.stop() == 0
    running.assert_nothing_left()


def test_without_a_device_what_has_no_result_is_sent_again_all_the_same(microphone, engine):
    """Capture looks for its device, and serves its window meanwhile."""
    with FakeDeepgram(silence_limit_s=6) as server:  # without results
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(32000)
        microphone.unplug()
        running.wait_for_state("degraded")
        server.current.drop()
        second = server.wait_for_connection(2)
        server.wait_for_audio(32000, connection=second)
        assert running.query({"type": "status"})["device"] is None
        microphone.plug()
        server.wait_for_audio(96000, connection=second)
        running.wait_for_state("running")
        assert len(server.attempts) == 2
        assert running.stop() == 0
    running.assert_nothing_left()


def test_the_user_name_can_be_changed(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | {"engine": {"user_name": "Ann"}}, microphone)
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["user_name"] == "Ann", 30)
        assert running.query({"type": "set_user_name", "user_name": "Bob"}) == {"type": "ok"}
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["user_name"] == "Bob", 30)
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
        assert 'unknown_message kind="of tomorrow"' in running.log_text()
        assert 'unknown_message kind="no JSON"' in running.log_text()
        assert len(server.connections) == 1
        running.stop()


def test_listen_rewrites_the_interim_line_on_a_terminal(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        words = [*COMMAND, "listen", "--name", running.name, "--exit-on-stop"]
        with contextlib.closing(Terminal(words, XDG_RUNTIME_DIR=str(running.directory))) as listening:
            for shown in (
                b"\r\x1b\\[J\x1b\\[\\?7l\x1b\\[2mwords \\d+\x1b\\[0m\x1b\\[\\?7h\r",
                b"\r\x1b\\[Jwords \\d+\r\n",
            ):
                listening.wait_for(lambda _, shown=shown: re.search(shown, listening.written), 30)
            running.stop()
            assert listening.wait_for_end() == 0
            assert b"Traceback" not in listening.written


def test_listen_writes_every_message_as_it_came(tmp_path):
    greeting = [
        {"type": "of tomorrow", "v": 2, "field": [1, None]},
        {"type": "transcript", "text": "gr\u00f6\u00dfer \x1b", "is_final": False, "invented_later": 1},
        {"type": "status", "state": "stopped"},
    ]
    with FakeEngine(tmp_path, greeting=greeting) as fake:
        listen = ("listen", "--publish", fake.results, "--query", fake.query, "--format", "jsonl", "--exit-on-stop")
        listen = (*listen, "--only", "all")
        every = mpengine(None, *listen)
        assert (every.returncode, [json.loads(line) for line in every.stdout.splitlines()]) == (0, greeting)
        finals = mpengine(None, *listen, "--finals")
        assert [json.loads(line)["type"] for line in finals.stdout.splitlines()] == ["of tomorrow", "status"]


@pytest.mark.parametrize(("state", "code"), [("stopped", 0), ("failed", 1)])
def test_listen_ends_when_the_engine_does(tmp_path, state, code):
    with FakeEngine(tmp_path, greeting=[{"type": "status", "state": state}]) as fake:
        ended = mpengine(None, "listen", "--publish", fake.results, "--query", fake.query, "--exit-on-stop")
        assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_listen_ends_when_the_engine_is_killed(engine, of_a_file):
    with FakeDeepgram(echoing=True) as server:
        running = engine(of_a_file(server))
        words = [*IMPATIENT, "listen", "--name", running.name, "--exit-on-stop"]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with spawned(words, env=running.environment, **output) as listen:
            assert listen.stdout.readline().startswith(b"... words ")
            running.kill()
            shown, _ = listen.communicate(timeout=scaled(30))
        assert listen.returncode == 1
        assert all(re.fullmatch(rb"(\.\.\. )?words \d+", line) for line in shown.splitlines())


def test_listen_stays_with_an_engine_that_is_silent_but_answers(tmp_path):
    greeting = [{"type": "status", "state": "running"}]
    with FakeEngine(tmp_path, greeting=greeting) as fake:
        listen = ("listen", "--publish", fake.results, "--query", fake.query, "--exit-on-stop")
        with spawned([*IMPATIENT, *listen]) as process:
            wait_until(lambda: fake.questions > 2 or process.poll() is not None, 30, "questions in the silence")
            assert process.poll() is None
            fake.vanish()
            assert process.wait(scaled(30)) == 1


def test_listen_waits_for_an_engine_that_is_still_to_be_started(tmp_path):
    listen = ("listen", "--publish", f"ipc://{tmp_path}/results", "--query", f"ipc://{tmp_path}/query")
    with spawned([*IMPATIENT, *listen, "--exit-on-stop"]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(scaled(4 * SILENCE_S + 1))
        with FakeEngine(tmp_path, greeting=[{"type": "status", "state": "stopped"}]):
            assert process.wait(scaled(30)) == 0


@pytest.mark.parametrize("arguments", [("status", "--watch", "0.1"), ("listen", "--exit-on-stop")])
def test_under_nohup_a_command_goes_on_until_sigterm(tmp_path, arguments):
    """A shell has its background jobs ignore Ctrl-C, too."""
    greeting = [{"type": "status", "state": "running"}]
    with FakeEngine(tmp_path, greeting=greeting) as fake:
        endpoints = ("--query", fake.query, *(("--publish", fake.results) if "listen" in arguments else ()))
        words = ["sh", "-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh", *IMPATIENT, *arguments, *endpoints]
        with spawned(words, stdout=subprocess.DEVNULL) as process:
            for number in (signal.SIGHUP, signal.SIGINT):
                fake.wait_for_questions(2)
                process.send_signal(number)
            fake.wait_for_questions(2)
            process.terminate()
            assert process.wait(scaled(30)) == -signal.SIGTERM


@pytest.mark.parametrize("arguments", [("status",), ("stop",), ("listen",), ("listen", "--exit-on-stop")])
def test_ctrl_c_ends_every_command_quietly(tmp_path, arguments):
    """While it waits: there is an engine that says nothing."""
    results, query = (f"ipc://{tmp_path}/{name}" for name in ("results", "query"))
    words = [*COMMAND, *arguments, "--query", query]
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, context.socket(zmq.ROUTER) as queries:
        publisher.bind(results)
        queries.bind(query)
        heard = queries
        if "listen" in arguments:
            words += ["--publish", results]
            heard = publisher
        with spawned(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert heard.poll(int(scaled(30) * 1000))
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=scaled(30)) == (b"", b"")
            assert process.returncode == 0


@pytest.mark.parametrize("is_theirs", [False, True], ids=["ours was installed last", "theirs was installed last"])
def test_a_namesake_in_the_same_folder_is_explained(tmp_path, is_theirs):
    # As pip leaves them: both distributions use the folder mpengine/, and the last one has the __init__.py.
    package = tmp_path / "mpengine"
    package.mkdir()
    for ours in Path(cli.__file__).parents[1].iterdir():
        (package / ours.name).symlink_to(ours)
    if is_theirs:
        (package / "__init__.py").unlink()
        (package / "__init__.py").write_text('__version__ = "0.5.0"\n')
    (tmp_path / "mpengine-0.5.0.dist-info").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mpengine", "--version"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=False,
    )
    assert "pip uninstall mpengine mpengine-stt" in done.stderr
    assert (done.returncode, done.stdout) == ((1, "") if is_theirs else (0, f"mpengine {__version__}\n"))
