"""Any of the three processes killed: what comes back, what is lost, and that nothing is left."""

import itertools
import signal

from tests.rig.configs import byok, noise
from tests.rig.deepgram import FakeDeepgram


def test_streaming_killed_costs_no_sample(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        killed = running.signal_child("streaming")
        running.child_pid("streaming", other_than=killed)
        second = server.wait_for_connection(2)
        server.wait_for_audio(64000, connection=second)
        running.wait_for_state("running")
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["source"] == "streaming")
        assert error["message"] == "streaming was killed by SIGKILL; restarting"
        assert running.stop() == 0
        assert running.bus.of_type("gap") == []
        # What both connections heard overlaps, and together it has no hole.
        heard = [connection.audio for connection in server.connections]
        assert heard[0]
        finals = running.bus.finals()
        for before, after in itertools.pairwise(finals):
            assert after["start_s"] >= before["end_s"] - 0.001
            assert after["start_s"] <= before["end_s"] + 0.001
        assert {final["connection"] for final in finals} == {1, 2} or finals[0]["connection"] == 2
    running.assert_nothing_left()


def test_capture_killed_comes_back_and_the_gap_is_told(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(32000)
        killed = running.signal_child("capture")
        gap = running.bus.wait_for(lambda m: m["type"] == "gap", 20)
        assert gap["reason"] == "capture_restart"
        assert gap["samples"] == round((gap["end_s"] - gap["start_s"]) * 16000)
        assert 0 < gap["samples"] < 20 * 16000
        assert running.child_pid("capture", other_than=killed)
        played = noise(2)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in server.audio, 10, "what was played afterwards")
        assert len(server.connections) == 1  # the connection was not touched
        running.wait_for_state("running")
        assert running.stop() == 0
    running.assert_nothing_left()


def test_a_killed_supervisor_takes_everything_with_it(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        running.kill()
        running.assert_nothing_left(timeout=1)
        assert microphone.wait_for_recording(0, timeout=1) == []
        # And nothing of it is in the way of the next one.
        running.start()
        running.wait_for_state("running")
        assert running.stop() == 0


def test_a_hung_streaming_process_is_replaced(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"supervisor": {"hang_limit_s": 3.0}}
        running = engine(config, microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        stopped = running.signal_child("streaming", signal.SIGSTOP)
        running.child_pid("streaming", other_than=stopped)
        server.wait_for_connection(2)
        running.wait_for_state("running")
        assert running.stop() == 0
        assert running.bus.of_type("gap") == []
    running.assert_nothing_left()


def test_a_lost_connection_is_replaced_and_its_unfinished_audio_sent_again(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        played = noise(1.5)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in server.audio, 10, "what was played")
        server.connections[0].reset()
        second = server.wait_for_connection(2)
        server.wait_for(lambda: played in second.audio, 20, "the unfinished audio once more")
        final = running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"] and m["connection"] == 2)
        assert final["replayed"]
        metrics = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["replayed_s"] > 1)
        assert metrics["reconnects"] == 1
        assert running.stop() == 0
