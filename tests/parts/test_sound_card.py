"""The rig's pretended sound cards, checked by PortAudio itself in processes of their own."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.rig.position_code import CHIPS, coded, heard, losses
from tests.rig.processes import spawn
from tests.rig.sound_card import Card, SoundCards, converted
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

USB = Card(1, "Device", "USB PnP Sound Device", "Audio")
USB_NAME = "USB PnP Sound Device: Audio (hw:1,0)"
SPEECH = Path(__file__).parents[1] / "data" / "speech.wav"

LISTER = """
import json, sounddevice
lib, ffi, found = sounddevice._lib, sounddevice._ffi, []
for index in range(lib.Pa_GetDeviceCount()):
    info = lib.Pa_GetDeviceInfo(index)
    found.append([ffi.string(info.name).decode("latin-1"), info.maxInputChannels])
print(json.dumps(found))
"""

# With a buffer of 8 s in short periods: what starves on a busy machine is not to overrun.
RECORDER = """
import ctypes, json, sys, sounddevice
options = json.loads(sys.argv[1])
samples = options.pop("samples")
ctypes.CDLL(sounddevice._libname).PaAlsa_SetNumPeriods(200)
stream = sounddevice.RawInputStream(dither_off=True, latency=8.0, **options)
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

LOOKER = """
import json, sounddevice, time
while True:
    found = [each["name"] for each in sounddevice.query_devices() if each["max_input_channels"]]
    print(json.dumps(found), flush=True)
    sounddevice._terminate()
    time.sleep(0.02)
    sounddevice._initialize()
"""

# Answers of snd_pcm_open, and of the question for 16 kHz without ALSA's own conversion of rates but plug's.
OPENER = """
import ctypes, json, sys
alsa, answers = ctypes.CDLL("libasound.so.2"), {}
for name in sys.argv[1:]:
    pcm = ctypes.c_void_p()
    opened = alsa.snd_pcm_open(ctypes.byref(pcm), name.encode(), 1, 0)
    answers[name] = [opened, None if opened else alsa.snd_pcm_set_params(pcm, 2, 3, 1, 16000, 1, 500000)]
    if not opened:
        alsa.snd_pcm_close(pcm)
print(json.dumps(answers))
"""


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


def record(cards: SoundCards, device: str | int, samples: int = 8000, **options: Any) -> bytes:
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
        yield (cards.directory / "said").read_bytes
    finally:
        process.kill()
        process.wait()


@contextmanager
def recording(cards: SoundCards, device: str, rate_hz: int = 16000) -> Iterator[Any]:
    """Without end; yields what has been heard, whole samples."""
    options = {"device": device, "samplerate": rate_hz, "channels": 1, "dtype": "int16", "samples": 10**9}
    with running(cards, RECORDER, json.dumps(options)) as said:

        def pcm() -> bytes:
            return said()[: len(said()) // 2 * 2]

        more(pcm)
        yield pcm


def more(pcm: Any, samples: int = 8000) -> None:
    there = len(pcm())
    wait_until(lambda: len(pcm()) >= there + 2 * samples, PATIENCE_S, f"{samples} samples more")


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
    cards.default = "plughw:1"  # PortAudio itself does not know S24_LE
    cards.add("mic", formats=(format_name,), card=USB)
    (stretch,) = heard(record(cards, "default" if format_name == "S24_LE" else USB_NAME), 16000)
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
    device = cards.add("fast", drift_ppm=1_000_000)
    (stretch,) = heard(record(cards, "fast"), 16000)
    record(cards, "fast")
    first, second = device.events("start")
    assert stretch.offset == first.position
    assert 1.5 < (second.position - first.position) / ((second.at_ns - first.at_ns) * 16e-6) < 2.5
    assert abs(device.position(second.at_ns) - second.position) < 16000


def test_through_plug_a_device_is_converted_and_loses_nothing(cards):
    cards.default = "plughw:1"
    cards.add("usb", rates_hz=(48000,), channels=(2,), formats=("S24_3LE",), card=USB)
    (stretch,) = heard(record(cards, "default", 16000), 16000, 48000)
    assert stretch.last - stretch.first > 15000


def test_through_plug_a_reader_that_was_stopped_goes_on(cards):
    cards.default = "plughw:1"
    device = cards.add("usb", channels=(2,), card=USB, buffer_bytes=32000)
    with recording(cards, "default") as pcm_now:
        reader = device.events("start")[-1].pid
        os.kill(reader, signal.SIGSTOP)
        stopped = device.position(time.monotonic_ns())
        wait_until(lambda: device.position(time.monotonic_ns()) > stopped + 16000, PATIENCE_S, "more than the buffer")
        os.kill(reader, signal.SIGCONT)
        device.wait_for("overrun")
        more(pcm_now)
        assert max(loss.samples for loss in losses(pcm_now(), 16000)) > 8000


def test_what_is_lost_can_be_told_to_the_sample(cards):
    device = cards.add("mic")
    with recording(cards, "mic") as pcm_now:
        device.lose(1234)
        more(pcm_now, 16000)
        pcm = pcm_now()
    (loss,) = losses(pcm, 16000)
    assert loss.samples == 1234
    offset = int(heard(pcm, 16000)[0].offset)
    assert coded(offset, loss.latest, 16000) == pcm[: 2 * loss.latest]
    assert coded(offset + 1234 + loss.earliest, 1000, 16000) == pcm[2 * loss.earliest : 2 * loss.earliest + 2000]


def test_no_place_in_the_code_makes_a_loss_unclear():
    a_period = CHIPS * 16
    for start, before in zip(range(0, a_period, a_period // 20), range(6000, 12000, 300), strict=False):
        pcm = coded(start, before, 16000) + coded(start + before + 1234, 10000, 16000)
        (loss,) = losses(pcm, 16000)
        assert loss.samples == 1234
        assert loss.earliest <= before <= loss.latest
        assert coded(start, loss.latest, 16000) == pcm[: 2 * loss.latest]
        assert coded(start + loss.earliest + 1234, 1000, 16000) == pcm[2 * loss.earliest : 2 * loss.earliest + 2000]
    (loss,) = losses(coded(a_period - 8000, 5000, 16000) + coded(a_period - 3000 + 1234, 9000, 16000), 16000)
    assert loss.samples == 1234


def test_a_device_that_gives_too_little_flags_nothing(cards):
    device = cards.add("mic")
    device.set(short_permille=20)
    pcm = record(cards, "mic", 48000)
    start, stop = device.events("start", "stop")[-2:]
    missing = sum(loss.samples for loss in losses(pcm, 16000))
    assert 0.01 < missing / (stop.position - start.position) < 0.03
    assert not device.events("overrun")


def test_a_stall_is_an_overrun_and_its_length_can_be_told(cards):
    device = cards.add("mic", buffer_bytes=96000)
    with recording(cards, "mic") as pcm_now:
        device.set(run="stall")
        stalled = device.position(time.monotonic_ns())
        wait_until(lambda: device.position(time.monotonic_ns()) > stalled + 64000, PATIENCE_S, "more than the buffer")
        device.set(run="ok")
        device.wait_for("overrun")
        more(pcm_now)
        pcm = pcm_now()
    overruns, starts = device.events("overrun"), device.events("start")[1:]
    missing = [start.position - overrun.position for overrun, start in zip(overruns, starts, strict=False)]
    found = [loss.samples for loss in losses(pcm, 16000)]
    assert found
    assert found == missing[: len(found)]
    assert max(found) > 48000


def test_bursts_within_the_buffer_lose_nothing(cards):
    cards.add("mic").set(burst_ms=300)
    assert not losses(record(cards, "mic", 16000), 16000)


def availables(said: Any) -> list[int]:
    return [int(line.split()[1]) for line in said().splitlines() if line.startswith(b"available")]


def test_a_card_that_moves_by_periods_offers_whole_periods(cards):
    cards.add("smooth")
    cards.add("card", period_steps=True)
    for name in ("smooth", "card"):
        with running(cards, WATCHER, name) as said:
            wait_until(lambda: len(set(availables(said))) > 1 and len(availables(said)) > 4, PATIENCE_S, "some reads")
            period = math.gcd(*availables(said))
        assert (period > 1000) == (name == "card"), period


def test_a_device_that_freezes_gives_neither_samples_nor_errors_for_ever(cards):
    device = cards.add("mic")
    with running(cards, WATCHER, "mic") as said:
        wait_until(lambda: any(availables(said)), PATIENCE_S, "sound")
        device.unplug("frozen")
        assert "mic" not in listed(cards)
        before = said()
        device.plug()
        assert len(record(cards, "mic")) == 16000
        assert said() == before, "another plugging does not wake those who had it open"
    assert b"error" not in before
    assert availables(lambda: before)[-1] == 0


@pytest.mark.parametrize("how", ["run", "unplug"])
def test_a_device_that_is_gone_says_so(cards, how):
    device = cards.add("mic")
    with running(cards, WATCHER, "mic") as said:
        wait_until(lambda: any(availables(said)), PATIENCE_S, "sound")
        # A device that goes while PortAudio is inside a read has PortAudio 19.6 spin there for ever.
        device.set(run="stall")
        wait_until(lambda: availables(said)[-1] == 0, PATIENCE_S, "the last sample")
        if how == "run":
            device.set(run="gone")
        else:
            device.unplug("gone")
            device.plug()
        wait_until(lambda: b"error" in said(), PATIENCE_S, "the error")
        assert b"No such device" in said()


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        ({"signal": "zeros"}, {0}),
        ({"signal": "noise", "level": 1}, {-1, 0, 1}),
        ({"signal": "clip"}, {-32768, 32767}),
        ({"level": 100}, {-100, 100}),
        ({"level": 100, "dc": 8000}, {7900, 8100}),
    ],
)
def test_signals_are_what_they_are_called(cards, words, levels):
    cards.add("mic").set(**words)
    assert set(memoryview(record(cards, "mic", 3200)).cast("h")) == levels


@pytest.mark.parametrize("error", ["EBUSY", "EACCES", "ENODEV", "ENOENT"])
def test_a_device_that_cannot_be_opened_is_not_listed(cards, error):
    device = cards.add("mic")
    assert "mic" in listed(cards)
    device.set(open=error)
    assert "mic" not in listed(cards)
    assert device.events(error)
    device.set(open="ok")
    assert "mic" in listed(cards)


def test_an_opening_can_hang(cards):
    device = cards.add("mic")
    device.set(open="HANG")
    with running(cards, LISTER) as said:
        device.wait_for("HANG")
        assert not said()


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 48000])
def test_what_is_played_is_heard_where_it_was_said(cards, rate_hz):
    device = cards.add("mic", rates_hz=(rate_hz,))
    device.set(signal="zeros")
    speech = SPEECH.read_bytes()[44 : 44 + 32000]
    with recording(cards, "mic", rate_hz) as pcm_now:
        first = device.play_and_wait(speech) - device.events("start")[-1].position
        played = converted(speech, rate_hz)
        wait_until(lambda: len(pcm_now()) > 2 * first + len(played) + 2000, PATIENCE_S, "the end of it")
        pcm = pcm_now()
    assert pcm[2 * first : 2 * first + len(played)] == played
    assert not any(pcm[: 2 * first])
    assert not any(pcm[2 * first + len(played) :])


def test_cards_are_listed_by_their_names_whatever_the_bytes(cards):
    cards.add("usb", card=USB)
    cards.add("twin", card=USB._replace(number=3, id="Device_1"))
    cards.add("odd", card=Card(2, "Odd", b"B\xfcro \xff", b"Kapsel \xe2\x82"), channels=(2,))
    assert listed(cards) == {
        "USB PnP Sound Device: Audio (hw:1,0)": 1,
        "B\xfcro \xff: Kapsel \xe2\x82 (hw:2,0)": 2,
        "USB PnP Sound Device: Audio (hw:3,0)": 1,
    }
    pcm = record(cards, 2)  # by its number: sounddevice itself cannot look for a name while there are such bytes
    assert heard(pcm, 16000)[0].offset == cards.devices["twin"].events("start")[-1].position
    assert not cards.devices["usb"].events("start")


def test_cards_come_and_go_while_a_process_looks(cards):
    cards.default = "plughw:1"
    cards.add("usb", card=USB)

    def now(said: Any) -> Any:
        return json.loads(said().splitlines()[-1]) if said().endswith(b"\n") else None

    with running(cards, LOOKER) as said:
        wait_until(lambda: now(said) == [USB_NAME, "default"], PATIENCE_S, "the card")
        cards.unplug("usb")
        wait_until(lambda: now(said) == [], PATIENCE_S, "its end")
        cards.plug("usb", number=2)
        wait_until(lambda: now(said) == [USB_NAME.replace("hw:1", "hw:2")], PATIENCE_S, "the card under another number")
        cards.add("late")
        wait_until(lambda: now(said) == [USB_NAME.replace("hw:1", "hw:2"), "late"], PATIENCE_S, "a new device")


def test_a_card_opens_by_every_name_that_alsa_has_for_it(cards):
    cards.add("usb", card=USB, rates_hz=(48000,))
    names = ["hw:1", "hw:1,0", "hw:Device", "hw:CARD=Device", "hw:CARD=Device,DEV=0", "hw:CARD=1,DEV=0"]
    plugged = ["plug" + name for name in names] + ["plug:'hw:1,0'"]
    wrong = ["hw:0", "hw:1,1", "hw:CARD=Other", "plughw:2,0", "plughw:CARD=Other"]
    done = run(cards, OPENER, *names, *plugged, *wrong)
    assert done.returncode == 0, done.stderr.decode()
    answers = json.loads(done.stdout)
    refused, converted_ = [0, -22], [0, 0]
    assert answers == dict.fromkeys(names, refused) | dict.fromkeys(plugged, converted_) | {
        name: [-19, None] for name in wrong
    }


KERNEL = """
import json, os, pathlib
def text(path):
    with open(path, "rb") as file:
        return file.read().decode("latin-1")
card = pathlib.Path("/proc/asound/card1")
print(json.dumps({
    "cards": text("/proc/asound/cards"), "id": (card / "id").read_text(),
    "status": [status.read_text() for status in card.glob("pcm*c/sub*/status")],
    "nodes": sorted(os.listdir("/dev/snd")), "usable": os.access("/dev/snd/pcmC1D0c", os.R_OK | os.W_OK),
    "device": str(pathlib.Path("/sys/class/sound/card1/device").resolve(strict=True)),
}))
"""


def kernel(cards: SoundCards) -> Any:
    done = run(cards, KERNEL)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_the_kernel_s_files_are_at_their_usual_place(cards):
    device = cards.add("usb", card=USB._replace(socket="2.1", serial="A1"))
    seen = kernel(cards)
    assert seen["cards"].splitlines()[0] == " 1 [Device         ]: USB-Audio - USB PnP Sound Device"
    assert seen["id"] == "Device\n"
    assert seen["nodes"] == ["controlC1", "pcmC1D0c"]
    assert seen["device"] == "/sys/class/sound/devices/0000:00:14.0/usb1/1-2.1/1-2.1:1.0"
    assert seen["usable"]
    device.set(open="EACCES")
    assert not kernel(cards)["usable"]
    device.set(open="ok")
    assert kernel(cards)["usable"]
    cards.unplug("usb")
    assert not list((cards.root / "dev/snd").iterdir())
    assert (cards.root / "proc/asound/cards").read_text() == "--- no soundcards ---\n"
    cards.plug("usb", number=4)
    assert {node.name for node in (cards.root / "dev/snd").iterdir()} == {"controlC4", "pcmC4D0c"}


def test_a_card_has_one_user_and_proc_says_who_also_after_a_kill(cards):
    device = cards.add("usb", card=USB)
    assert kernel(cards)["status"] == ["closed\n"]
    with recording(cards, USB_NAME):
        assert kernel(cards)["status"] == [f"state: RUNNING\nowner_pid   : {device.events('start')[-1].pid}\n"]
        assert listed(cards) == {}
        assert device.events("EBUSY")
        cards.unplug("usb")
        cards.plug("usb")
        assert listed(cards) == {USB_NAME: 1}
    with recording(cards, USB_NAME):
        pass
    assert kernel(cards)["status"] == ["closed\n"]
    assert listed(cards) == {USB_NAME: 1}
