"""`mpengine listen` on a real terminal, in pipes and into files, also when it is killed; a fake engine."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from mpengine.cli import parser_for
from mpengine.cli.listen import Options, begin
from mpengine.client.position import Received
from mpengine.formats.base import NOW, START, Position
from mpengine.shared import messages
from mpengine.shared.errors import ConfigError
from mpengine.shared.text import width
from tests.rig.fake_engine import FakeEngine as RigEngine
from tests.rig.processes import spawned
from tests.rig.subtitles import read_srt, read_vtt
from tests.rig.terminal import Terminal
from tests.rig.waiting import scaled, wait_until

LIVES = 8
CTRL_C = b"\x03"


class FakeEngine:
    """Publishes what it is told to, once somebody has subscribed."""

    def __init__(self, directory):
        self.endpoint = f"ipc://{directory}/results"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.bind(self.endpoint)
        self._seq = 0

    def command(self, *arguments):
        return [sys.executable, "-m", "mpengine", "listen", "--publish", self.endpoint, *arguments]

    def wait_for_subscriber(self):
        told = b""
        while told not in {b"\x01default.status", b"\x01default."}:  # the last one; others may have gone meanwhile
            assert self._socket.poll(int(scaled(30) * 1000))
            told = self._socket.recv()

    def final(self, text, start_s=0.0, end_s=1.0):
        self._seq += 1
        body = messages.Transcript(
            text=text, is_final=True, start_s=start_s, end_s=end_s, run="r", seq=self._seq, prev=self._seq - 1
        )
        self._socket.send_multipart([b"default.transcript.final", messages.encode(body)])

    def interim(self, text):
        body = messages.Transcript(text=text, is_final=False)
        self._socket.send_multipart([b"default.transcript.interim", messages.encode(body)])

    def publish(self, topic, body):
        self._socket.send_multipart([f"default.{topic}".encode(), body])

    def status(self, state):
        self._socket.send_multipart([b"default.status", messages.encode(messages.Status(state=state))])

    def close(self):
        self._context.destroy(linger=0)


@pytest.fixture
def engine(tmp_path):
    fake = FakeEngine(tmp_path)
    yield fake
    fake.close()


@pytest.fixture
def terminal(engine):
    """Starts listening on a terminal."""
    terminals = []

    def start(*arguments, **options):
        terminals.append(Terminal(engine.command(*arguments), **options))
        engine.wait_for_subscriber()
        return terminals[-1]

    with contextlib.ExitStack() as stack:
        yield start
        for each in terminals:
            stack.callback(each.close)


# On a terminal


def test_captions_form_in_place(engine, terminal):
    listening = terminal()
    engine.interim("so")
    listening.wait_for(lambda lines: lines == ["so"])
    engine.interim("so it")
    listening.wait_for(lambda lines: lines == ["so it"])
    engine.final("So it is.")
    listening.wait_for(lambda lines: lines == ["So it is."])
    engine.interim("and")
    listening.wait_for(lambda lines: lines == ["So it is.", "and"])
    assert b"\x1b[2mand\x1b[0m" in listening.written
    assert b"\x1b[2mSo it is" not in listening.written


def test_an_interim_stays_on_one_line_whatever_its_letters_are(engine, terminal):
    listening = terminal(columns=20)
    for text in ("word " * 30 + "end", "日本語" * 30 + "終", "e\u0301" * 60 + "!", "🙂" * 30 + "."):
        engine.final("before")
        engine.interim(text)
        lines = listening.wait_for(lambda lines, last=text[-1]: lines and lines[-1].endswith(last))
        assert set(lines[:-1]) == {"before"}
        assert 17 <= width(lines[-1]) <= 19
        engine.final("before")
        listening.wait_for(lambda lines: set(lines) == {"before"})


@pytest.mark.parametrize("columns", [10, 40])
def test_an_interim_is_drawn_anew_when_the_terminal_gets_another_size(engine, terminal, columns):
    listening = terminal(columns=20)
    engine.interim("one two three four five six seven")
    listening.wait_for(lambda lines: lines == ["four five six seven"])
    listening.resize(24, columns)
    shown = {10: "six seven", 40: "one two three four five six seven"}[columns]
    listening.wait_for(lambda lines: lines == [shown])


def test_the_cursor_stays_where_clearing_begins(engine, terminal):
    """A terminal that gets narrower may wrap the line: what it became is cleared, and nothing above it."""
    listening = terminal(columns=20)
    engine.interim("one two three")
    listening.wait_for(lambda lines: lines == ["one two three"])
    assert (listening.screen.cursor.x, listening.screen.cursor.y) == (0, 0)


def test_ctrl_c_leaves_the_interim_and_a_line_of_its_own_for_the_shell(engine, terminal):
    listening = terminal()
    engine.interim("so it")
    listening.wait_for(lambda lines: lines == ["so it"])
    listening.press(CTRL_C)
    assert listening.wait_for_end() == 0
    assert listening.lines == ["so it"]
    assert (listening.screen.cursor.x, listening.screen.cursor.y) == (0, 1)
    assert b"Traceback" not in listening.written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_as_signals_do_and_leaves_the_line(engine, terminal, number):
    listening = terminal()
    engine.interim("so it")
    listening.wait_for(lambda lines: lines == ["so it"])
    listening.process.send_signal(number)
    assert listening.wait_for_end() == -number
    assert listening.lines == ["so it"]
    assert listening.screen.cursor.y == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15), (signal.SIGHUP, -1)])
@pytest.mark.parametrize("is_writing", [False, True])
def test_one_signal_ends_it_on_a_terminal_that_was_stopped(engine, terminal, number, code, is_writing):
    listening = terminal()
    engine.interim("so it")
    listening.wait_for(lambda lines: lines == ["so it"])
    listening.stop_output()
    if is_writing:
        engine.final("So it is.")
        listening.wait_for_write()
    listening.process.send_signal(number)
    assert listening.process.wait(scaled(30)) == code


def test_json_does_nothing_to_a_terminal(engine, terminal):
    listening = terminal("--format", "jsonl", columns=2000)
    engine.final("\x9b31m \x1b[2J")
    (line,) = listening.wait_for(lambda lines: lines and lines[-1].endswith("}"))
    assert json.loads(line)["text"] == "\x9b31m \x1b[2J"
    assert b"\xc2\x9b" not in listening.written


@pytest.mark.parametrize("body", [b"{}", b'{"type":"hole","topic":"x","run":"r"}', b"\xff", b"[1]"])
@pytest.mark.parametrize("form", ["text", "jsonl", "vtt"])
def test_what_somebody_publishes_as_if_it_were_a_loss_stops_nothing(engine, body, form):
    command = engine.command("--exit-on-stop", "--format", form)
    with spawned(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        engine.publish("hole", body)
        engine.final("So.")
        engine.status("stopped")
        output, errors = process.communicate(timeout=scaled(30))
    assert (process.returncode, errors) == (0, b"")
    assert b"So." in output
    assert b"lost" not in output


def test_no_color_means_no_colour(engine, terminal):
    listening = terminal(NO_COLOR="1")
    engine.interim("so")
    engine.final("So.")
    listening.wait_for(lambda lines: lines == ["So."])
    assert b"m" not in listening.written.replace(b"So.", b"").replace(b"so", b"")


def test_a_terminal_that_can_do_nothing_gets_lines(engine, terminal):
    listening = terminal(TERM="dumb")
    engine.interim("so")
    engine.final("So.")
    listening.wait_for(lambda lines: lines == ["... so", "So."])
    assert b"\x1b" not in listening.written


def test_piped_there_are_no_escape_sequences(engine):
    with spawned(engine.command("--exit-on-stop"), stdout=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        engine.interim("so")
        engine.final("So.")
        engine.status("stopped")
        assert process.communicate(timeout=scaled(30))[0] == b"... so\nSo.\n"


@pytest.mark.parametrize(("form", "header"), [("srt", b""), ("vtt", b"WEBVTT\n\n")])
def test_subtitles_come_out_of_a_pipe_as_they_are_spoken(engine, form, header):
    with spawned(engine.command("--format", form, "--exit-on-stop"), stdout=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        assert process.stdout.read(len(header)) == header
        engine.final("So.")
        first = os.read(process.stdout.fileno(), 65536)
        engine.final("It is.", 5.0, 6.0)
        engine.status("stopped")
        whole = header + first + process.communicate(timeout=scaled(30))[0]
    cues = read_srt(whole) if form == "srt" else read_vtt(whole)[0]
    assert [cue.text for cue in cues] == ["So.", "It is."]


# What a person is told of the engine


@pytest.fixture
def real(usual_place):
    """An engine that answers questions, at the usual place."""
    greeting = {"type": "status", "state": "running", "device": "USB", "run": "r", "boot": "b"}
    fake = RealEnough(usual_place, greeting=[greeting])
    yield fake
    fake.vanish()


class RealEnough(RigEngine):
    """Answers, and publishes what it is told to from another thread."""

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.waiting = []

    def idle(self, publisher):
        while self.asked and self.waiting:
            self.publish(publisher, self.waiting.pop(0))


def said(**fields):
    return {"type": "transcript", "is_final": True, **fields}


@pytest.fixture
def watching(real, tmp_path):
    """Starts listening to that engine on a terminal."""
    terminals = []

    def start(*arguments, **options):
        command = [sys.executable, "-m", "mpengine", "listen", *arguments]
        terminals.append(Terminal(command, XDG_RUNTIME_DIR=str(tmp_path), **options))
        return terminals[-1]

    yield start
    for each in terminals:
        each.close()


def test_who_waits_is_told_so_and_what_the_engine_does(real, watching):
    listening = watching()
    listening.wait_for(lambda lines: lines == ['waiting for "default"…'])
    assert b'\x1b[2mwaiting for "default"\xe2\x80\xa6\x1b[0m' in listening.written
    real.start()
    listening.wait_for(lambda lines: lines[1:] == ["[running]"])
    real.waiting += [
        {"type": "status", "state": "degraded", "reason": "reset by peer", "device": "USB"},
        {"type": "status", "state": "running", "device": "USB"},
        {"type": "error", "source": "capture", "code": "clipping", "message": "too loud\x1b[2J"},
        said(text="So."),
        {"type": "status", "state": "stopped"},
    ]
    shown = ["[reconnecting: reset by peer]", "[running]", "[too loud\ufffd[2J]", "So.", "[engine stopped]"]
    listening.wait_for(lambda lines: lines[2:] == shown)
    listening.press(CTRL_C)
    assert listening.wait_for_end() == 0


def test_a_notice_stands_above_the_interim(real, watching):
    real.start()
    listening = watching(NO_COLOR="1")
    real.waiting += [said(text="so it", is_final=False), {"type": "error", "source": "x", "code": "x", "message": "hm"}]
    listening.wait_for(lambda lines: lines == ["[hm]", "so it"])
    assert (listening.screen.cursor.x, listening.screen.cursor.y) == (0, 1)


def test_no_word_about_the_engine_is_among_the_words_of_a_pipe(real, tmp_path):
    real.start()
    command = [sys.executable, "-m", "mpengine", "listen", "--exit-on-stop"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    real.waiting += [
        {"type": "error", "source": "x", "code": "x", "message": "hm"},
        said(text="So."),
        {"type": "status", "state": "stopped"},
    ]
    with spawned(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.communicate(timeout=scaled(30)) == (b"So.\n", b"")


@pytest.mark.parametrize("columns", [20, 50, 80, 120])
def test_finals_are_broken_at_words(engine, terminal, columns):
    text = "It is a truth universally acknowledged, that a single man in possession of a good fortune " * 3
    listening = terminal("--timestamps", columns=columns)
    engine.final(text.strip())
    engine.final("So.")
    lines = listening.wait_for(lambda lines: lines and lines[-1].endswith("So."))
    assert " ".join(word for line in lines[:-1] for word in line.split()) == f"0:00:00.0 {text.strip()}"
    assert max(map(len, lines)) < columns
    if columns > 20:
        assert all(line.startswith(" " * 10) for line in lines[1:-1])


def test_of_several_engines_each_line_says_whose_it_is(tmp_path):
    with contextlib.ExitStack() as stack:
        engines = {}
        for name in ("desk", "door"):
            directory = tmp_path / "mpengine" / name
            directory.mkdir(parents=True, mode=0o700)
            engines[name] = RealEnough(directory, name=name)
            stack.callback(engines[name].vanish)
            engines[name].start()
        command = [sys.executable, "-m", "mpengine", "listen", "--name", "desk", "--name", "door"]
        listening = Terminal(command, XDG_RUNTIME_DIR=str(tmp_path), columns=50)
        stack.callback(listening.close)
        engines["door"].waiting += [said(text="Hello."), said(text="who is", is_final=False)]
        listening.wait_for(lambda lines: lines == ["door: Hello.", "door: who is"])
        engines["desk"].waiting += [said(text="nobody", is_final=False)]
        listening.wait_for(lambda lines: lines == ["door: Hello.", "desk: nobody", "door: who is"])
        assert listening.screen.cursor.y == 1
        engines["door"].waiting += [said(text="Who is it?")]
        listening.wait_for(lambda lines: lines == ["door: Hello.", "door: Who is it?", "desk: nobody"])
        listening.press(CTRL_C)
        assert listening.wait_for_end() == 0
        assert listening.lines == ["door: Hello.", "door: Who is it?", "desk: nobody"]
        assert b"\x1b[33mdoor: \x1b[0mHello." in listening.written
        assert b"\x1b[36mdesk: \x1b[0m" in listening.written


# Which topics


def heard(engine, *arguments):
    """The types of the lines that come out."""
    with spawned(engine.command("--exit-on-stop", "--format", "jsonl", *arguments), stdout=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        level = messages.Level(rms_dbfs=-20.0, peak_dbfs=-10.0, digital_silence=False)
        engine.publish("level", messages.encode(level))
        engine.publish("gap", messages.encode(messages.Gap(start_s=0.0, end_s=1.0, samples=16000, reason="device")))
        engine.interim("so")
        engine.final("So.")
        engine.status("stopped")
        lines = [json.loads(line) for line in process.communicate(timeout=scaled(30))[0].splitlines()]
    return [each["type"] + {True: "!", None: ""}.get(each.get("is_final"), "…") for each in lines]


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        ((), ["gap", "transcript…", "transcript!", "status"]),
        (("--finals",), ["gap", "transcript!", "status"]),
        (("--only", "finals"), ["transcript!"]),
        (("--only", "finals,gaps"), ["gap", "transcript!"]),
        (("--only", "levels"), ["level"]),
        (("--only", "all"), ["level", "gap", "transcript…", "transcript!", "status"]),
    ],
)
def test_topics_are_chosen(engine, arguments, types):
    assert heard(engine, *arguments) == types


def test_text_has_errors_where_they_are_asked_for(engine):
    with spawned(engine.command("--exit-on-stop", "--only", "errors"), stdout=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        engine.final("So.")
        engine.publish("error", messages.encode(messages.Error(source="x", code="x", message="hm")))
        engine.status("stopped")
        assert process.communicate(timeout=scaled(30))[0] == b"[hm]\n"


# Into a file


def run(engine, *arguments, code=0):
    """Listen until the engine stops, which it does at once; what is on standard output and error."""
    with spawned(
        engine.command("--exit-on-stop", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if not code:
            engine.wait_for_subscriber()
            engine.interim("so")
            engine.final("So.")
            engine.status("stopped")
        output, errors = process.communicate(timeout=scaled(30))
        assert process.returncode == code, errors
        return output.decode() + errors.decode()


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("a.srt", "1\n00:"), ("a.VTT", "WEBVTT\n\nNOTE run"), ("a.jsonl", '{"type":'), ("a.txt", "So.\n"), ("a", "So.\n")],
)
def test_the_name_says_the_format_and_nothing_goes_elsewhere(engine, tmp_path, name, beginning):
    assert run(engine, "--output", str(tmp_path / name)) == ""
    assert (tmp_path / name).read_text().startswith(beginning)


def test_the_format_counts_more_than_the_name(engine, tmp_path):
    run(engine, "--output", str(tmp_path / "a.srt"), "--format", "text", "--timestamps")
    assert (tmp_path / "a.srt").read_text() == "0:00:00.0 So.\n"


def test_a_file_that_exists_is_not_touched_unless_one_says_so(engine, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    complaint = f"mpengine: --output: {file} exists; --append continues it, --force replaces it\n"
    assert run(engine, "--output", str(file), code=2) == complaint
    assert file.read_text() == "old"
    run(engine, "--output", str(file), "--append")
    assert file.read_text() == "old\nSo.\n"
    run(engine, "--output", str(file), "--force")
    assert file.read_text() == "So.\n"


def test_a_file_that_is_being_written_is_left_alone(engine, tmp_path):
    file = tmp_path / "a.txt"
    with spawned(engine.command("--output", str(file))) as process:
        engine.wait_for_subscriber()
        complaint = run(engine, "--output", str(file), "--force", code=2)
        assert complaint == f"mpengine: --output: {file} is being written by another process\n"
        process.kill()


def test_a_file_that_cannot_be_is_one_line(engine, tmp_path):
    complaint = f"mpengine: --output: {tmp_path}/no/a.srt: No such file or directory\n"
    assert run(engine, "--output", str(tmp_path / "no" / "a.srt"), code=2) == complaint


def test_a_full_disk_is_one_line(engine):
    with spawned(engine.command("--output", "/dev/full"), stderr=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        engine.final("So.")
        _, errors = process.communicate(timeout=scaled(30))
    assert (process.returncode, errors) == (1, b"mpengine: cannot write /dev/full: No space left on device\n")


def test_what_does_not_fit_is_not_left_there_in_part(engine, tmp_path):
    file = tmp_path / "a.srt"
    # Of 100 bytes there is room for the first cue and a part of the second.
    words = ["prlimit", "--fsize=100", *engine.command("--output", str(file))]
    with spawned(words, stderr=subprocess.PIPE) as process:
        engine.wait_for_subscriber()
        engine.final("one " * 4)
        engine.final("two " * 8, 5.0, 8.0)
        _, errors = process.communicate(timeout=scaled(30))
    assert (process.returncode, errors) == (1, f"mpengine: cannot write {file}: File too large\n".encode())
    assert [cue.text for cue in read_srt(file.read_bytes())] == ["one one one one"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["srt", "vtt", "jsonl"])
def test_whenever_it_is_killed_the_file_is_good_and_can_be_gone_on_with(engine, tmp_path, form):
    file = tmp_path / f"a.{form}"
    chance = random.Random(form)  # the same moments in every run, as far as the machine lets them
    done = 0
    for life in range(LIVES):
        with spawned(engine.command("--output", str(file), "--append")) as process:
            engine.wait_for_subscriber()
            give_up = time.monotonic() + scaled(chance.uniform(0.0, 0.25))
            # On a busy machine none of them may come to write anything: the last one does, for certain.
            must_write_by = time.monotonic() + scaled(30) if life == LIVES - 1 else 0.0
            while time.monotonic() < give_up or (time.monotonic() < must_write_by and not file.stat().st_size):
                engine.final(f"life {life} words {'and more of them ' * chance.randrange(20)}", done, done + 3.0)
                done += 4
                time.sleep(0.0005)
            process.kill()
        data = file.read_bytes()
        if form == "jsonl":
            assert all(json.loads(line) for line in data.splitlines())
            assert data[-1:] in {b"\n", b""}
        else:
            _ = data and (read_srt(data) if form == "srt" else read_vtt(data))
    assert data


def test_cues_are_written_while_they_are_spoken(engine, tmp_path):
    file = tmp_path / "a.srt"
    with spawned(engine.command("--output", str(file))) as process:
        engine.wait_for_subscriber()
        for number in range(1, 4):
            engine.final("word", number * 10, number * 10 + 1)
            wait_until(lambda number=number: len(read_srt(file.read_bytes())) == number, 30, f"cue {number}")
        process.kill()


@pytest.mark.parametrize(
    ("name", "finals_only", "number_lines"),
    [("a.jsonl", False, 2), ("a.jsonl", True, 1), ("a.txt", False, 1), ("a.srt", False, 4)],
)
def test_interims_are_where_they_are_wanted_and_have_a_place(tmp_path, name, finals_only, number_lines):
    interim = messages.Transcript(text="so", is_final=False)
    final = messages.Transcript(text="So.", is_final=True, start_s=0.0, end_s=1.0, run="r", seq=1)
    with contextlib.ExitStack() as stack:
        outlet = begin(Options(output=str(tmp_path / name), finals_only=finals_only), stack, ["default"])
        for topic, message in (("transcript.interim", interim), ("transcript.final", final)):
            received = Received("default", topic, messages.encode(message))
            if outlet.wants(received, message):
                outlet.show(received, message)
    assert (tmp_path / name).read_bytes().count(b"\n") == number_lines


def begun(*arguments, **options):
    """From where on it would listen."""
    with contextlib.ExitStack() as stack:
        return begin(Options(append=True, **options), stack, ["default"]).position


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.vtt", b"WEBVTT\n\n"), ("a.vtt", b"WEB"), ("a.jsonl", b'{"type'), ("a.srt", b"1\n00:"), ("a.txt", b"\xc3")],
)
def test_a_file_that_holds_nothing_yet_is_gone_on_with_from_the_start(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data)
    assert begun(output=str(file)) == START
    assert file.read_bytes() in {b"", b"WEBVTT\n\n"}


@pytest.mark.parametrize("name", ["a.srt", "a.txt"])
def test_one_that_cannot_say_its_position_goes_on_from_now(tmp_path, name):
    file = tmp_path / name
    file.write_text("1\n00:00:01,000 --> 00:00:02,000\nSo.\n\n")
    assert begun(output=str(file)) == NOW


def test_from_where_on_counts_more_than_what_the_file_says(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"type":"transcript","is_final":true,"run":"r","seq":7}\n')
    assert begun(output=str(file)) == Position(("r", 7))
    assert begun(output=str(file), since=3) == Position(3)
    assert begun(output=str(file), since="now") == NOW


def test_a_large_file_of_lines_is_not_read_whole(engine, tmp_path):
    file = tmp_path / "a.jsonl"
    line = b'{"type":"level","run":"r","seq":5,"rms_dbfs":-50.0}\n'
    peaks_kb = []
    for number in (1, 40_000_000 // len(line)):
        file.write_bytes(line * number)
        with spawned(engine.command("--output", str(file), "--append")) as process:
            engine.wait_for_subscriber()
            status = Path(f"/proc/{process.pid}/status").read_text()
            peaks_kb.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
    assert peaks_kb[1] - peaks_kb[0] < 5000


# Arguments


@pytest.mark.parametrize(
    ("text", "since"), [("start", "start"), ("now", "now"), ("17", 17), ("ab:17", ("ab", 17)), ("a:b:0", ("a:b", 0))]
)
def test_from_where_on(text, since):
    assert parser_for("listen").parse_args(["listen", "--since", text]).since == since


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "ab:", "ab:x", "9" * 30, "²"])
def test_a_beginning_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match=r"\Alisten --since: expected start, now, SEQ or RUN:SEQ\Z"):
        parser_for("listen").parse_args(["listen", f"--since={text}"])


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e10"])
def test_an_offset_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match=r"\Alisten --offset: expected -1000000000 to 1000000000 seconds\Z"):
        parser_for("listen").parse_args(["listen", f"--offset={text}"])
