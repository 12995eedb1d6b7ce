"""The two example scripts, against a fake engine: what engines say does nothing to a terminal, and no traceback."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

import mpengine
from tests.rig.processes import spawn
from tests.rig.terminal import Terminal
from tests.rig.waiting import scaled

ROOT = Path(mpengine.__file__).parents[1]
SCRIPTS = {name: str(ROOT / "scripts" / f"{name}.py") for name in ("subscribe", "subscribe_async")}
# What moves the cursor, sets the title, is one control character for either (C1), turns the writing.
HOSTILE = "a\x1b[2Jb\x9b2Jc\x07\x9d0;title\x9cd\u202eef"


class FakeEngine:
    """Publishes transcripts, and says that it has kept none."""

    def __init__(self, base, context):
        self.base = base
        directory = base / "mpengine" / "default"
        directory.mkdir(parents=True)
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.bind(f"ipc://{directory}/results")
        self._queries = context.socket(zmq.ROUTER)
        self._queries.bind(f"ipc://{directory}/query")
        self._seq = 0
        self._prev = 0

    @property
    def environment(self):
        return {"XDG_RUNTIME_DIR": str(self.base), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}

    def serve(self, asks):
        """Until somebody has subscribed, and has caught up if it `asks`."""
        stamp = {"run": "r", "boot": "b", "seq": 0}
        while True:
            assert self._socket.poll(scaled(30) * 1000)
            topic = self._socket.recv()[1:]
            if b".sync." in topic:
                self._socket.send_multipart([topic, json.dumps({"type": "sync", **stamp}).encode()])
            elif not asks:
                return
            if topic.endswith(b".1") and b".sync." in topic:
                break
        assert self._queries.poll(scaled(30) * 1000)
        *envelope, _ = self._queries.recv_multipart()
        self._queries.send_multipart([*envelope, json.dumps({"type": "snapshot", **stamp}).encode()])

    def say(self, text, *, is_final=True):
        self._seq += 1
        stamp = {"run": "r", "boot": "b", "seq": self._seq}
        if is_final:
            stamp["prev"], self._prev = self._prev, self._seq
        body = {"type": "transcript", "text": text, "is_final": is_final, **stamp}
        # json writes a lone surrogate as an escape, as JavaScript does.
        topic = f"default.transcript.{'final' if is_final else 'interim'}"
        self._socket.send_multipart([topic.encode(), json.dumps(body).encode()])


@pytest.fixture
def fake(tmp_path):
    with zmq.Context() as context:
        yield FakeEngine(tmp_path, context)
        context.destroy(linger=0)


@contextmanager
def on_terminal(fake, *, columns=80):
    terminal = Terminal([sys.executable, SCRIPTS["subscribe"]], columns=columns, **fake.environment)
    try:
        fake.serve(asks=False)
        yield terminal
    finally:
        terminal.close()


def test_an_interim_is_overwritten_however_long_it_is(fake):
    with on_terminal(fake, columns=40) as terminal:
        fake.say("one two three " * 10 + "\u4f60\u597d" * 10, is_final=False)
        lines = terminal.wait_for(lambda lines: lines and lines[-1].endswith("..."))
        assert len(lines) == 1
        assert "\u4f60" in lines[0]  # the newest words
        fake.say("that was all")
        assert terminal.wait_for(lambda lines: lines == ["that was all"])


def test_text_does_nothing_to_a_terminal(fake):
    with on_terminal(fake) as terminal:
        fake.say(HOSTILE)
        fake.say(HOSTILE + "\ud800", is_final=False)
        fake.say("the end")
        terminal.wait_for(lambda lines: lines and lines[-1] == "the end")
        assert len(terminal.lines) == 2
        for bad in (b"\x1b[2J", "\x9b".encode(), "\x9d".encode(), b"\x07", "\u202e".encode()):
            assert bad not in terminal.written
        assert "a" in terminal.lines[0]
        assert "f" in terminal.lines[0]


def test_in_asyncio_too_text_does_nothing_to_a_terminal(fake):
    terminal = Terminal([sys.executable, SCRIPTS["subscribe_async"]], **fake.environment)
    try:
        fake.serve(asks=True)
        fake.say(HOSTILE)
        fake.say("the end")
        terminal.wait_for(lambda lines: lines and lines[-1] == "default: the end")
        for bad in (b"\x1b", "\x9b".encode(), "\x9d".encode(), b"\x07", "\u202e".encode()):
            assert bad not in terminal.written
    finally:
        terminal.close()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_reader_that_has_gone_is_the_end_and_no_error(fake, script):
    command = [sys.executable, SCRIPTS[script]]
    environment = {**fake.environment, "PATH": "/usr/bin:/bin"}
    program = spawn(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with program:
        fake.serve(asks=script == "subscribe_async")
        fake.say("first")
        assert program.stdout.readline().endswith(b"first\n")
        program.stdout.close()
        fake.say("second")
        assert program.wait(scaled(30)) == 0
        assert program.stderr.read() == b""


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["a/../../b", "x" * 200, "\udcff", ""])
def test_a_name_that_cannot_be_is_one_line(script, name, tmp_path):
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, SCRIPTS[script], name.encode(errors="surrogateescape")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=scaled(30), check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
