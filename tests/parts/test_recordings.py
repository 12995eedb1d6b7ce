"""What `mpengine transcribe` decides about files: where words go, what is kept for another try, what ffmpeg reads."""

import os
import signal
import stat
import threading
import time
from contextlib import closing

import pytest

from mpengine.capture.convert import channels_sent
from mpengine.capture.wav_format import HeaderParser
from mpengine.cli.recordings import decode, engine, outputs
from mpengine.cli.recordings.engine import Told, config_for
from mpengine.cli.recordings.outputs import Job
from mpengine.cli.recordings.work import Finals, Work
from mpengine.shared import messages
from mpengine.shared.config import Config
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError, MpengineError
from mpengine.shared.messages import Gap, Transcript
from tests.rig.configs import noise, write_wav
from tests.rig.wav_files import wav

BYOK = {"remote": {"mode": "byok", "byok_api_key": "k"}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# Where the words go

JOBS = [
    (["a.wav"], None, "srt", [("a.wav", None)]),
    (["a.wav"], "b.srt", "srt", [("a.wav", "b.srt")]),
    (["x/a.wav"], "subs", "vtt", [("x/a.wav", "subs/a.vtt")]),
    (["x/a.wav"], "new/", "text", [("x/a.wav", "new/a.txt")]),
    (["x/a.wav", "b.mp3"], None, "srt", [("x/a.wav", "x/a.srt"), ("b.mp3", "b.srt")]),
    (["x/a.wav", "b.tar.gz"], "new/er", "jsonl", [("x/a.wav", "new/er/a.jsonl"), ("b.tar.gz", "new/er/b.tar.jsonl")]),
]


@pytest.mark.parametrize(("sources", "output", "name", "jobs"), JOBS)
def test_a_recording_has_its_place(here, sources, output, name, jobs):
    (here / "subs").mkdir()
    assert outputs.jobs_of(sources, output, name) == [Job(*job) for job in jobs]
    assert output is None or output.endswith("srt") or os.path.isdir(output)


@pytest.mark.parametrize(
    ("sources", "output", "why"),
    [
        (["x/a.wav", "y/a.wav"], "subs", r"x/a.wav and y/a.wav would both go into subs/a.srt"),
        (["a.wav", "a.mp3"], None, r"a.wav and a.mp3 would both go into a.srt"),
        (["a.wav", "a.wav"], None, r"a.wav and a.wav would both go into a.srt"),
        (["a.wav"], "./a.wav", r"./a.wav is a recording, which would be overwritten"),
        (["a.srt", "b.wav"], None, r"a.srt is a recording"),
        (["a.wav", "b.wav"], "file/x", r"cannot make the directory file/x: Not a directory"),
    ],
)
def test_no_output_takes_the_place_of_another_file(here, sources, output, why):
    (here / "file").write_text("mine")
    with pytest.raises(ConfigError, match=why):
        outputs.jobs_of(sources, output, "srt")


@pytest.mark.parametrize(
    ("asked", "output", "sources", "name"),
    [
        (None, None, ["a.wav"], "text"),
        (None, "b.vtt", ["a.wav"], "vtt"),
        ("srt", "b.vtt", ["a.wav"], "srt"),
        (None, "b.vtt", ["a.wav", "b.wav"], "text"),
        (None, "dir.srt/", ["a.wav"], "text"),
    ],
)
def test_the_ending_of_the_one_output_file_decides(here, asked, output, sources, name):
    assert outputs.format_of(asked, output, sources) == name


# What is kept


def work_on(path, tables=BYOK):
    return Work(str(path), Config.parse(tables))


def test_a_user_without_a_home_is_told_and_gets_no_folder_called_tilde(here, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where the user has no entry
    (here / "a.wav").write_bytes(b"1")
    with pytest.raises(MpengineError, match="no home folder; set XDG_CACHE_HOME"):
        work_on(here / "a.wav")
    assert os.listdir(here) == ["a.wav"]


def test_work_is_private_and_goes_when_there_is_nothing_to_go_on_with(here):
    recording = write_wav(here / "a.wav", noise(1))
    work = work_on(recording)
    assert stat.S_IMODE(os.stat(work.path).st_mode) == 0o700
    assert not work.has_finals
    work.close()
    assert not os.path.exists(work.path)


def test_work_that_was_begun_stays_until_it_is_begun_anew(here):
    recording = write_wav(here / "a.wav", noise(1))
    work = work_on(recording)
    (here / work.finals).write_text("{}\n")
    work.close()
    work = work_on(recording)
    assert work.has_finals
    work.begin_anew()
    assert not work.has_finals
    assert os.listdir(work.path) == ["lock"]
    work.close()


def test_two_processes_do_not_work_on_one_recording(here):
    recording = write_wav(here / "a.wav", noise(1))
    work = work_on(recording)
    with pytest.raises(MpengineError, match="is being transcribed by another process"):
        work_on(recording)
    work.close()


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"remote": {"byok_api_key": "another"}}, True),
        ({"audio": {"device": "USB"}}, True),
        ({"bus": {"history": 500}}, True),
        ({"remote": {"language": "de"}}, False),
        ({"audio": {"gate": "energy"}}, False),
        ({"engine": {"user_name": "Ann"}}, False),
    ],
)
def test_other_settings_are_other_work(here, change, is_same):
    recording = write_wav(here / "a.wav", noise(1))
    tables = {table: {**BYOK.get(table, {}), **keys} for table, keys in (BYOK | change).items()}
    keys = set()
    for each in (BYOK, tables):
        work = work_on(recording, each)
        keys.add(work.key)
        work.close()
    assert (len(keys) == 1) is is_same


def test_a_changed_recording_is_other_work(here):
    keys = set()
    for seconds in (1, 2):
        work = work_on(write_wav(here / "a.wav", noise(seconds)))
        keys.add(work.key)
        work.close()
    assert len(keys) == 2


def test_work_of_long_ago_is_removed_unless_somebody_has_it(here):
    old, held = (write_wav(here / name, noise(1)) for name in ("old.wav", "held.wav"))
    month_ago = time.time() - 31 * 86400
    works = [work_on(each) for each in (old, held)]
    for work in works:
        (here / work.finals).write_text("{}\n")
        os.utime(work.path, (month_ago, month_ago))
    works[0].close()
    work_on(write_wav(here / "new.wav", noise(1))).close()
    assert [os.path.exists(work.path) for work in works] == [False, True]
    works[1].close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "cannot read .*: No such file"),
        (lambda path: path.mkdir(), "it is a directory"),
        (os.mkfifo, "it is no ordinary file"),
    ],
)
def test_what_is_no_recording_is_refused(here, make, why):
    make(here / "a")
    with pytest.raises(ConfigError, match=why):
        work_on(here / "a")


def test_a_cache_that_cannot_be_had_is_told(here, monkeypatch):
    (here / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "file"))
    with pytest.raises(MpengineError, match=r"cannot keep work in .*: Not a directory; set XDG_CACHE_HOME"):
        work_on(write_wav(here / "a.wav", noise(1)))


# The engine of an earlier try


def config_of(work):
    return config_for(Config.parse(BYOK), "a.wav", work, paced=False)


def test_each_try_has_an_engine_name_of_its_own(here):
    with closing(work_on(write_wav(here / "a.wav", noise(1)))) as work:
        names = {config_of(work).engine.name for _ in range(3)}
    assert len(names) == 3
    assert {name[:14] for name in names} == {f"file-{work.key[:8]}-"}


@pytest.fixture
def left(here, monkeypatch):
    """The work on a recording, and the runtime directories of two tries and of another engine."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(here / "run"))
    with closing(work_on(write_wav(here / "a.wav", noise(1)))) as work:
        names = [config_of(work).engine.name, config_of(work).engine.name, "file-of-mine"]
        for name in names:
            (here / "run" / "mpengine" / name).mkdir(parents=True)
        yield work, names


class Begun(Exception):
    """The engine would be started."""


def begin(monkeypatch, work):
    def spawned(*_, **__):
        raise Begun

    monkeypatch.setattr(engine, "Spawned", spawned)
    with pytest.raises(Begun):
        engine.recognise(config_of(work), work, Told(*[lambda *_: None] * 4))


def test_another_try_waits_for_the_engine_of_the_one_before_and_removes_what_it_left(here, left, monkeypatch):
    work, names = left
    answers = {names[0]: [True, True, False], names[1]: [False]}
    monkeypatch.setattr(engine, "is_running", lambda name: answers[name].pop(0))
    monkeypatch.setattr(engine, "_LOOK_S", 0.0)
    begin(monkeypatch, work)
    assert answers == {names[0]: [], names[1]: []}
    assert os.listdir(here / "run" / "mpengine") == ["file-of-mine"]


def test_an_engine_of_an_earlier_try_that_does_not_end_is_told(left, monkeypatch):
    work, _ = left
    monkeypatch.setattr(engine, "is_running", lambda _: True)
    monkeypatch.setattr(engine, "_BEFORE_LIMIT_S", 0.0)
    with pytest.raises(MpengineError, match=r"an earlier try is still there: mpengine stop --name file-\w{8}-\w{8},"):
        engine.recognise(config_of(work), work, Told(*[lambda *_: None] * 4))


def test_without_an_earlier_try_there_is_nothing_to_wait_for(here, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(here / "run"))
    with closing(work_on(write_wav(here / "a.wav", noise(1)))) as work:
        begin(monkeypatch, work)


class Started:
    """A child process that an interrupt meets while it is started."""

    def __init__(self, *_, **__):
        self.done = []
        STARTED.append(self)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        self.done.append("started")

    def kill(self):
        self.done.append("killed")

    def wait(self, _):
        self.done.append("awaited")


STARTED = []


def test_an_interrupt_while_the_engine_is_started_leaves_no_process(here, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(here / "run"))
    monkeypatch.setattr(engine, "Spawned", Started)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with closing(work_on(write_wav(here / "a.wav", noise(1)))) as work, pytest.raises(KeyboardInterrupt):
            engine.recognise(config_of(work), work, Told(*[lambda *_: None] * 4))
    finally:
        signal.signal(signal.SIGINT, before)
    assert STARTED.pop().done == ["started", "killed", "awaited"]


# Results


def line(seq, run="r", kind=Transcript):
    fields = {
        Transcript: {"text": "x", "is_final": True},
        Gap: {"start_s": 0, "end_s": 1, "samples": 1, "reason": ""},
    }
    return messages.encode(kind(run=run, seq=seq, **fields[kind])) + b"\n"


def test_results_are_read_as_they_come_and_each_once(here):
    finals = Finals(str(here / "finals"))
    assert list(finals.read("r")) == []
    first, second, third = line(3), line(5, kind=Gap), line(9)
    (here / "finals").write_bytes(first + second[:20])
    assert list(finals.read("r")) == [first[:-1]]
    assert list(finals.read("r")) == []
    (here / "finals").write_bytes(first + second + third)
    assert list(finals.read("r")) == [second[:-1], third[:-1]]
    assert finals.last_seq == 9


def test_lines_of_another_run_and_damaged_ones_are_passed_over(here):
    (here / "finals").write_bytes(line(3, run="old") + b"damaged\n" + line(2))
    finals = Finals(str(here / "finals"))
    assert finals.run_of_last() == "r"
    assert list(finals.read("r")) == [line(2)[:-1]]


def test_without_results_there_is_no_run(here):
    assert Finals(str(here / "finals")).run_of_last() == ""
    (here / "finals").write_bytes(b"torn")
    assert Finals(str(here / "finals")).run_of_last() == ""


def test_many_results_are_read_over_the_ends_of_pieces(here):
    (here / "finals").write_bytes(b"".join(line(seq) for seq in range(1, 20_001)))
    assert len(list(Finals(str(here / "finals")).read("r"))) == 20_000


# Other formats than WAV


@pytest.fixture
def program(here, monkeypatch):
    """Puts a program called ffmpeg, made of these lines of shell, before all others."""

    def make(*lines):
        path = here / "bin" / "ffmpeg"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return make


def decoded(here, source="a.mp3", **audio):
    told = []
    words = decode.decode(source, "it is no WAV file", "out.wav", AudioConfig(**audio), on_progress=told.append)
    return words, told


def test_a_wav_file_needs_nothing_and_others_say_why_they_do(here):
    assert decode.why_no_wav(str(write_wav(here / "a.wav", noise(1)))) is None
    (here / "a.flac").write_bytes(b"fLaC and more bytes")
    assert decode.why_no_wav("a.flac") == "it is a FLAC file"
    (here / "a.wav").write_bytes(wav(noise(1), tag=17))
    assert decode.why_no_wav("a.wav") == "its samples are IMA ADPCM (format 17), not PCM"


def test_without_ffmpeg_the_words_say_how_to_get_it(here, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(ConfigError, match=r"cannot read a.mp3: it is no WAV file, and ffmpeg.* is missing; install it"):
        decoded(here)
    assert os.listdir(here) == []


def test_what_ffmpeg_writes_becomes_a_file_with_its_sizes(here, program):
    audio = noise(3)
    (here / "piped.wav").write_bytes(wav(audio).replace(len(audio).to_bytes(4, "little"), b"\xff" * 4))
    program('printf "%s\\n" "$*" > asked', "echo some frames are damaged >&2", "cat piped.wav")
    words, told = decoded(here)
    assert words == "some frames are damaged"
    assert told[-1] == pytest.approx(3.0)
    parser = HeaderParser()
    content = (here / "out.wav").read_bytes()
    while (found := parser.take(content[parser.position : parser.position + parser.size])) is None:
        pass
    assert found.data_bytes == len(audio)
    assert content[found.data_at :] == audio
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    asked = (here / "asked").read_text()
    assert "-i file:a.mp3 -map 0:a:0 -ac 1 -ar 16000" in asked
    assert not (here / "out.wav.part").exists()


@pytest.mark.parametrize(
    ("audio", "heard"),
    [({}, ((0, 1, 2, 3, 4, 5),)), ({"channel": 1}, ((1,),)), ({"channels": 2}, ((0,), (1,)))],
)
def test_all_channels_of_a_recording_are_heard_unless_some_are_chosen(here, audio, heard):
    (here / "film.wav").touch()
    wanted = Config.parse(BYOK | {"audio": audio})
    with closing(work_on("film.wav", BYOK | {"audio": audio})) as work:
        config = config_for(wanted, "film.wav", work, paced=False)
    assert channels_sent(config.audio, 6) == heard


@pytest.mark.parametrize("audio", [{"channel": 1}, {"channels": 2}])
def test_where_channels_are_chosen_ffmpeg_keeps_all(here, program, audio):
    program('printf "%s\\n" "$*" > asked', "exit 1")
    with pytest.raises(ConfigError):
        decoded(here, **audio)
    assert "-ac" not in (here / "asked").read_text()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["echo 'Invalid data found' >&2", "exit 1"], "cannot read a.mp3: Invalid data found"),
        (["echo Stream map matches no streams. >&2", "echo more >&2", "exit 1"], "cannot read a.mp3: it has no audio"),
        (["exit 3"], "cannot read a.mp3: ffmpeg has ended with 3"),
        ([], "cannot read a.mp3: it has no audio"),
        (["echo this is no audio at all"], "cannot read what ffmpeg makes of a.mp3: it is no WAV file"),
    ],
)
def test_what_ffmpeg_cannot_read_is_told_in_its_words(here, program, lines, why):
    program(*lines)
    with pytest.raises(ConfigError, match=why):
        decoded(here)
    assert not any(name.startswith("out") for name in os.listdir(here))


def test_a_program_that_complains_much_does_not_stand_still(here, program):
    program("yes damaged 2>/dev/null | head -c 1000000 >&2", "exit 1")
    with pytest.raises(ConfigError, match=r"cannot read a.mp3: damaged"):
        decoded(here)


def test_a_full_disk_is_told(small_disk, here, program):
    (here / "piped.wav").write_bytes(wav(noise(10)))
    program("cat piped.wav")
    with pytest.raises(MpengineError, match=r"cannot keep the decoded audio of a.mp3 in .*: No space left on device"):
        decode.decode("a.mp3", "", str(small_disk / "out.wav"), AudioConfig(), on_progress=lambda _: None)
    assert os.listdir(small_disk) == []


def test_ffmpeg_ends_with_an_interrupted_command(here, program):
    program("echo $$ > pid", "cat piped.wav", "exec sleep 1000")
    (here / "piped.wav").write_bytes(wav(noise(1)))

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode.decode("a.mp3", "", "out.wav", AudioConfig(), on_progress=interrupt)
    pid = int((here / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
