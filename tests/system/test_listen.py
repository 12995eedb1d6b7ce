"""`mpengine listen --append`, killed again and again while a real engine talks: the file ends with every final once."""

import json
import random
import re
import subprocess
import sys
import time

import pytest

from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.processes import spawned
from tests.rig.subtitles import read_vtt
from tests.rig.waiting import scaled, wait_until


def texts_in(file, form):
    data = file.read_bytes() if file.exists() else b""
    if not data:
        return []
    if form == "vtt":
        return [cue.text.replace("\n", " ") for cue in read_vtt(data)[0]]
    found = [json.loads(line) for line in data.splitlines()]
    return [each["text"] for each in found if each["type"] == "transcript" and each["is_final"]]


def wait_for_more(file, form):
    """Until it has a final that it has not now."""
    before = len(texts_in(file, form))
    wait_until(lambda: len(texts_in(file, form)) > before, 30, "another final in the file", every=0.05)


@pytest.mark.parametrize(("form", "data"), [("vtt", b"WEBVTT\n\n"), ("vtt", b"WEB"), ("jsonl", b'{"type":"sta')])
def test_a_file_left_before_the_first_final_has_every_final_once(engine, tmp_path, form, data):
    file = tmp_path / f"talk.{form}"
    file.write_bytes(data)
    with FakeDeepgram(responder=Echo(interim_s=0.1, final_s=0.3)) as server:
        running = engine(byok(server) | silent_file(tmp_path / "talk.wav", 120))
        running.bus.wait_until(lambda _: len(running.bus.finals()) >= 3, 30, "finals that nobody heard")
        words = ["listen", "--name", running.name, "--output", str(file), "--append", "--exit-on-stop"]
        command = [sys.executable, "-m", "mpengine", *words]
        with spawned(command, env=running.environment, stderr=subprocess.PIPE) as process:
            wait_until(lambda: file.read_bytes().count(b"words ") >= 3, 30, "them in the file")
            assert running.stop() == 0
            assert process.communicate(timeout=scaled(30))[1] == b""
    assert texts_in(file, form) == [each["text"] for each in running.bus.finals()]
    running.assert_nothing_left()


class Wordy(Echo):
    """Finals of several cues."""

    def _result(self, connection, start, end, *, final):
        number, words = self.finals + 1, 30
        self.finals += final
        edges = [start + (end - start) * place // words for place in range(words + 1)]
        found = [(f"größer{number}x{place}", *edges[place : place + 2]) for place in range(words)]
        text = " ".join(each[0] for each in found)
        return connection.transcript(text, start, end, final=final, words=found, speech_final=final)


def test_a_final_that_was_torn_between_its_cues_is_written_again_as_a_whole(engine, tmp_path):
    file = tmp_path / "talk.vtt"
    with FakeDeepgram(responder=Wordy(interim_s=0.1, final_s=1.0)) as server:
        running = engine(byok(server) | silent_file(tmp_path / "talk.wav", 120))
        running.wait_for_state("running")
        words = ["listen", "--name", running.name, "--output", str(file), "--append"]
        command = [sys.executable, "-m", "mpengine", *words]
        for pattern in (rb"\n\n(?=[^\n]+\.2/)", rb"\xc3(?=\x9f)", None):  # behind its first cue, in a letter of it
            ends = ["--exit-on-stop"] if pattern is None else []
            before = file.read_bytes().count(b".1/") if file.exists() else 0
            with spawned([*command, *ends], env=running.environment) as process:
                wait_until(lambda n=before: file.exists() and file.read_bytes().count(b".1/") > n, 30, "a final more")
                if pattern is None:
                    assert running.stop() == 0
                    assert process.wait(scaled(30)) == 0
                process.kill()
            if pattern:
                data = file.read_bytes()
                file.write_bytes(data[: [each.end() for each in re.finditer(pattern, data)][-1]])
    said = " ".join(each["text"] for each in running.bus.finals()).split()
    assert " ".join(texts_in(file, "vtt")).split() == said
    running.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["vtt", "jsonl"])
def test_a_killed_listener_that_goes_on_has_every_final_once(engine, tmp_path, form):
    file = tmp_path / f"talk.{form}"
    chance = random.Random(form)
    with FakeDeepgram(responder=Echo(interim_s=0.1, final_s=0.3)) as server:
        running = engine(byok(server) | silent_file(tmp_path / "talk.wav", 120))
        running.wait_for_state("running")
        words = ["listen", "--name", running.name, "--output", str(file), "--append"]
        command = [sys.executable, "-m", "mpengine", *words]
        for life in range(8):
            with spawned(command, env=running.environment):
                wait_for_more(file, form)
                time.sleep(chance.uniform(0.0, 0.5))
            if life == 4:
                running.kill()
                running.start()
                running.wait_for_state("running")
        with spawned([*command, "--exit-on-stop"], env=running.environment, stderr=subprocess.PIPE) as process:
            wait_for_more(file, form)
            assert running.stop() == 0
            assert process.communicate(timeout=scaled(30))[1] == b""
    # What the successor of a killed supervisor publishes again has the number it had.
    finals = list({(each["run"], each["seq"]): each["text"] for each in running.bus.finals()}.values())
    assert len(finals) > 10
    assert texts_in(file, form) == finals
    running.assert_nothing_left()
