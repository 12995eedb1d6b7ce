"""The rig's pretended sound cards, checked by PortAudio itself in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.rig.position_code import coded, heard, losses
from tests.rig.processes import spawn
from tests.rig.sound_card import Card, SoundCards
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

pytestmark = pytest.mark.device

USB = Card(1, "Device", "USB PnP Sound Device", "Audio")

LISTER = """
import json, sounddevice
lib, ffi, found = sounddevice._lib, sounddevice._ffi, []
for index in range(lib.Pa_GetDeviceCount()):
    info = lib.Pa_GetDeviceInfo(index)
    found.append([ffi.string(info.name).decode("latin-1"), info.maxInputChannels])
print(json.dumps(found))
"""

RECORDER = """
import json, sys, sounddevice
options = json.loads(sys.argv[1])
samples = options.pop("samples")
stream = sounddevice.RawInputStream(dither_off=True, latency=1.0, **options)
stream.start()
while samples > 0:
    data, overflowed = stream.read(320)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    samples -= 320
"""

# Reads by steps what is available, as nobody is woken for; says what it sees, one word a line.
WATCHER = """
import sys, time, sounddevice
stream = sounddevice.RawInputStream(samplerate=16000, channels=1, dtype="int16", device=sys.argv[1], latency=1.0)
stream.start()
last = None
while True:
    try:
        available = stream.read_available
    except sounddevice.PortAudioError as error:
        print("error", error, flush=True)
        break
    if available:
        stream.read(available)
    if available != last:
        print("available", available, flush=True)
    last = available
    time.sleep(0.003)
"""


@pytest.fixture
def cards() -> Iterator[SoundCards]:
    with SoundCards() as cards:
        yield cards


def run(cards: SoundCards, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | cards.environment,
        capture_output=True,
        timeout=scaled(PATIENCE_S),
        check=False,
    )


def listed(cards: SoundCards) -> dict[str, int]:
    """Names, their bytes as latin-1, and channels."""
    done = run(cards, LISTER)
    assert done.returncode == 0, done.stderr.decode()
    return {name: channels for name, channels in json.loads(done.stdout) if channels}


def record(cards: SoundCards, device: str, samples: int = 8000, **options: Any) -> bytes:
    """Interleaved samples as PortAudio gives them; the error's words if it cannot."""
    options = {"samplerate": 16000, "channels": 1, "dtype": "int16"} | options
    done = run(cards, RECORDER, json.dumps({"device": device, "samples": samples} | options))
    if done.returncode:
        raise OSError(done.stderr.decode().splitlines()[-1])
    return done.stdout


@contextmanager
def running(cards: SoundCards, program: str, *arguments: str) -> Iterator[Any]:
    with (cards.directory / "said").open("wb") as said:
        process = spawn(
            [sys.executable, "-c", program, *arguments], env=os.environ | cards.environment, stdout=said, stderr=said
        )
    try:
        yield lambda: (cards.directory / "said").read_bytes()
    finally:
        process.kill()
        process.wait()


def test_the_code_is_complete_and_tells_its_place_to_the_sample(cards):
    device = cards.add("mic")
    pcm = record(cards, "mic")
    (start,) = device.events("start")
    assert pcm == coded(start.position, len(pcm) // 2, 16000)
    (stretch,) = heard(pcm, 16000)
    assert stretch.offset == start.position
    assert abs(device.moment_ns(start.position) - start.at_ns) < 100_000_000
    assert not losses(pcm, 16000)


@pytest.mark.parametrize("rate_hz", [8000, 44100, 48000])
def test_a_device_refuses_every_other_rate_and_tells_positions_in_its_own(cards, rate_hz):
    device = cards.add("mic", rates_hz=(rate_hz,))
    with pytest.raises(OSError, match="Invalid sample rate"):
        record(cards, "mic")
    pcm = record(cards, "mic", rate_hz // 2, samplerate=rate_hz)
    (stretch,) = heard(pcm, rate_hz)
    assert stretch.offset == device.events("start")[-1].position


@pytest.mark.parametrize("format_name", ["U8", "S16_LE", "S24_3LE", "S24_LE", "S32_LE", "FLOAT_LE"])
def test_every_format_carries_the_code(cards, format_name):
    cards.add("mic", formats=(format_name,))
    (stretch,) = heard(record(cards, "mic"), 16000)
    assert stretch.last - stretch.first > 7000


def test_channels_are_given_as_defined_and_only_some_of_them_sound(cards):
    cards.add("array", channels=(6,), sounding=(1, 5))
    with pytest.raises(OSError, match="Invalid number of channels"):
        record(cards, "array", channels=8)
    pcm = record(cards, "array", channels=6)
    channels = [b"".join(pcm[at : at + 2] for at in range(2 * c, len(pcm), 12)) for c in range(6)]
    assert [any(channel) for channel in channels] == [False, True, False, False, False, True]
    assert channels[1] == channels[5]
    assert len(heard(channels[1], 16000)) == 1


def test_a_clock_that_drifts_gives_more_samples_in_the_same_time(cards):
    cards.add("fast", drift_ppm=100_000)
    pcm = record(cards, "fast", 32000)
    start, stop = cards.devices["fast"].events("start", "stop")[-2:]
    assert heard(pcm, 16000)[0].offset == start.position
    assert 1.05 < (stop.position - start.position) / 16000 / ((stop.at_ns - start.at_ns) / 1e9) < 1.1001


def test_through_plug_a_device_is_converted_and_loses_nothing(cards):
    cards.default = "plughw:1"
    cards.add("usb", rates_hz=(48000,), channels=(2,), formats=("S24_3LE",), card=USB)
    (stretch,) = heard(record(cards, "default", 16000), 16000, 48000)
    assert stretch.last - stretch.first > 15000


def test_what_is_lost_can_be_told_to_the_sample(cards):
    device = cards.add("mic")
    with running(cards, RECORDER, json.dumps({"device": "mic", "samples": 10**8, "samplerate": 16000} | MONO)) as heard_so_far:
        wait_until(lambda: len(heard_so_far()) > 16000, PATIENCE_S, "half a second of sound")
        device.lose(1234)
        there = len(heard_so_far())
        wait_until(lambda: len(heard_so_far()) > there + 16000, PATIENCE_S, "sound after it")
        pcm = heard_so_far()
    (loss,) = losses(pcm[: len(pcm) // 2 * 2], 16000)
    assert loss.samples == 1234
    offset = heard(pcm[: len(pcm) // 2 * 2], 16000)[0].offset
    assert coded(int(offset), loss.earliest, 16000) == pcm[: 2 * loss.earliest]
    assert coded(int(offset), loss.latest + 1, 16000) != pcm[: 2 * loss.latest + 2]


MONO = {"channels": 1, "dtype": "int16"}


def test_a_device_that_gives_too_little_flags_nothing(cards):
    device = cards.add("mic")
    device.set(short_permille=20)
    pcm = record(cards, "mic", 32000)
    start, stop = device.events("start", "stop")[-2:]
    missing = sum(loss.samples for loss in losses(pcm, 16000))
    assert 0.01 < missing / (stop.position - start.position) < 0.03
    assert not device.events("overrun")


def test_a_stall_is_an_overrun_and_its_length_can_be_told(cards):
    device = cards.add("mic", buffer_bytes=6400)
    with running(cards, RECORDER, json.dumps({"device": "mic", "samples": 10**8, "samplerate": 16000} | MONO)) as heard_so_far:
        wait_until(lambda: len(heard_so_far()) > 16000, PATIENCE_S, "half a second of sound")
        device.set(run="stall")
        began = len(heard_so_far())
        wait_until(
            lambda: device.position(time_ns()) > device.events("start")[-1].position + began // 2 + 16000, PATIENCE_S, "1 s"
        )
        device.set(run="ok")
        device.wait_for("overrun")
        there = len(heard_so_far())
        wait_until(lambda: len(heard_so_far()) > there + 16000, PATIENCE_S, "sound after it")
        pcm = heard_so_far()
    (loss,) = losses(pcm[: len(pcm) // 2 * 2], 16000)
    overrun, start = device.events("overrun", "start")[-2:]
    assert loss.samples == start.position - overrun.position


@pytest.mark.parametrize(
    ("error", "words"),
    [("EBUSY", "Device unavailable"), ("EACCES", ""), ("ENODEV", ""), ("ENOENT", "")],
)
def test_a_device_that_cannot_be_opened_is_not_listed(cards, error, words):
    device = cards.add("mic")
    assert "mic" in listed(cards)
    device.set(open=error)
    assert "mic" not in listed(cards)
    assert device.events(error)
    device.set(open="ok")
    assert "mic" in listed(cards)
