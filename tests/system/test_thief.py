"""A second reader on the frames socket: a stranger is ended; what was taken is noticed and sent again."""

import re
import threading
from contextlib import contextmanager
from pathlib import Path

from tests.rig import thief
from tests.rig.bad_engine import ALL, command
from tests.rig.configs import byok, noise, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.waiting import scaled

ROOT = Path(__file__).parents[2]


@contextmanager
def stranger(running):
    """Reads frames in the test's own process; gives what it has taken."""
    taken: list[bytes] = []
    has_ended = threading.Event()
    thread = threading.Thread(target=thief.take, args=(f"ipc://{running.runtime}/frames", taken, has_ended))
    thread.start()
    try:
        yield taken
    finally:
        has_ended.set()
        thread.join(scaled(30))


def test_a_stranger_that_reads_the_frames_is_ended_and_costs_no_sample(engine, tmp_path):
    """It may get a frame before its connection is ended. It connects again and again."""
    audio = noise(6)
    with FakeDeepgram(holds_upgrades=True) as server:
        running = engine(byok(server) | {"audio": {"source": str(write_wav(tmp_path / "a.wav", audio))}})
        with stranger(running) as taken:
            listen_first(running, server)
            assert running.wait(timeout=60) == 0
        assert bytes(server.audio) == audio
        assert running.bus.of_type("gap") == []
    assert "stranger_refused" in running.log_text()
    assert {error["code"] for error in running.bus.of_type("error")} <= ({"frames_missed"} if taken else set())


def test_a_second_reader_of_the_frames_costs_no_sample_and_is_told_once(engine, tmp_path):
    """It is there from the first frame to the end of the file: nearly every second frame goes to it.

    Its process has the supervisor as parent, and capture has the zygote: both are of the engine.
    """
    audio = noise(6)
    with FakeDeepgram(holds_upgrades=True) as server:
        running = engine(
            byok(server) | {"audio": {"source": str(write_wav(tmp_path / "a.wav", audio))}},
            command=command("streaming", thief.STEALS, ALL),
            environment={"PYTHONPATH": str(ROOT)},
        )
        listen_first(running, server)
        assert running.wait(timeout=60) == 0
        assert bytes(server.audio) == audio
        assert running.bus.of_type("gap") == []
    assert "stranger_refused" not in running.log_text()
    assert int(re.findall(r"rig: taken (\d+)", running.log_text())[-1]) > 5
    errors = [error["code"] for error in running.bus.of_type("error")]
    assert errors == ["frames_missed"]
    assert running.log_text().count("frames_missed") == 1
    assert len(server.connections) == 1
