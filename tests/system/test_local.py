"""Local mode: speech through the virtual microphone, or from a file, comes out as the right words."""

import pytest

from tests.rig.speech import PATH, SENTENCES

LOCAL = {"remote": {"mode": "local"}}

pytestmark = pytest.mark.slow


def finals(running):
    return [final["text"] for final in running.bus.finals()]


def test_speech_from_the_microphone(microphone, engine):
    running = engine(LOCAL, microphone)
    running.wait_for_state("running")
    playing = microphone.play(PATH)
    running.bus.wait_until(lambda _: len(finals(running)) == len(SENTENCES), 60, "all sentences")
    playing.wait()
    assert finals(running) == SENTENCES
    assert running.bus.wait_for(lambda m: m["type"] == "transcript" and not m["is_final"])
    for before, after in zip(running.bus.finals(), running.bus.finals()[1:], strict=False):
        assert before["end_s"] <= after["start_s"] + 0.001
    assert running.stop() == 0
    running.assert_nothing_left()


def test_a_file_as_fast_as_it_goes(engine):
    running = engine(LOCAL | {"audio": {"source": str(PATH), "paced": False}})
    assert running.bus
    assert running.wait(60) == 0
    assert finals(running) == SENTENCES
    last = running.bus.of_type("status")[-1]
    assert (last["state"], last["unacknowledged_s"]) == ("stopped", 0)
    running.assert_nothing_left()


def test_a_killed_recogniser_comes_back(microphone, engine):
    running = engine(LOCAL, microphone)
    running.wait_for_state("running")
    killed = running.signal_child("recogniser")
    running.child_pid("recogniser", other_than=killed)
    running.bus.wait_for(lambda m: m["type"] == "status" and m["connection"] >= 2 and m["state"] == "running", 30)
    microphone.play_and_wait(PATH, timeout=40)
    running.bus.wait_until(lambda _: finals(running)[-len(SENTENCES) :] == SENTENCES, 30, "all sentences")
    assert running.stop() == 0
    running.assert_nothing_left()
