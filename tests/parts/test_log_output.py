"""Log lines go out, or are counted: nobody who stops reading them stops or ends the process that logs."""

import json
import os
import pty
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mpengine.shared.logs.output import LogOutput
from tests.rig import FakeDeepgram, scaled
from tests.rig.configs import byok
from tests.rig.processes import spawn

IN_TIME_S = 20
MANY = 10_000

# Does what the lines of its standard input say, and answers each of them.
CHILD = """
import ctypes, faulthandler, logging, sys, threading
from mpengine.shared import logs
from mpengine.shared.logs import Event
faulthandler.enable()
logs.setup("child", log_format=sys.argv[1])
log = logging.getLogger("mpengine.child")
for command, _, count in (line.strip().partition(" ") for line in sys.stdin):
    match command:
        case "log":
            for number in range(int(count)):
                log.info(Event("line", number=number, text="ö" * (number % 50)))
        case "fault":
            for number in range(int(count)):
                log.warning(Event("fault", number=number))
        case "raise":
            raise OSError("no room")
        case "crash":
            ctypes.string_at(0)
    print("done", flush=True)
"""


class Child:
    """A process that logs to `stderr`; `do` tells it what to do, and waits until it is done."""

    def __init__(self, stderr: Any, *, log_format: str = "text", code: str = CHILD) -> None:
        self.process = spawn(
            [sys.executable, "-c", code, log_format], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def do(self, command: str) -> None:
        assert self.process.stdout is not None
        self.tell(command)
        assert select.select([self.process.stdout], [], [], scaled(IN_TIME_S))[0], f"{command}: not done"
        assert self.process.stdout.readline() == b"done\n"

    def end(self) -> int:
        """Let it end; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(scaled(IN_TIME_S))

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts children; none outlives the test."""
    children: list[Child] = []

    def start(stderr: Any, **options: Any) -> Child:
        children.append(Child(stderr, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()


class Channel:
    """Two ends of something that can be standard error; the writing one is for children."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self._read = b""

    def lines_until(self, found: Callable[[list[str]], bool], again: Callable[[], None] = lambda: None) -> list[str]:
        """Read, and do `again` whenever there is nothing to read, until the whole lines so far are what is wanted."""
        deadline = time.monotonic() + scaled(IN_TIME_S)
        while True:
            lines = self._read[: self._read.rfind(b"\n") + 1].decode().splitlines()
            if found(lines):
                return lines
            assert time.monotonic() < deadline, lines[-3:]
            if select.select([self.reader], [], [], 0)[0]:
                self._read += os.read(self.reader, 65536)
            else:
                again()
                select.select([self.reader], [], [], 0.01)

    def close_writer(self) -> None:
        os.close(self.writer)
        self.writer = -1

    def rest(self) -> list[str]:
        """All lines, once nobody writes any more."""
        self.close_writer()
        try:
            while piece := os.read(self.reader, 65536):
                self._read += piece
        except OSError:  # how a terminal ends
            pass
        return self._read.decode().splitlines()


@contextmanager
def opened(kind: str) -> Iterator[Channel]:
    if kind == "pipe":
        ends = os.pipe()
    elif kind == "terminal":
        ends = pty.openpty()
    else:
        pair = socket.socketpair()
        ends = pair[0].detach(), pair[1].detach()
    channel = Channel(*ends)
    try:
        yield channel
    finally:
        for end in (channel.reader, channel.writer):
            if end >= 0:
                os.close(end)


@pytest.fixture(params=["pipe", "terminal", "socket"])
def channel(request: pytest.FixtureRequest) -> Iterator[Channel]:
    with opened(request.param) as channel:
        yield channel


@pytest.fixture
def pipe() -> Iterator[Channel]:
    with opened("pipe") as channel:
        yield channel


def count(lines: list[str]) -> tuple[int, int]:
    """How many lines were written and how many dropped; all are whole."""
    dropped = [int(line.rpartition("=")[2]) for line in lines if " WARNING child lines_dropped lines=" in line]
    written = [line for line in lines if re.fullmatch(r'\S+Z INFO child line number=\d+ text="ö*"', line)]
    assert len(dropped) + len(written) == len(lines)
    return len(written), sum(dropped)


def fill(child: Child) -> None:
    """Have it log more than fits anything that nobody reads."""
    child.do(f"log {MANY}")


@pytest.mark.slow
def test_many_lines_that_nobody_reads_stop_nothing(channel, child):
    writer = child(channel.writer)
    fill(writer)
    assert writer.end() == 0


@pytest.mark.slow
def test_what_was_dropped_is_told_once_somebody_reads_again(channel, child):
    writer = child(channel.writer)
    logged = MANY
    fill(writer)

    def log_another():
        nonlocal logged
        logged += 1
        writer.do("log 1")

    channel.lines_until(lambda lines: any("lines_dropped" in line for line in lines), log_another)
    writer.do("log 1")
    assert writer.end() == 0
    written, dropped = count(channel.rest())
    assert written + dropped == logged + 1
    assert dropped > MANY / 2


@pytest.mark.slow
def test_what_was_dropped_is_told_before_the_next_line(pipe, child):
    writer = child(pipe.writer)
    fill(writer)
    kept = len(pipe.lines_until(lambda lines: bool(lines) and not select.select([pipe.reader], [], [], 0)[0]))
    writer.do("log 1")
    lines = pipe.lines_until(lambda lines: len(lines) == kept + 2)
    assert lines[-2].endswith(f" WARNING child lines_dropped lines={MANY - kept}")
    assert lines[-1].endswith(' INFO child line number=0 text=""')


@pytest.mark.slow
def test_what_was_dropped_is_told_in_the_end(pipe, child):
    writer = child(pipe.writer)
    fill(writer)
    kept = len(pipe.lines_until(lambda lines: bool(lines) and not select.select([pipe.reader], [], [], 0)[0]))
    writer.end()
    assert pipe.rest()[-1].endswith(f" WARNING child lines_dropped lines={MANY - kept}")


@pytest.mark.slow
def test_several_processes_share_a_pipe_that_nobody_reads(pipe, child):
    """The last room that one of them saw, another may take."""
    writers = [child(pipe.writer) for _ in range(4)]
    for writer in writers:
        writer.tell(f"log {MANY}")
    for writer in writers:
        writer.do("log 1")  # answers "done" for the first command; the other one follows
    assert [writer.end() for writer in writers] == [0] * 4
    count(pipe.rest())


@pytest.mark.slow
def test_another_who_takes_the_room_between_question_and_write_stops_nothing(pipe, child):
    """poll() says that there is room, and then there is none: it is the descriptor that must not block."""
    deceived = "from mpengine.shared.logs import output\noutput._has_room = lambda _: True\n"
    writer = child(pipe.writer, code=deceived + CHILD)
    fill(writer)
    assert writer.end() == 0


def test_the_descriptor_of_others_stays_as_it_was(channel, child):
    writer = child(channel.writer)
    writer.do("log 1")
    assert os.get_blocking(channel.writer)
    assert writer.end() == 0


@pytest.mark.slow
def test_a_closed_pipe_ends_nothing(pipe, child):
    writer = child(pipe.writer)
    writer.do("log 10")
    pipe.lines_until(lambda lines: len(lines) == 10)
    os.close(pipe.reader)
    pipe.reader = -1
    fill(writer)
    assert writer.end() == 0


@pytest.mark.slow
def test_a_full_disk_ends_nothing(child):
    with open("/dev/full", "wb") as full:
        writer = child(full)
        fill(writer)
        assert writer.end() == 0


def test_a_disk_that_is_full_for_a_while_leaves_whole_lines(child, tmp_path):
    """A limit on the size of files does to a write what a full disk does: a part of it fits."""
    with (tmp_path / "log").open("ab") as log:
        writer = child(log)
        unlimited = resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE, (1000, unlimited[1]))
        writer.do("log 100")
        assert (tmp_path / "log").stat().st_size == 1000
        resource.prlimit(writer.process.pid, resource.RLIMIT_FSIZE, unlimited)
        writer.do("log 1")
        assert writer.end() == 0
    written, dropped = count((tmp_path / "log").read_text().splitlines())
    assert written + dropped == 101
    assert dropped > 50


def test_a_closed_standard_error_ends_nothing(child):
    code = CHILD.replace("faulthandler.enable()", "assert sys.stderr is None")
    again = f"import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, '-c', {code!r}, 'text'])"
    writer = child(None, code=again)
    fill(writer)
    assert writer.end() == 0


@pytest.mark.slow
def test_an_exception_ends_a_process_whose_log_nobody_reads(channel, child):
    writer = child(channel.writer)
    fill(writer)
    writer.tell("raise")
    assert writer.wait() == 1


def test_a_crash_ends_a_process_whose_log_nobody_reads(child):
    """faulthandler writes without asking; where pipes and terminals are concerned, it has our descriptor."""
    with opened("terminal") as terminal:
        writer = child(terminal.writer)
        fill(writer)
        writer.tell("crash")
        assert writer.wait() == -signal.SIGSEGV


def test_an_exception_is_one_line_of_json(pipe, child):
    writer = child(pipe.writer, log_format="json")
    writer.tell("raise")
    assert writer.wait() == 1
    (line,) = map(json.loads, pipe.rest())
    assert line["exception"].endswith("OSError: no room")


def test_what_was_held_back_is_told_in_the_end(pipe, child):
    writer = child(pipe.writer, log_format="json")
    writer.do("fault 5")
    assert writer.end() == 0
    lines = [json.loads(line) for line in pipe.rest()]
    assert [(line["number"], line.get("repeated")) for line in lines] == [(0, None), (4, 3)]


def test_a_drawn_line_stands_below_all_lines_until_it_is_taken_away(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        output = LogOutput(stream)
        output.draw(b"")
        output.draw(b"half\r")
        output.write(b"first\n")
        output.draw(b"done\r")
        output.draw(b"")
        output.write(b"second\n")
    clear = b"\r\x1b[K"
    written = b"".join((b"half\r", clear, b"first\n", b"half\r", b"done\r", clear, b"second\n"))
    assert (tmp_path / "log").read_bytes() == written


def test_an_engine_logs_json(engine, tmp_path):
    with FakeDeepgram() as server:
        running = engine(
            byok(server) | {"audio": {"source": str(tmp_path / "none.wav")}}, arguments=("--log-format", "json")
        )
        assert running.wait() == 2
    lines = [json.loads(line) for line in running.log_text().splitlines() if line.startswith("{")]
    assert lines[0]["event"] == "publishing"
    assert {line["process"] for line in lines} == {"supervisor"}
