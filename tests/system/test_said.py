"""What a recogniser says is published, whatever it says beside the words; and no time is shown as lost that was not.

MPENGINE_STOP_SECONDS is how long no engine runs.
"""

import os

import pytest

from tests.rig.configs import byok, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.oracle import Oracle, speech, spoken_positions

STOP_S = int(os.environ.get("MPENGINE_STOP_SECONDS", "3"))  # longer than a final may span, and than a restart takes


class Says:
    """A responder that says each of `texts` at its times: (start, duration), in seconds of the connection."""

    def __init__(self, *times):
        self.times = times
        self.texts = [f"alpha {number} beta" for number in range(len(times))]

    def __call__(self, connection, samples):
        if connection.finishing and not vars(connection.memory):
            connection.memory.is_done = True
            for text, (start_s, duration_s) in zip(self.texts, self.times, strict=True):
                alternative = {"transcript": text, "confidence": 0.5, "words": []}
                yield {
                    "type": "Results",
                    "channel_index": [0, 1],
                    "start": start_s,
                    "duration": duration_s,
                    "is_final": True,
                    "channel": {"alternatives": [alternative]},
                }


TIMES = {
    "whole seconds": [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1)],
    "no lengths": [(1, 0), (2, 0), (3, 0), (4, 0)],
    "rounded starts": [(1.0, 0.0), (2.0, 0.0), (2.0, 0.0), (3.0, 0.0)],
    "a clock at 0": [(0, 0)] * 4,
    "starts of 0": [(0, 1), (0, 2), (0, 3)],
    "a clock for each utterance": [(0, 2), (0, 1), (0, 1.5)],
    "windows": [(0.88, 0.36), (1.16, 1.0), (2.0, 1.0)],
    "absolute ends": [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)],
    "a late first half": [(2, 1), (1, 1), (0, 1)],
    "beyond the audio": [(0, 1), (100, 5), (7000, 1)],
    "negative": [(-5, 1), (1, -2), (-1e8, 0)],
}


def heard(engine, responder, tmp_path):
    """An engine that had six seconds of a file heard by `responder`."""
    audio = silent_file(tmp_path / "six.wav", 6)["audio"] | {"paced": False}
    with FakeDeepgram(responder=responder, holds_upgrades=True) as server:
        running = engine(byok(server) | {"audio": audio})
        listen_first(running, server)
        assert running.wait() == 0
    return running


@pytest.mark.parametrize("kind", TIMES)
def test_every_final_of_a_connection_is_published_once_and_in_order(engine, tmp_path, kind):
    responder = Says(*TIMES[kind])
    running = heard(engine, responder, tmp_path)
    assert [final["text"] for final in running.bus.finals()] == responder.texts
    assert all(0 <= final["start_s"] <= final["end_s"] <= 6 for final in running.bus.finals())
    assert running.bus.of_type("metrics")[-1]["withheld"] == 0
    running.assert_nothing_left()


def test_an_exact_repetition_is_withheld_counted_and_logged(engine, tmp_path):
    responder = Says((0, 1), (0, 1), (1, 1))
    responder.texts = ["yes it is", "yes it is", "no"]
    running = heard(engine, responder, tmp_path)
    assert [final["text"] for final in running.bus.finals()] == ["yes it is", "no"]
    assert running.bus.of_type("metrics")[-1]["withheld"] == 1
    assert 'withheld words="yes it is" reason=repeated' in running.log_text()


@pytest.mark.parametrize("how", ["killed", "stopped", "refused"])
def test_time_in_which_no_engine_ran_is_not_lost(microphone, engine, how):
    """Speech goes on all the time. The engine ends while the recogniser is away, and is started again later."""
    with FakeDeepgram(responder=Oracle(), holds_upgrades=how == "refused") as server:
        running = engine(byok(server), microphone)
        if how != "refused":
            running.wait_for_state("running")
        microphone.play(speech(600 + 10 * STOP_S))
        if how == "refused":
            running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > 2, 30)
            server.refuse(401)
            server.answer_upgrades()
            assert running.wait() == 4
        else:
            running.bus.wait_until(lambda _: len(spoken_positions(running.bus.finals())) > 20, 30, "words")
        if how == "killed":
            running.kill()
        elif how == "stopped":
            server.muted = True
            sent = server.current.audio_bytes
            server.wait_for_audio(sent + 32_000, connection=server.current)
            server.current.drop()
            running.bus.wait_for(lambda m: m["type"] == "status" and m["state"] == "degraded", 30)
            server.refuse(503, times=1000)
            assert running.stop() == 0
            assert running.bus.of_type("status")[-1]["unacknowledged_s"] > 0.5
        microphone.play(bytes(2 * 16000 * STOP_S)).wait(30 + STOP_S)  # beside the speech: as long as it takes
        server.muted = False
        server.refuse(503, times=0)
        before = len(running.bus.finals())
        running.start()
        running.bus.wait_until(lambda _: len(running.bus.finals()) > before + 3, 60, "finals of the next engine")
        gap = running.bus.of_type("gap")[0]
        assert running.stop() == 0
    finals = list({final["seq"]: final for final in running.bus.finals()}.values())
    assert [each["reason"] for each in running.bus.of_type("gap")] == ["stopped"]
    assert gap["end_s"] - gap["start_s"] > STOP_S
    assert all(final["end_s"] <= gap["start_s"] or final["start_s"] >= gap["end_s"] for final in finals)
    assert any(final["end_s"] <= gap["start_s"] for final in finals)
    assert any(final["start_s"] >= gap["end_s"] for final in finals)
    spoken = spoken_positions(finals)
    positions = [position for position, _ in spoken]
    assert positions == sorted(set(positions))
    first, first_at_s = spoken[0]
    worst_s = max(abs(at_s - first_at_s - (position - first) * 0.1) for position, at_s in spoken)
    assert worst_s <= 0.02
    assert running.bus.of_type("metrics")[-1]["dropped_s"] == 0
