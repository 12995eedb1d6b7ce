"""Local mode: speech through the virtual microphone, or from a file, comes out as the right words."""

import wave

import pytest

from tests.rig import wav_files
from tests.rig.numeric import np, soxr
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


@pytest.mark.parametrize(
    ("rate_hz", "channels", "sample_format", "audio"),
    [
        pytest.param(44100, 2, "float32", {}, marks=pytest.mark.long),
        (48000, 6, "int24", {"channel": 4}),
        pytest.param(22050, 1, "int32", {}, marks=pytest.mark.long),
    ],
)
def test_a_file_of_any_format(engine, tmp_path, rate_hz, channels, sample_format, audio):
    with wave.open(str(PATH)) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    frames = np.zeros((-(-len(speech) * rate_hz // 16000), channels))
    spoken = soxr.resample(speech, 16000, rate_hz, quality="VHQ") / 32768
    frames[: len(spoken), audio.get("channel", slice(None))] = spoken if audio else spoken[:, None]
    if sample_format == "float32":
        data = frames.astype("<f4").tobytes()
    else:
        units = np.rint(frames.clip(-1, 1) * (2**31 - 1)).astype("<i4")
        data = units.tobytes()
        if sample_format == "int24":
            data = units.view("u1").reshape(-1, 4)[:, 1:].tobytes()
    is_extensible = channels > 1
    content = wav_files.wav(
        data, rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_extensible=is_extensible
    )
    source = wav_files.write(tmp_path / "speech.wav", content)
    running = engine(LOCAL | {"audio": {"source": source, "paced": False, **audio}})
    assert running.bus
    assert running.wait(60) == 0
    assert finals(running) == SENTENCES
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
