"""The lasting transcript of whole engines: one of them alone writes it, and a full disk is told."""

import json
import wave

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.small_disk import fill
from tests.rig.waiting import wait_until


@pytest.fixture
def talk(tmp_path):
    """Instead of the microphone, as long as a test may take."""
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(32000 * 120))
    return {"audio": {"source": str(path)}}


def said(path):
    return [(line["run"], line["seq"]) for line in map(json.loads, path.read_text().splitlines())]


def test_a_second_engine_is_refused_and_the_first_goes_on_after_a_kill(engine, talk, tmp_path):
    path = tmp_path / "said.jsonl"
    with FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        config = byok(server) | talk | {"bus": {"transcript": str(path)}}
        first = engine(config, name="one")
        wait_until(lambda: path.exists() and said(path), 30, "the first line")

        second = engine(config, name="two")
        assert second.wait() == 2
        line = f"bus.transcript: {path} is being written by another engine; name another file, or stop that engine"
        assert second.log_text() == f"mpengine: {line}\n"
        second.assert_nothing_left()

        first.kill()
        first.start()
        before = len(said(path))
        wait_until(lambda: len(said(path)) > before + 2, 30, "lines of the next supervisor")
        assert first.stop() == 0
        lines = said(path)
        assert lines == sorted(set(lines))
        assert len({run for run, _ in lines}) == 1

        assert second.start().wait_for_state("running")
        assert second.stop() == 0


def test_a_really_full_disk_is_told_and_what_waited_is_written(engine, talk, small_disk):
    path = small_disk / "said.jsonl"
    with FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        running = engine(byok(server) | talk | {"bus": {"transcript": str(path)}})
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"], 30)
        filler = fill(small_disk)
        stuck = running.bus.wait_for(lambda m: m["type"] == "error", 30)
        full = f"cannot write the transcript {path}: No space left on device; retrying"
        assert (stuck["code"], stuck["message"]) == ("transcript_stuck", full)
        before = len(running.bus.finals())
        running.bus.wait_until(lambda _: len(running.bus.finals()) > before + 2, 30, "results, all the same")
        filler.unlink()
        again = running.bus.wait_for(lambda m: m["type"] == "error" and m["code"] == "transcript_again", 30)
        assert again["message"] == f"writing the transcript {path} works again; 0 lines are missing"
        assert running.stop() == 0
        assert said(path) == [(final["run"], final["seq"]) for final in running.bus.finals()]
