"""The start: what was captured before the recogniser was ready, and what is said while it is not."""

import pytest

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick
from tests.rig.configs import byok, managed, noise, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.processes import process_info
from tests.rig.proxy import FakeProxy
from tests.rig.server import reserve_port

QUICK = {"buffer": {"catch_up": 20.0}}  # what waited is sent quickly, and so a stop is quick


def finds_device(message):
    return message["type"] == "status" and message["device"]


@pytest.mark.slow
def test_with_the_server_started_later_its_first_sample_is_the_first_captured(microphone, engine):
    port = reserve_port()
    with FakeDeepgram(port=port) as absent:
        config = byok(absent) | QUICK
    running = engine(config, microphone)
    running.bus.wait_for(finds_device)
    first_words = noise(5)
    microphone.play_and_wait(first_words)
    with FakeDeepgram(port=port) as server:
        # Everything that was played before there was a server, and the silence around it, without a hole.
        server.wait_for(lambda: first_words in server.audio, 30, "the first words")
        running.wait_for_state("running")
        before = server.audio.index(first_words)
        assert before > 0
        level = running.bus.wait_for(lambda m: m["type"] == "metrics")
        assert level["dropped_s"] == 0
        running.stop()
        assert running.bus.of_type("gap") == []


@pytest.mark.slow
def test_audio_that_waited_is_sent_at_the_configured_pace(microphone, engine):
    port = reserve_port()
    with FakeDeepgram(port=port) as absent:
        config = byok(absent)
    running = engine(config, microphone)
    running.bus.wait_for(finds_device)
    running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > 4, 30)
    with FakeDeepgram(port=port) as server:
        connection = server.wait_for_connection(1, 30)
        server.wait_for(lambda: connection.samples > 8 * 16000, 30, "eight seconds of audio")
        frames = connection.of_kind("audio")
        sent_s = sum(len(frame.data) for frame in frames) / 32000
        taken_s = frames[-1].at - frames[0].at
        assert sent_s <= 1.25 * taken_s + 1.2  # a second of credit at the start


def test_when_asked_to_the_device_is_opened_only_once_connected(microphone, engine):
    port = reserve_port()
    with FakeProxy(port=port) as absent:
        config = managed(absent)
    running = engine(config | {"audio": {"start": "connected"}}, microphone)
    running.bus.wait_for(lambda m: m["type"] == "status" and "refused" in m["reason"])
    assert microphone.recording_clients() == []
    with FakeProxy(port=port) as server:
        running.wait_for_state("running")
        assert len(microphone.wait_for_recording(1)) == 1
        server.wait_for_audio(3200)
        first = running.bus.wait_for(finds_device)
        ready = running.bus.wait_for(lambda m: m["type"] == "status" and m["state"] == "running")
        assert first["seq"] <= ready["seq"]
        running.stop()


@pytest.mark.slow
def test_without_a_server_for_15_seconds_the_status_says_why(microphone, engine):
    config = {"remote": {"mode": "managed", "server_url": f"ws://127.0.0.1:{reserve_port()}", "auth_token": "a-token"}}
    running = engine(config, microphone)
    status = running.bus.wait_for(
        lambda m: m["type"] == "status" and m["children"]["streaming"]["next_try_in_s"] is not None
    )
    assert status["state"] == "connecting"
    assert "refused" in status["reason"]
    assert status["children"]["streaming"]["next_try_in_s"] >= 0
    error = running.bus.wait_for(lambda m: m["type"] == "error" and m["code"] == "connect_timeout", 30)
    assert "Timed out connecting to ws://127.0.0.1" in error["message"]
    assert "connection refused" in error["message"].lower()
    assert not error["fatal"]
    assert running.wait_for_state("degraded")["reason"]
    assert running.stop() == 0


@pytest.mark.slow
def test_a_proxy_that_never_says_ready_is_given_up_after_15_seconds_and_tried_again(engine, microphone):
    with FakeProxy(auth_answer=FakeProxy.SILENCE) as server:
        running = engine(managed(server) | QUICK, microphone)
        server.wait_for(lambda: server.auths, what="the first attempt")
        server.auth_answer = FakeProxy.READY  # for the next one
        error = running.bus.wait_for(
            lambda m: m["type"] == "error" and "Timed out waiting for proxy ready message" in m["message"], 30
        )
        assert not error["fatal"]
        server.wait_for_connection(2, 30)
        running.wait_for_state("running")
        assert len(server.auths) == 2
        running.stop()


@pytest.mark.parametrize("left_out", ["zygote", "proc_title", ",".join(Trick)], ids=["zygote", "proc_title", "all"])
def test_an_engine_without_tricks_of_starting_hears_all_the_same(engine, tmp_path, left_out):
    with FakeDeepgram(echoing=True) as server:
        config = byok(server) | silent_file(tmp_path / "silence.wav", 60)
        running = engine(config, environment={tricks.VARIABLE: left_out})
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"], 30)
        streaming = process_info(running.child_pid("streaming"))
        is_forked = streaming.parent != running.pid
        assert is_forked is ("zygote" not in left_out)
        assert running.log_tail().count("zygote_failed") == 0
        running.stop()
