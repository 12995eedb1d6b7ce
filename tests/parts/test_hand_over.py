"""Messages are handed over to real commands: which read slowly, end, are killed, or hang."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpengine import cli
from mpengine.cli.handing.command import Pipe
from mpengine.cli.handing.conversation import Item
from mpengine.cli.handing.hands import Each, LineByLine, Rules
from mpengine.cli.handing.position_file import Place, PositionFile
from mpengine.shared import messages
from mpengine.shared.errors import ConfigError, MpengineError
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

# Appends each line that it reads to a file, and may do something special at a word.
READER = 'while read -r line; do printf "%s\\n" "$$ $line" >>"$0"; case "$line" in *stop*) {};; esac; done'


def item(number, text="word"):
    said = messages.Transcript(text=f"{text} {number}.", is_final=True, run="r", seq=number)
    return Item("desk", "r", number, messages.encode(said), said)


class Told(list):
    """What was told, in lines."""

    def __call__(self, text):
        self.append(text)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def position(tmp_path):
    file = PositionFile(str(tmp_path / "state"))
    yield file
    file.close()


def reader(out, special="exit 0"):
    return ["sh", "-c", READER.format(special), str(out)]


def handed(out):
    """The pid of the command, the number of the message, and whether it is marked, for each line."""
    lines = out.read_text().splitlines() if out.exists() else []
    found = [(pid, json.loads(line)) for pid, _, line in (each.partition(" ") for each in lines)]
    return [(int(pid), message["seq"], message.get("again", False)) for pid, message in found]


def numbers(out):
    return [number for _, number, _ in handed(out)]


def started(kind, words, told, position=None, **rules):
    hand = kind(Rules(words, **rules), position, told)
    hand.start()
    return hand


def test_each_line_comes_once_and_the_command_ends_with_its_input(out, told, position):
    hand = started(LineByLine, reader(out), told, position)
    for number in range(1, 40):
        hand.put(item(number))
    hand.close(drains=True)
    assert numbers(out) == list(range(1, 40))
    assert len({pid for pid, *_ in handed(out)}) == 1
    assert told == []
    assert position.places == {"desk": Place("r", 39)}


def test_lines_that_are_larger_than_the_pipe_arrive_whole(told, out):
    hand = started(LineByLine, ["sh", "-c", 'exec cat >"$0"', str(out)], told)
    for number in range(1, 4):
        hand.put(item(number, "x" * 100_000))
    hand.close(drains=True)
    assert out.read_bytes() == b"".join(item(number, "x" * 100_000).body + b"\n" for number in range(1, 4))


@pytest.mark.parametrize("special", ["exit 1", "kill -9 $$"])
def test_a_bad_end_is_told_and_its_line_comes_once_more_marked(out, told, position, special):
    hand = started(LineByLine, reader(out, special), told, position)
    for number in (1, 2, 3):
        hand.put(item(number, "stop" if number == 2 else "word"))
    hand.close(drains=True)
    assert [(number, again) for _, number, again in handed(out)] == [(1, False), (2, False), (2, True), (3, False)]
    assert "starting it again" in told[0]
    assert told[1].endswith("on r:2, which is given up")
    assert position.places == {"desk": Place("r", 3)}


def test_a_command_that_takes_one_line_and_ends_well_gets_the_next_at_once(told, out):
    hand = started(LineByLine, ["sh", "-c", 'head -n 1 >>"$0"', str(out)], told)
    begin = time.monotonic()
    for number in range(1, 9):
        hand.put(item(number))
    hand.close(drains=True)
    assert out.read_bytes() == b"".join(item(number).body + b"\n" for number in range(1, 9))
    assert told == []
    assert time.monotonic() - begin < scaled(30)


def test_a_command_that_never_reads_is_ended_where_a_deadline_is_given(told, position, monkeypatch):
    monkeypatch.setattr("mpengine.cli.handing.command.END_S", 0.2)
    hand = started(LineByLine, ["sleep", "1000"], told, position, timeout_s=0.2)
    hand.put(item(1))
    wait_until(lambda: len(told) >= 2, 30, "the end of it")
    hand.close(drains=False)
    assert told[0] == "sleep 1000 has not read r:1 for 0.2 s and is ended"
    assert told[-1] == "1 messages were not handed over; the next start goes on with them"
    assert position.places["desk"].done == 0


def test_who_does_not_end_with_its_input_is_ended(told, out, monkeypatch):
    monkeypatch.setattr("mpengine.cli.handing.command.END_S", 0.2)
    script = 'read line; printf "%s" "$$" >"$0.new"; mv "$0.new" "$0"; exec sleep 1000'
    hand = started(LineByLine, ["sh", "-c", script, str(out)], told)
    hand.put(item(1))
    wait_until(out.exists, 30, "its pid")
    hand.close(drains=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(out.read_text()), 0)


def test_each_has_its_variables_and_its_content_and_one_runs_at_a_time(out, told, position):
    script = 'printf "begin %s " "$MPENGINE_TEXT" >>"$0"; cat >>"$0"; printf "end\\n" >>"$0"'
    hand = started(Each, ["sh", "-c", script, str(out)], told, position)
    for number in range(1, 6):
        hand.put(item(number))
    hand.close(drains=True)
    parts = [f"begin word {number}. {item(number).body.decode()}\nend\n" for number in range(1, 6)]
    assert out.read_text() == "".join(parts)
    assert told == []
    assert position.places == {"desk": Place("r", 5)}


def test_one_that_fails_or_hangs_is_told_and_the_next_comes(out, told, position):
    script = 'echo "$MPENGINE_SEQ" >>"$0"; case "$MPENGINE_SEQ" in 1) exit 3;; 2) exec sleep 1000;; esac'
    hand = started(Each, ["sh", "-c", script, str(out)], told, position, timeout_s=scaled(1.0))
    for number in (1, 2, 3):
        hand.put(item(number))
    hand.close(drains=True)
    assert out.read_text().split() == ["1", "2", "3"]
    assert told[0].endswith("ended with exit code 3 for r:1")
    assert told[1].endswith("it had r:2")
    assert position.places == {"desk": Place("r", 3)}


@pytest.mark.parametrize("kind", [LineByLine, Each])
def test_a_command_that_cannot_be_started_is_tried_again_and_nothing_is_lost(tmp_path, told, out, kind):
    command = tmp_path / "command"
    hand = started(kind, [str(command), str(out)], told)
    hand.put(item(1))
    wait_until(lambda: told, 30, "a word about it")
    command.with_suffix(".new").write_text('#!/bin/sh\nexec cat >>"$1"\n')
    command.with_suffix(".new").chmod(0o755)
    command.with_suffix(".new").rename(command)
    wait_until(lambda: out.exists() and out.read_bytes(), 30, "the message")
    hand.close(drains=True)
    assert out.read_bytes() == item(1).body + b"\n"
    assert "cannot start" in told[0]


@pytest.mark.parametrize("kind", [LineByLine, Each])
def test_at_the_end_a_command_that_takes_nothing_is_not_waited_for(tmp_path, told, position, kind):
    words = ["true"] if kind is LineByLine else [str(tmp_path / "none")]
    hand = started(kind, words, told, position)
    for number in (1, 2):
        hand.put(item(number))
    wait_until(lambda: told, 30, "a word about it")
    hand.close(drains=True)
    assert told[-1] == "2 messages were not handed over; the next start goes on with them"
    assert len(told) < 6  # it was not started again and again at once
    assert position.places["desk"].done == 0


def test_a_full_queue_makes_the_main_thread_wait_and_is_told_once(told, monkeypatch, out):
    monkeypatch.setattr("mpengine.cli.handing.hands._MOST_ITEMS", 3)
    hand = started(LineByLine, reader(out), told)
    for number in range(1, 30):
        hand.put(item(number))
    hand.close(drains=True)
    assert numbers(out) == list(range(1, 30))
    assert all("is slow: 3 messages wait for it" in line for line in told)


def test_a_line_that_is_read_before_its_watch_begins_is_not_waited_for():
    pipe = Pipe(["cat"])
    pipe.put(b"line\n")
    wait_until(lambda: pipe.is_read, PATIENCE_S, "the line to be read")
    assert pipe.watch(select.poll(), 30.0) == 0.0
    assert pipe.finish() == 0
    pipe.close()


def test_a_disk_that_is_full_ends_it_with_a_word(told, position, out, monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    hand = started(LineByLine, reader(out), told, position)
    hand.put(item(1))
    with pytest.raises(MpengineError, match=r"cannot write .*/state: No space left on device"):
        hand.close(drains=True)


# The file of positions


def test_the_file_goes_on_behind_finals_and_knows_what_is_in_doubt(tmp_path):
    path = str(tmp_path / "state")
    file = PositionFile(path)
    file.adopt("desk", "r", 3)
    file.adopt("desk", "r", 9)
    file.begin("desk", "r", 5)
    file.finish("desk", "r", 5, is_final=True)
    file.begin("desk", "r", 8)
    file.finish("desk", "r", 8, is_final=False)
    file.begin("desk", "r", 7)
    file.close()
    again = PositionFile(path)
    assert again.places == {"desk": Place("r", 5, doing=7, later=[8])}
    again.finish("desk", "r", 7, is_final=True)
    again.end("desk", "r")
    again.begin("door", "s", 2)
    assert again.places == {"desk": Place("r", 7, is_over=True, later=[8]), "door": Place("s", 0, doing=2)}
    again.begin("desk", "new", 1)
    assert again.places["desk"] == Place("new", 0, doing=1)
    again.close()


@pytest.mark.parametrize("data", [b"{", b'{"v":1}', b"no file of ours\n", b"\xff"])
def test_another_file_is_not_touched(tmp_path, data):
    path = tmp_path / "state"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is no file of positions"):
        PositionFile(str(path))
    assert path.read_bytes() == data


def test_one_listener_at_a_time_has_the_file(tmp_path, position):
    with pytest.raises(ConfigError, match="is in use by another listener"):
        PositionFile(str(tmp_path / "state"))


def test_a_file_that_cannot_be_is_an_error_in_words(tmp_path):
    with pytest.raises(ConfigError, match=r"--state: .*/no/state: No such file"):
        PositionFile(str(tmp_path / "no" / "state"))


# The command line


@pytest.mark.parametrize(
    ("word", "mode", "advice"),
    [
        ("webhook.sh", 0o700, "did you mean ./webhook.sh?"),
        ("webhook.sh", 0o600, "first: chmod +x ./webhook.sh"),
        ("./web hook.sh", 0o600, "first: chmod +x './web hook.sh'"),
    ],
)
def test_a_file_that_is_no_command_is_told_with_what_makes_it_one(tmp_path, monkeypatch, capsys, word, mode, advice):
    (tmp_path / word).touch(mode=mode)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["listen", "--exec-each", word]) == 2
    told = f"cannot run {word}: no such command, or not executable; {advice}"
    assert capsys.readouterr() == ("", f"mpengine: --exec-each: {told}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--exec"], "--exec: expected a command and its arguments behind it"),
        (["--exec-each", "/no/such"], "--exec-each: cannot run /no/such: no such command, or not executable"),
        (["--output", "x.srt", "--exec", "cat"], "--output: does not go with --exec"),
        (["--state", "x"], "--state: works with --exec or --exec-each only"),
        (["--name", "a", "--name", "b", "--format", "srt"], "--name: a file and subtitles are of one engine"),
        (["--name", "a", "--name", "b", "--since", "5"], "--since: expected start or now with several engines"),
        (["--only", "nonsense"], 'unknown topic "nonsense"; expected finals,'),
        (["--only", "matrics"], 'metadata, all; did you mean "metrics"?'),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments, complaint, tmp_path):
    command = [sys.executable, "-m", "mpengine", "listen", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=scaled(30), cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert complaint in " ".join(ended.stderr.split())
    assert list(Path(tmp_path).iterdir()) == []
