"""Long silence: what of it is sent again after a lost connection, and that a file gets over it."""

import os
import signal
import time

import pytest

from tests.rig.configs import byok, write_wav
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.terse import Terse, sound
from tests.rig.waiting import promised

RATE = 16000


def silence(seconds):
    return bytes(2 * round(seconds * RATE))


def words(finals):
    return [final["text"] for final in finals]


def is_final(message, text):
    return message["type"] == "transcript" and message["is_final"] and message["text"] == text


def drops_after_silence(microphone, engine, blank_s, silence_s):
    """A word, silence, a lost connection, a word. Returns the second connection, and how late that word was heard."""
    with FakeDeepgram(responder=Terse(blank_s)) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        microphone.play_and_wait(sound(1) + silence(1))
        running.bus.wait_for(lambda m: is_final(m, "word 1"))
        server.wait_for_audio(server.connections[0].audio_bytes + 2 * round(silence_s * RATE), silence_s + 30)
        server.current.reset()
        connection = server.wait_for_connection(2)
        microphone.play(sound(2) + silence(1))
        began = time.monotonic()
        final = running.bus.wait_for(lambda m: is_final(m, "word 2"), silence_s + 30)
        took_s = time.monotonic() - began
        at_s = connection.memory.end / RATE
        print(f"{took_s:.1f} s after it was played; {at_s:.1f} s of audio before; {final['start_s']:.2f}")
        assert words(running.bus.finals()) == ["word 1", "word 2"]
        assert running.bus.of_type("gap") == []
        assert final["start_s"] > silence_s
        assert running.stop() == 0
    return at_s, took_s


@pytest.mark.long
def test_silence_is_not_sent_again_after_a_drop(microphone, engine):
    """The recogniser says every second that there is nothing. Of the silence, seconds at its ends are sent again."""
    at_s, _ = drops_after_silence(microphone, engine, blank_s=1.0, silence_s=16.0)
    assert at_s < 11


@pytest.mark.long
@pytest.mark.slow
def test_after_75_seconds_of_silence_and_a_drop_words_come_within_5_seconds(microphone, engine):
    at_s, took_s = drops_after_silence(microphone, engine, blank_s=1.0, silence_s=75.0)
    assert at_s < 11
    assert took_s < promised(5)


@pytest.mark.long
@pytest.mark.slow
def test_a_recogniser_that_is_mute_in_silence_need_not_hear_it_again_either(microphone, engine):
    at_s, _ = drops_after_silence(microphone, engine, blank_s=None, silence_s=75.0)
    assert at_s < 45


LONG_FAULTS = [
    pytest.param(fault, marks=pytest.mark.long) for fault in ("drop", "drop at the end", "kill and drop at the end")
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", *LONG_FAULTS])
def test_a_file_gets_over_a_pause_of_twice_the_window(engine, tmp_path, fault):
    """The recogniser says nothing in the pause. After a drop, the file is read again from where results are missing."""
    terse = Terse()

    def respond(connection, samples):
        if connection.number == 1 and fault != "none" and samples > 100 * RATE:
            if fault == "drop":
                connection.reset()
            return ()
        return terse(connection, samples)

    pcm = silence(1) + sound(1) + silence(1) + sound(2) + silence(130) + sound(3) + silence(1)
    with FakeDeepgram(responder=respond, holds_upgrades=True) as server:
        audio = {"source": str(write_wav(tmp_path / "pause.wav", pcm)), "paced": False}
        running = engine(byok(server) | {"audio": audio, "buffer": {"seconds": 60}})
        listen_first(running, server)
        if "at the end" in fault:
            server.flush_delay_s = 60
            server.wait_for_text("CloseStream")
            server.flush_delay_s = 0
            if "kill" in fault:
                os.kill(running.child_pid("capture"), signal.SIGKILL)
            server.current.reset()
        assert running.wait(timeout=60) == 0
        finals = running.bus.finals()
        assert words(finals) == ["word 1", "word 2", "word 3"], server.describe()
        assert [final["start_s"] for final in finals] == pytest.approx([1.0, 2.5, 133.0], abs=0.1)
        assert running.bus.of_type("gap") == []
        assert len(server.connections) == 1 + (fault != "none")
    running.assert_nothing_left()
