"""The whole engine on the virtual microphone: every sample arrives, every result comes out."""

import json
import subprocess
import sys

import pytest
import zmq

from tests.rig import speech
from tests.rig.configs import byok, managed, noise
from tests.rig.deepgram import FakeDeepgram
from tests.rig.processes import spawned
from tests.rig.proxy import FakeProxy
from tests.rig.waiting import scaled


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("mode", ["byok", "managed"])
def test_what_is_played_reaches_the_recogniser_bit_for_bit(microphone, engine, mode, tls):
    kind, config_of = (FakeDeepgram, byok) if mode == "byok" else (FakeProxy, managed)
    with kind(echoing=True, tls=tls) as server:
        running = engine(config_of(server), microphone)
        running.wait_for_state("running")
        played = noise(3)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in server.audio, 30, "the played samples")
        running.bus.wait_for(lambda m: m["type"] == "transcript" and not m["is_final"])
        running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"])
        assert running.stop() == 0
        assert [violation for each in server.connections for violation in each.violations] == []
    running.assert_nothing_left()


def test_results_come_out_of_plain_pyzmq_and_of_listen(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        words = ["listen", "--name", running.name, "--format", "jsonl", "--exit-on-stop"]
        command = [sys.executable, "-m", "mpengine", *words]
        with spawned(command, env=running.environment, stdout=subprocess.PIPE) as listen:
            with zmq.Context() as context, context.socket(zmq.SUB) as socket:
                socket.connect(f"ipc://{running.runtime}/results")
                socket.subscribe(f"{running.name}.transcript")
                topics = set()
                while len(topics) < 2:
                    assert socket.poll(20_000), "no transcript"
                    topic, body = socket.recv_multipart()
                    message = json.loads(body)
                    assert message["type"] == "transcript"
                    assert message["text"]
                    topics.add(topic.decode())
            assert topics == {f"{running.name}.transcript.interim", f"{running.name}.transcript.final"}
            line = listen.stdout.readline()
            assert json.loads(line)["v"] == 1
            running.stop()
            rest, _ = listen.communicate(timeout=scaled(30))
        states = [m["state"] for m in map(json.loads, rest.splitlines()) if m["type"] == "status"]
        assert states[-1] == "stopped"
        assert listen.returncode == 0


def test_the_last_words_come_out_when_stopped_while_talking(microphone, engine):
    with FakeDeepgram(echoing=True, flush_delay_s=1.5) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        assert running.stop() == 0
        connection = server.connections[0]
        assert [text.json["type"] for text in connection.texts][-1] == "CloseStream"
        finals = running.bus.finals()
        assert finals[-1]["end_s"] == pytest.approx(connection.samples / 16000, abs=0.001)
        last = running.bus.of_type("status")[-1]
        assert (last["state"], last["unacknowledged_s"]) == ("stopped", 0)


def test_what_the_recogniser_says_beside_the_text_is_published_as_far_as_it_fits(microphone, engine):
    with FakeDeepgram() as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        running.bus.messages  # noqa: B018  listen from here on
        server.wait_for_audio(32000)
        word = {"word": "ann", "start": 0.25, "end": 0.5, "speaker": "SPEAKER_00", "language": "en"}
        entity = {"label": "NAME", "value": "Ann", "start_word": 0}
        best = {"transcript": "Ann here.", "words": [word, "here"], "entities": [entity], "languages": None}
        results = {"type": "Results", "is_final": True, "start": "0.0", "duration": 0.75, "channel_index": 0}
        server.push({**results, "channel": {"alternatives": [best | {"confidence": "high"}]}})
        silence = {**results, "start": 0.75, "duration": 0.125, "speech_final": True}
        server.push({**silence, "channel": {"alternatives": [{"transcript": ""}]}})
        end = running.bus.wait_for(lambda m: m["type"] == "utterance_end")
        (final,) = running.bus.finals()
        assert running.stop() == 0
    assert (final["text"], final["start_s"], final["end_s"]) == ("Ann here.", 0.0, 0.75)
    assert (final["confidence"], final["entities"], final["estimated"]) == (None, [entity], False)
    assert [(word["word"], word["end_s"], word["speaker"], word["language"]) for word in final["words"]] == [
        ("ann", 0.5, "SPEAKER_00", "en"),
        ("here", 0.75, None, None),
    ]
    assert (end["at_s"], end["channel"]) == (0.75, 0)
    (error,) = running.bus.of_type("error")
    assert error["code"] == "malformed_message"
    assert "`$.channel.alternatives[0].confidence`" in error["message"]


def test_managed_last_words_come_before_the_close_is_answered(microphone, engine):
    with FakeProxy(echoing=True, times=True, flush_delay_s=1.5) as server:
        running = engine(managed(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        assert running.stop() == 0
        assert running.bus.finals()[-1]["end_s"] == pytest.approx(server.connections[0].samples / 16000, abs=0.001)


def test_a_file_is_transcribed_to_its_last_sample_and_the_engine_ends(engine, tmp_path):
    with FakeDeepgram(echoing=True) as server:
        config = byok(server) | {"audio": {"source": str(speech.PATH), "paced": False}}
        running = engine(config)
        assert running.wait() == 0
        pcm = speech.PATH.read_bytes()
        assert server.audio
        assert pcm.endswith(server.audio)
        assert len(pcm) - len(server.audio) < 200  # the header
    running.assert_nothing_left()
