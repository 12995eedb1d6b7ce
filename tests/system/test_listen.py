"""`mpengine listen --append`, killed again and again while a real engine talks: the file ends with every final once."""

import json
import subprocess
import sys
import time
import wave

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.processes import spawn
from tests.rig.subtitles import read_vtt
from tests.rig.waiting import scaled


def texts_in(file, form):
    data = file.read_bytes()
    if form == "vtt":
        return [cue.text.replace("\n", " ") for cue in read_vtt(data)[0]]
    found = [json.loads(line) for line in data.splitlines()]
    return [each["text"] for each in found if each["type"] == "transcript" and each["is_final"]]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["vtt", "jsonl"])
def test_a_killed_listener_that_goes_on_has_every_final_once(engine, tmp_path, form):
    source, file = tmp_path / "talk.wav", tmp_path / f"talk.{form}"
    with wave.open(str(source), "wb") as silence:
        silence.setnchannels(1)
        silence.setsampwidth(2)
        silence.setframerate(16000)
        silence.writeframes(bytes(2 * 16000 * 120))
    with FakeDeepgram(responder=Echo(interim_s=0.1, final_s=0.3)) as server:
        running = engine(byok(server) | {"audio": {"source": str(source)}})
        running.wait_for_state("running")
        words = ["listen", "--name", running.name, "--output", str(file), "--append"]
        command = [sys.executable, "-m", "mpengine", *words]
        for life in range(4):
            with spawn(command, env=running.environment) as process:
                time.sleep(scaled(1.5))
                process.kill()
            if life == 2:
                running.kill()
                running.start()
                running.wait_for_state("running")
        with spawn([*command, "--exit-on-stop"], env=running.environment, stderr=subprocess.PIPE) as process:
            time.sleep(scaled(1.5))
            assert running.stop() == 0
            assert process.communicate(timeout=scaled(10))[1] == b""
    # What the successor of a killed supervisor publishes again has the number it had.
    finals = list({(each["run"], each["seq"]): each["text"] for each in running.bus.finals()}.values())
    assert len(finals) > 10
    assert texts_in(file, form) == finals
    running.assert_nothing_left()
