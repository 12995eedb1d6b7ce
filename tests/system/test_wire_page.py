"""The program on the page `wire`: who writes one like it misses nothing, whatever befalls engine and program."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mpengine
from tests.pure.support import within
from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.echo import Echo
from tests.rig.processes import spawned

PAGE = Path(mpengine.__file__).parent / "docs" / "wire.md"


@pytest.fixture
def program(tmp_path):
    """The longest program on the page, in a file of its own."""
    path = tmp_path / "subscriber.py"
    path.write_text(max(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL), key=len))
    return path


class Reader:
    """The program, and the messages that it has printed."""

    def __init__(self, process):
        self._process = process
        self.lines = []

    def read(self, until):
        """Read on, unless `until` holds for the last line, up to the first one for which it does."""
        while not self.lines or not until(self.lines[-1]):
            self.lines.append(json.loads(self._process.stdout.readline()))


def _is_final(message):
    return message.get("is_final", False)


def test_the_program_on_the_page_has_every_final_once(engine, program, tmp_path):
    with FakeDeepgram(responder=Echo(0.1, 0.3)) as server:
        running = engine(byok(server) | silent_file(tmp_path / "talk.wav", 60), name="wire")
        command, how = [sys.executable, program, running.name], {"env": running.environment, "stdout": subprocess.PIPE}
        with within(60), spawned(command, **how) as process:
            early = Reader(process)
            early.read(lambda message: _is_final(message) and message["text"] == "words 3")
            process.send_signal(signal.SIGSTOP)
            running.bus.wait_until(lambda m: sum(map(_is_final, m)) > 5, 30, "finals that it does not see")
            running.kill()
            running.start()
            process.send_signal(signal.SIGCONT)
            running.wait_for_state("running")
            boot = running.query({"type": "snapshot"})["boot"]
            early.read(lambda message: _is_final(message) and message["boot"] == boot)
            with spawned(command, **how) as process_of_late:
                late = Reader(process_of_late)
                late.read(lambda message: message["seq"] >= early.lines[-1]["seq"])
                assert running.stop() == 0
                finals = list(dict.fromkeys((m["seq"], m["text"]) for m in running.bus.finals()))
                for reader in (early, late):
                    reader.read(lambda message: message["seq"] == finals[-1][0])
                    assert [(line["seq"], line["text"]) for line in reader.lines if _is_final(line)] == finals
                    assert not any("hole" in line for line in reader.lines)
    running.assert_nothing_left()
