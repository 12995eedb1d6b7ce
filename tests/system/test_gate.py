"""The silence gate: what is not sent in silence, and that nothing else changes."""

import array
import itertools
import signal

import pytest

from tests.rig import speech
from tests.rig.configs import byok, managed, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.proxy import FakeProxy
from tests.rig.terse import Terse

RATE = 16000
GATE = {"gate": "energy"}


def silence(seconds):
    return bytes(2 * round(seconds * RATE))


def sound(number, seconds=0.5):
    """A sound that Terse hears as the words "word NUMBER". Unlike that of `terse`, it is no constant."""
    value = 1000 + 100 * number
    wave = itertools.cycle([value] * 20 + [-value] * 20)
    return array.array("h", itertools.islice(wave, round(seconds * RATE))).tobytes()


def words(finals):
    return [final["text"] for final in finals]


def states(messages):
    return [message["state"] for message in messages if message["type"] == "status"]


def is_final(message, text):
    return message["type"] == "transcript" and message["is_final"] and message["text"] == text


def has_gated(message, seconds):
    return message["type"] == "metrics" and message["gated_s"] >= seconds


def of_file(path, pcm, **audio):
    return {"audio": {"source": str(write_wav(path, pcm)), **GATE, **audio}}


def test_a_file_has_the_same_transcript_with_less_audio(engine, tmp_path):
    pcm = silence(3) + sound(1) + silence(1.2) + sound(2) + silence(30) + sound(3) + silence(5)
    with FakeDeepgram(responder=Terse(), holds_upgrades=True) as server:
        running = engine(byok(server) | of_file(tmp_path / "talk.wav", pcm, paced=False))
        listen_first(running, server)
        assert running.wait(timeout=60) == 0
        finals = running.bus.finals()
        assert words(finals) == ["word 1", "word 2", "word 3"], server.describe()
        assert [final["start_s"] for final in finals] == pytest.approx([3.0, 4.7, 35.2], abs=0.1)
        assert [final["end_s"] for final in finals] == pytest.approx([3.5, 5.2, 35.7], abs=0.1)
        assert running.bus.of_type("gap") == []
        (connection,) = server.connections
        # Of each silence its first second passes, a block more, and the half second before the next sound.
        sent_s, gated_s = connection.audio_bytes / 2 / RATE, running.bus.of_type("metrics")[-1]["gated_s"]
        assert sent_s + gated_s == pytest.approx(len(pcm) / 2 / RATE)
        assert 6.5 < sent_s < 9.0
        assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0
        assert not server.violations
    running.assert_nothing_left()


def test_what_has_no_voice_is_not_sent_either(engine, tmp_path):
    hum = sound(5, 20)
    pcm = hum + speech.pcm() + hum
    with FakeDeepgram(echoing=True, holds_upgrades=True) as server:
        running = engine(byok(server) | of_file(tmp_path / "talk.wav", pcm, paced=False, gate="vad"))
        listen_first(running, server)
        assert running.wait(timeout=60) == 0
        voice_s = len(speech.pcm()) / 2 / RATE
        assert voice_s - 1 < len(server.audio) / 2 / RATE < voice_s + 5
        assert running.bus.of_type("gap") == []
        assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0


def test_a_connection_is_kept_alive_through_a_pause(engine, tmp_path):
    pcm = sound(1) + silence(12) + sound(2) + silence(2)
    with FakeDeepgram(responder=Terse(), silence_limit_s=10, holds_upgrades=True) as server:
        running = engine(byok(server) | of_file(tmp_path / "talk.wav", pcm))
        listen_first(running, server)
        assert running.wait(timeout=60) == 0
        finals = running.bus.finals()
        assert words(finals) == ["word 1", "word 2"], server.describe()
        assert finals[1]["start_s"] == pytest.approx(12.5, abs=0.1)
        (connection,) = server.connections
        assert [text.json["type"] for text in connection.texts] == ["KeepAlive", "KeepAlive", "CloseStream"]
        assert connection.audio_bytes < 2 * RATE * 6
        assert "degraded" not in states(running.bus.messages)
        assert not server.violations


@pytest.mark.long
def test_a_proxy_is_left_in_a_long_pause_and_called_again_with_the_first_word(engine, tmp_path):
    pcm = sound(1) + silence(16) + sound(2) + silence(4)
    with FakeProxy(responder=Terse(), holds_upgrades=True) as server:
        running = engine(managed(server) | of_file(tmp_path / "talk.wav", pcm))
        listen_first(running, server)
        assert running.wait(timeout=60) == 0
        finals = running.bus.finals()
        assert words(finals) == ["word 1", "word 2"], server.describe()
        assert finals[1]["end_s"] == pytest.approx(17.5, abs=2)
        assert len(server.connections) == 2
        assert "degraded" not in states(running.bus.messages)
        assert [error for error in running.bus.of_type("error") if error["source"] == "streaming"] == []
        assert running.bus.of_type("gap") == []
        assert running.bus.of_type("metrics")[-1]["reconnects"] == 0
        assert not server.violations


@pytest.mark.long
@pytest.mark.slow
def test_deepgram_is_left_after_half_a_minute_and_called_again_with_the_first_word(engine, tmp_path):
    pcm = sound(1) + silence(40) + sound(2) + silence(2)
    with FakeDeepgram(responder=Terse(), silence_limit_s=10, holds_upgrades=True) as server:
        running = engine(byok(server) | of_file(tmp_path / "talk.wav", pcm))
        listen_first(running, server)
        assert running.wait(timeout=90) == 0
        finals = running.bus.finals()
        assert words(finals) == ["word 1", "word 2"], server.describe()
        assert finals[1]["start_s"] == pytest.approx(40.5, abs=0.1)
        first, second = ([text.json["type"] for text in each.texts] for each in server.connections)
        assert first == ["KeepAlive"] * 7 + ["CloseStream"]
        assert second == ["CloseStream"]
        assert "degraded" not in states(running.bus.messages)
        assert [error for error in running.bus.of_type("error") if error["source"] == "streaming"] == []
        assert not server.violations


@pytest.mark.parametrize("child", ["capture", "streaming"])
def test_a_kill_in_a_gated_silence_loses_nothing(microphone, engine, child):
    with FakeDeepgram(responder=Terse()) as server:
        running = engine(byok(server) | {"audio": GATE}, microphone)
        running.wait_for_state("running")
        microphone.play_and_wait(sound(1))
        running.bus.wait_for(lambda m: is_final(m, "word 1"))
        running.bus.wait_for(lambda m: has_gated(m, 1.0))
        killed = running.signal_child(child, signal.SIGKILL)
        running.child_pid(child, other_than=killed)
        microphone.play_and_wait(sound(2) + silence(1))
        final = running.bus.wait_for(lambda m: is_final(m, "word 2"))
        assert running.stop() == 0
        assert words(running.bus.finals()) == ["word 1", "word 2"]
        assert final["start_s"] > 2
        reasons = {gap["reason"] for gap in running.bus.of_type("gap")}
        assert reasons <= {"capture_restart"}
        assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0


def test_a_killed_supervisor_that_is_started_again_goes_on_behind_a_gated_silence(microphone, engine):
    with FakeDeepgram(responder=Terse()) as server:
        running = engine(byok(server) | {"audio": GATE}, microphone)
        running.wait_for_state("running")
        microphone.play_and_wait(sound(1))
        running.bus.wait_for(lambda m: is_final(m, "word 1"))
        running.bus.wait_for(lambda m: has_gated(m, 1.0))
        running.kill()
        running.start()
        server.wait_for_connection(2)
        microphone.play_and_wait(sound(2) + silence(1))
        running.bus.wait_for(lambda m: is_final(m, "word 2"))
        assert running.stop() == 0
        assert words(running.bus.finals()) == ["word 1", "word 2"]
        assert {gap["reason"] for gap in running.bus.of_type("gap")} <= {"stopped"}
