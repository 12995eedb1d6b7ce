"""Devices that refuse 16 kHz, one channel or 16 bits: what is sent is what the best offline conversion makes of it.

A handful of them by default. MPENGINE_ALL_FORMATS=1 tries every rate with every number of channels and every format.
"""

import itertools
import os
import re

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.numeric import np, soxr
from tests.rig.position_code import heard
from tests.rig.sound_card import Card, converted
from tests.rig.speech import PATH, SENTENCES
from tests.rig.waiting import wait_until

RATES = (16000, 44100, 48000, 8000)
CHANNELS = (1, 2, 6, 8)
FORMATS = ("S16_LE", "S24_3LE", "S32_LE", "FLOAT_LE")
HANDFUL = [
    (48000, 2, "S16_LE"),  # the USB microphone of every day
    (44100, 1, "S24_3LE"),
    (48000, 8, "S32_LE"),
    (16000, 6, "S16_LE"),
    (8000, 1, "FLOAT_LE"),
]
DEVICES = list(itertools.product(RATES, CHANNELS, FORMATS)) if os.environ.get("MPENGINE_ALL_FORMATS") else HANDFUL
SECONDS = 3


def chirp(highest_hz):
    """A tone that rises from 50 Hz, at 16 kHz; soft at both ends."""
    times = np.arange(SECONDS * 16000) / 16000
    phase = 2 * np.pi * (50 * times + (highest_hz - 50) * times**2 / (2 * SECONDS))
    edges = np.clip(np.minimum(times, SECONDS - times) / 0.05, 0, 1)
    return np.rint(16000 * edges * np.sin(phase)).astype("<i2")


def difference_db(found, expected, highest_hz):
    """The power of the difference in relation to the expected one, up to `highest_hz`."""
    is_heard = np.fft.rfftfreq(len(found), 1 / 16000) < highest_hz
    spectra = [np.fft.rfft(each * np.hanning(len(each)))[is_heard] for each in (found, expected)]
    return 10 * np.log10((abs(spectra[0] - spectra[1]) ** 2).sum() / (abs(spectra[1]) ** 2).sum() + 1e-30)


@pytest.mark.slow
@pytest.mark.parametrize(("rate_hz", "channels", "sample_format"), DEVICES)
def test_what_is_sent_is_what_the_best_offline_conversion_gives(cards, engine, rate_hz, channels, sample_format):
    device = cards.add("odd", rates_hz=(rate_hz,), channels=(channels,), formats=(sample_format,))
    device.set(signal="zeros")
    highest_hz = min(6000, rate_hz * 3 // 8)
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | {"audio": {"device": "odd"}}, cards)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        sound = chirp(highest_hz).tobytes()
        begin = device.play(sound)
        device.wait_for("played")
        start = device.events("start")[-1].position
        end = round((begin - start) * 16000 / rate_hz) + len(sound) // 2
        server.wait_for_audio(2 * (end + 1600))
        assert running.stop() == 0
        audio = np.frombuffer(bytes(server.connections[0].audio), "<i2").astype(float)
        assert running.bus.of_type("gap") == []
    played = np.frombuffer(converted(sound, rate_hz), "<i2").astype(float)
    at_device = np.concatenate((np.zeros(begin - start), played, np.zeros(rate_hz)))
    expected = soxr.resample(at_device, rate_hz, 16000, quality="VHQ") if rate_hz != 16000 else at_device
    stretch = slice(max(0, end - len(sound) // 2 - 1000), end + 1000)
    assert difference_db(audio[stretch], expected[stretch], highest_hz) < -60
    assert not audio[: stretch.start].any()  # silence stays zero
    running.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate_hz", "channels", "sample_format", "channel", "sounding"),
    [
        pytest.param(48000, 2, "S24_3LE", None, None, marks=pytest.mark.long),
        (44100, 2, "S16_LE", 1, (1,)),
        pytest.param(48000, 8, "S32_LE", None, (0,), marks=pytest.mark.long),
        pytest.param(48000, 6, "S16_LE", "mix", None, marks=pytest.mark.long),
    ],
)
def test_local_mode_understands_any_microphone(cards, engine, rate_hz, channels, sample_format, channel, sounding):
    options = {"sounding": sounding} if sounding is not None else {}
    device = cards.add("odd", rates_hz=(rate_hz,), channels=(channels,), formats=(sample_format,), **options)
    device.set(signal="zeros")
    audio = {"device": "odd"} | ({"channel": channel} if channel is not None else {})
    running = engine({"remote": {"mode": "local"}, "audio": audio}, cards)
    running.wait_for_state("running")
    device.play(PATH)

    def finals():
        return [final["text"] for final in running.bus.finals()]

    wait_until(lambda: len(finals()) == len(SENTENCES), 60, "all sentences")
    assert finals() == SENTENCES
    assert running.stop() == 0
    running.assert_nothing_left()


def test_a_channel_that_the_device_has_not_is_named(cards, engine):
    cards.add("odd", rates_hz=(48000,), channels=(2,))
    with FakeDeepgram() as server:
        running = engine(byok(server) | {"audio": {"device": "odd", "channel": 2}}, cards)
        assert running.wait() in (2, 3)
    assert "audio.channel: expected 0 to 1" in running.log_text()
    running.assert_nothing_left()


def test_for_samples_that_portaudio_does_not_know_the_way_by_alsa_is_named_and_works(cards, engine):
    card = Card(1, "sndrpi", "snd_rpi_i2s_card")
    cards.add("i2s", rates_hz=(48000,), channels=(2,), formats=("S24_LE",), card=card)
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | {"audio": {"device": "rpi"}}, cards)
        assert running.wait() == 3
        words = re.search(r'set audio.device to \\"([^"\\]*)\\"', running.log_text())
        assert words is not None, running.log_text()
        running = engine(byok(server) | {"audio": {"device": words[1]}}, cards)
        running.wait_for_state("running")
        server.wait_for_audio(32000)
        assert running.stop() == 0
    assert len(heard(server.audio, 16000, 48000)) == 1
    running.assert_nothing_left()
