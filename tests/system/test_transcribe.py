"""`mpengine transcribe` as a user calls it: words and subtitles of recordings, also after kills."""

import contextlib
import shutil
import subprocess
import sys

import pytest

from tests.rig.configs import byok, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import EngineProcess
from tests.rig.subtitles import read_srt
from tests.rig.talk import Knowing, Talk
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
    """How many whole cues it has."""
    return path.read_bytes().count(b"\n\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav", pytest.param("flac", marks=needs_ffmpeg)])
def test_subtitles_after_two_kills_are_those_without(tmp_path, cache, command, kind):
    talk = Talk(90)
    recording = write_wav(tmp_path / "talk.wav", talk.pcm)
    whole, killed = tmp_path / "whole.srt", tmp_path / "killed.srt"
    with FakeDeepgram(responder=Knowing(talk)) as server:
        assert command(byok(server), recording, "--output", whole).start().wait() == 0
    recording = recording if kind == "wav" else as_flac(recording)
    knowing = Knowing(talk)
    with FakeDeepgram(responder=knowing, flush_delay_s=PATIENCE_S) as server:
        running = command(byok(server), recording, "--output", killed, "--resume")
        for most in (5, 12):
            knowing.most = most
            running.start()
            wait_until(lambda most=most: cues_in(killed) >= most, PATIENCE_S, f"{most} cues")
            running.kill()
            running.assert_nothing_left()
        knowing.most, server.flush_delay_s = None, 0.0
        assert running.start().wait() == 0, running.log_tail()
        assert len(server.connections) == 3
        # What has its words was not sent again.
        sent = sum(connection.audio_bytes for connection in server.connections[1:])
        assert server.connections[2].audio_bytes < sent < 2 * 2 * 16000 * talk.seconds
    assert " ".join(cue.text.replace("\n", " ") for cue in read_srt(whole.read_bytes())).split() == talk.words
    assert killed.read_bytes() == whole.read_bytes()
    assert running.log_text() == ""
    assert work_in(cache) == []
    assert list(running.directory.glob("mpengine/*")) == []
