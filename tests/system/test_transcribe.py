"""`mpengine transcribe` as a user calls it: words and subtitles of recordings, also after kills."""

import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.configs import byok, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess, toml
from tests.rig.subtitles import read_srt, read_vtt
from tests.rig.talk import Knowing, Talk
from tests.rig.terminal import Terminal
from tests.rig.waiting import PATIENCE_S, wait_until

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(not FFMPEG, reason="there is no ffmpeg here (apt install ffmpeg)")


@pytest.fixture
def cache(tmp_path):
    """Where the commands keep their work."""
    return tmp_path / "cache"


@pytest.fixture
def command(cache):
    """Makes `mpengine transcribe` with these arguments; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(config, *arguments, **environment):
            words = (sys.executable, "-m", "mpengine", "transcribe")
            made = EngineProcess(
                config,
                command=words,
                arguments=tuple(map(str, arguments)),
                is_reachable=False,
                environment={"XDG_CACHE_HOME": str(cache), **environment},
            )
            stack.callback(made.close)
            return made

        yield make


def work_in(cache):
    """The folders of work that are left."""
    folder = cache / "mpengine" / "transcribe"
    return list(folder.iterdir()) if folder.exists() else []


def as_flac(path):
    """The recording, compressed without loss."""
    flac = path.with_suffix(".flac")
    subprocess.run([FFMPEG, "-loglevel", "error", "-y", "-i", path, flac], check=True)
    return flac


def cues_in(path):
    """How many whole cues the file has that becomes this one."""
    part = Path(f"{path}.part")
    return part.read_bytes().count(b"\n\n") if part.exists() else 0


A_MINUTE = pytest.param(90, (5, 12), marks=pytest.mark.slow, id="a minute")
AN_HOUR = pytest.param(3600, (240, 520), marks=pytest.mark.long, id="an hour")


@pytest.mark.parametrize("kind", ["wav", pytest.param("flac", marks=needs_ffmpeg)])
@pytest.mark.parametrize(("seconds", "kills"), [A_MINUTE, AN_HOUR])
def test_subtitles_after_two_kills_are_those_without(tmp_path, cache, command, kind, seconds, kills):
    talk = Talk(seconds)
    recording = write_wav(tmp_path / "talk.wav", talk.pcm)
    whole, killed = tmp_path / "whole.srt", tmp_path / "killed.srt"
    with FakeDeepgram(responder=Knowing(talk)) as server:
        assert command(byok(server), recording, "--output", whole).start().wait(4 * PATIENCE_S) == 0
    recording = recording if kind == "wav" else as_flac(recording)
    knowing = Knowing(talk)
    with FakeDeepgram(responder=knowing, flush_delay_s=PATIENCE_S) as server:
        running = command(byok(server), recording, "--output", killed, "--resume")
        for most in kills:
            knowing.most = most
            running.start()
            wait_until(lambda most=most: cues_in(killed) >= most, 4 * PATIENCE_S, f"{most} cues")
            running.kill()
            running.assert_nothing_left()
            assert not killed.exists()
        knowing.most, server.flush_delay_s = None, 0.0
        assert running.start().wait(4 * PATIENCE_S) == 0, running.log_tail()
        assert len(server.connections) == 3
        # What has its words was not sent again.
        third = 2 * 16000 * talk.seconds - talk.segments[kills[1] - 1].end * 2
        assert server.connections[2].audio_bytes == third
    assert " ".join(cue.text.replace("\n", " ") for cue in read_srt(whole.read_bytes())).split() == talk.words
    assert killed.read_bytes() == whole.read_bytes()
    assert running.log_text() == ""
    assert work_in(cache) == []
    assert list(running.directory.glob("mpengine/*")) == []


@pytest.mark.slow
def test_each_recording_has_its_subtitles_beside_it_and_the_worst_code_counts(tmp_path, cache, command):
    talk = Talk(18)
    good, other = (write_wav(tmp_path / name, talk.pcm) for name in ("good.wav", "other.wav"))
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"this is no audio")
    with FakeDeepgram(responder=Knowing(talk)) as server:
        running = command(byok(server), good, bad, other, "--format", "vtt", PATH=str(tmp_path))
        assert running.start().wait() == 2
        assert running.log_text().startswith(f"mpengine: cannot read {bad}: it is no WAV file, and ffmpeg")
        assert len(running.log_text().splitlines()) == 1
        for path in (good, other):
            cues, _ = read_vtt(path.with_suffix(".vtt").read_bytes())
            assert " ".join(cue.text.replace("\n", " ") for cue in cues).split() == talk.words
        assert not bad.with_suffix(".vtt").exists()
        # Once more: nothing is replaced, and nothing is done again.
        running = command(byok(server), good, other, "--format", "vtt")
        assert running.start().wait() == 2
        assert f"{good.with_suffix('.vtt')} exists; --resume passes over what is done" in running.log_text()
        running = command(byok(server), good, other, "--format", "vtt", "--resume")
        assert running.start().wait() == 0
        assert running.log_text().count("is there already: it stays as it is") == 2
        assert len(server.connections) == 2
    assert work_in(cache) == []


@pytest.mark.slow
def test_a_recording_without_words_is_told(tmp_path, cache, command):
    with FakeDeepgram() as deepgram:
        silence = write_wav(tmp_path / "silence.wav", bytes(32000))
        running = command(byok(deepgram), silence)
        assert running.start().wait() == 0
        assert running.log_text() == "mpengine: silence.wav: no words were heard in it\n"
    assert work_in(cache) == []


def test_a_refused_account_ends_it_in_the_words_of_the_service_once(tmp_path, cache, command):
    recordings = [write_wav(tmp_path / name, Talk(18).pcm) for name in ("a.wav", "b.wav")]
    with FakeDeepgram(api_key="another") as server:
        running = command(byok(server), *recordings, "--format", "srt")
        assert running.start().wait() == 4
        assert list(tmp_path.glob("*.srt*")) == []
        assert list(running.directory.glob("mpengine/*")) == []
        assert len(server.attempts) == 1
    lines = running.log_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("mpengine: a.wav: ")
    assert "Invalid credentials" in lines[0]
    running.assert_nothing_left()
    assert work_in(cache) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_one_says_how_it_goes_on_and_goes_on(tmp_path, cache, command, how):
    talk = Talk(18)
    recording = write_wav(tmp_path / "talk.wav", talk.pcm)
    knowing = Knowing(talk, most=2)
    with FakeDeepgram(responder=knowing, flush_delay_s=PATIENCE_S) as server:
        running = command(byok(server), recording, "--resume")
        running.start()
        wait_until(lambda: running.log_text().count("\n") == 2, PATIENCE_S, "two finals")
        assert running.stop(how) == 1
        running.assert_nothing_left()
        said = "mpengine: talk.wav: interrupted; what is done is kept: the same command with --resume goes on there\n"
        assert running.log_text().endswith(said)
        knowing.most, server.flush_delay_s = None, 0.0
        running.log_file.unlink()
        assert running.start().wait() == 0
    assert running.log_text().split() == talk.words
    assert work_in(cache) == []


@pytest.mark.slow
def test_a_reader_that_goes_ends_it_without_a_word_and_nothing_is_kept(tmp_path, cache, command):
    recording = write_wav(tmp_path / "talk.wav", Talk(36).pcm)
    with FakeDeepgram(responder=Knowing(Talk(36))) as server:
        running = command(byok(server), recording)
        running.command = ("sh", "-c", f'{sys.executable} -m mpengine transcribe "$@" | head -n 1', "sh")
        assert running.start().wait() == 0
    assert running.log_text() == "1. go forward and then turn left\n"
    running.assert_nothing_left()
    assert work_in(cache) == []


@pytest.mark.slow
def test_a_terminal_has_a_bar_below_the_words_and_a_run_of_a_file_has_it_too(tmp_path, cache):
    talk = Talk(36)
    recording = write_wav(tmp_path / "talk.wav", talk.pcm)
    knowing = Knowing(talk, most=4)
    with FakeDeepgram(responder=knowing, flush_delay_s=PATIENCE_S) as server, contextlib.ExitStack() as stack:
        config = tmp_path / "config.toml"
        config.write_text(toml(byok(server)))
        mpengine = [sys.executable, "-m", "mpengine"]
        unpaced = ["--set", f"audio.source={recording}", "--set", "audio.paced=false"]
        for words in (["transcribe", str(recording)], ["run", *unpaced]):
            terminal = Terminal(
                [*mpengine, *words, "--config", str(config)],
                columns=100,
                XDG_CACHE_HOME=str(cache),
                XDG_RUNTIME_DIR=str(tmp_path),
            )
            stack.callback(terminal.close)
            lines = terminal.wait_for(lambda lines: lines and lines[-1].startswith("talk.wav   50 %  ████████████·"))
            assert "0:00:17 of 0:00:35" in lines[-1]
            if words[0] == "run":
                assert len(lines) > 1
                break
            assert lines[:-1] == [" ".join(word for word, _, _ in segment.words) for segment in talk.segments[:4]]
            terminal.press(b"\x03")
            assert terminal.wait_for_end() == 1
            assert "interrupted" in terminal.lines[-1]
