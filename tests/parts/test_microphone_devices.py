"""The microphone on pretended sound cards and on PulseAudio: formats, losses, stalls, and what a gap is worth.

A recording has each sample at the place of its index. So the code in it stands still over a gap that was told rightly.
MPENGINE_LOSSES is how often a device is lost; the default is small.
"""

import contextlib
import os
import random
import signal
import time

import pytest

from tests.rig.position_code import coded, heard
from tests.rig.recorder import Recorder
from tests.rig.waiting import wait_until

LOSSES = int(os.environ.get("MPENGINE_LOSSES", "3"))
RATE = 16000
BLOCK = 320
# How long a device stalls or is closed, or the recorder is stopped. The device's buffer holds a second.
SHORT_STALL_S, LONG_STALL_S, CLOSED_S, STOPPED_S = 0.6, 1.6, 1.0, 4.0
EXACT = BLOCK / 2  # on a machine at rest it is 2 samples on a device, and 7 on a sound server


def errors(pcm, device_rate_hz=RATE):
    """How far the index of each further stretch is off, in samples, against the first one."""
    first, *others = heard(pcm, RATE, device_rate_hz)
    return [stretch.offset - first.offset for stretch in others]


@contextlib.contextmanager
def recording(environment, *, samples=RATE, **audio):
    """A recorder that has opened its microphone and placed so many samples."""
    with Recorder(environment, **audio) as recorder:
        recorder.wait_for("opened")
        recorder.wait_for_samples(samples)
        yield recorder


def record_over_losses(cards, recorder, lose, back, *, absent_s):
    """Lose the device again and again. It records for a while before and in between."""
    chance = random.Random(4)
    for number in range(1, LOSSES + 1):
        lose()
        recorder.wait_for("lost", number)
        time.sleep(chance.uniform(*absent_s))
        back()
        recorder.wait_for("opened", number + 1)
        recorder.wait_for("missing", number)
        recorder.wait_for_samples(RATE // 2)


@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_a_lost_device_is_opened_again_by_the_same_process_and_its_gap_is_exact(cards, how):
    cards.add("mic", period_steps=how == "frozen")
    with recording(cards.environment, device="mic") as recorder:
        record_over_losses(
            cards, recorder, lambda: cards.unplug("mic", how), lambda: cards.plug("mic"), absent_s=(0.3, 2.0)
        )
        pcm = recorder.stop()
    assert len(recorder.said("missing")) == LOSSES
    assert all(event["reason"] == "device" for event in recorder.said("missing"))
    assert all(event["end"] - event["first"] > 0.3 * RATE for event in recorder.said("missing"))
    assert max(map(abs, errors(pcm)), default=0) <= EXACT
    said = "gone: No such device" if how == "gone" else "has delivered nothing for 3 s"
    assert all(said in event["reason"] for event in recorder.said("lost"))


@pytest.mark.parametrize(
    ("rate_hz", "channels", "sample_format"),
    [(48_000, 2, "S24_3LE"), (44_100, 1, "FLOAT_LE"), (8_000, 1, "S16_LE"), (32_000, 6, "S32_LE")],
)
def test_a_device_that_refuses_16_khz_is_converted_and_no_sample_is_lost(cards, rate_hz, channels, sample_format):
    cards.add("mic", rates_hz=(rate_hz,), channels=(channels,), formats=(sample_format,))
    with Recorder(cards.environment, device="mic") as recorder:
        assert recorder.wait_for("opened")["device_rate_hz"] == rate_hz
        recorder.wait_for_samples(2 * RATE)
        cards.unplug("mic", "gone")
        recorder.wait_for("lost")
        cards.plug("mic")
        recorder.wait_for("missing")
        recorder.wait_for_samples(RATE)
        pcm = recorder.stop()
    stretches = heard(pcm, RATE, rate_hz)
    assert stretches
    assert sum(stretch.last - stretch.first for stretch in stretches) > 2.5 * RATE - recorder.said("missing")[0]["end"]
    assert max(map(abs, errors(pcm, rate_hz)), default=0) <= EXACT


def test_what_16_khz_mono_gives_is_bit_exact(cards):
    device = cards.add("mic")
    with recording(cards.environment, device="mic", samples=2 * RATE) as recorder:
        pcm = recorder.stop()
    begun = device.wait_for("start").position
    assert pcm == coded(begun, len(pcm) // 2, RATE)


def test_a_stall_that_fits_the_buffer_loses_nothing(cards):
    device = cards.add("mic")
    with recording(cards.environment, device="mic") as recorder:
        device.set(run="stall")
        before = recorder.samples
        time.sleep(SHORT_STALL_S)
        device.set(run="ok")
        assert recorder.samples - before <= RATE // 4
        recorder.wait_for_samples(2 * RATE)
        pcm = recorder.stop()
    assert recorder.said("missing") == recorder.said("lost") == []
    assert errors(pcm) == []


def test_an_overrun_is_a_gap_of_its_exact_length(cards):
    device = cards.add("mic")
    with recording(cards.environment, device="mic") as recorder:
        device.set(run="stall")
        time.sleep(LONG_STALL_S)
        device.set(run="ok")
        recorder.wait_for("missing")
        recorder.wait_for_samples(RATE)
        pcm = recorder.stop()
    assert [event["reason"] for event in recorder.said("missing")] == ["overflow"]
    assert recorder.said("lost") == []
    assert max(map(abs, errors(pcm)), default=0) <= EXACT


def test_lumps_of_300_ms_are_no_loss(cards):
    device = cards.add("mic")
    device.set(burst_ms=300)
    with recording(cards.environment, device="mic", samples=4 * RATE) as recorder:
        pcm = recorder.stop()
    assert recorder.said("missing") == []
    assert errors(pcm) == []


def test_samples_that_are_left_out_without_a_flag_become_a_gap(cards):
    device = cards.add("mic")
    with recording(cards.environment, device="mic") as recorder:
        device.lose(RATE // 2)
        missing = recorder.wait_for("missing")
        recorder.wait_for_samples(RATE)
        pcm = recorder.stop()
    assert missing["end"] - missing["first"] == pytest.approx(RATE // 2, abs=BLOCK)
    assert missing["reason"] == "overflow"
    assert errors(pcm)[-1] == pytest.approx(0, abs=EXACT)


def test_a_recorder_that_was_stopped_has_lost_no_device(cards):
    cards.add("mic")
    with recording(cards.environment, device="mic") as recorder:
        os.kill(recorder.pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(recorder.pid, signal.SIGCONT)
        recorder.wait_for("missing")
        recorder.wait_for_samples(RATE)
        pcm = recorder.stop()
    assert recorder.said("lost") == []
    assert max(map(abs, errors(pcm)), default=0) <= EXACT


def test_a_missing_device_costs_next_to_nothing(cards):
    cards.add("mic")
    with recording(cards.environment, device="mic") as recorder:
        cards.unplug("mic", "gone")
        recorder.wait_for("absent")
        later = recorder.wait_for("absent", 4)
    before = recorder.said("absent")[0]
    assert later["cpu_s"] - before["cpu_s"] < 0.05 * (later["at_ns"] - before["at_ns"]) / 1e9


def test_a_sound_server_that_goes_and_comes_back_is_found_again(microphone):
    with recording(microphone.environment) as recorder:
        microphone.kill()
        assert "gone" in recorder.wait_for("lost")["reason"]
        recorder.wait_for("absent")
        microphone.restart()
        recorder.wait_for("opened", 2)
        recorder.wait_for("missing")
        recorder.stop()
    assert len(recorder.said("lost")) == 1


def test_on_a_sound_server_a_gap_is_exact_within_half_a_block(microphone):
    microphone.play(coded(0, 60 * RATE, RATE))
    with recording(microphone.environment, samples=2 * RATE) as recorder:
        os.kill(recorder.pid, signal.SIGUSR1)
        recorder.wait_for("closed")
        time.sleep(CLOSED_S)  # what is lost
        os.kill(recorder.pid, signal.SIGUSR1)
        missing = recorder.wait_for("missing")
        recorder.wait_for_samples(2 * RATE)
        pcm = recorder.stop()
    stretches = heard(pcm, RATE)
    assert stretches[0].first < missing["first"]
    assert stretches[-1].last > missing["end"]
    assert stretches[-1].last > 3 * RATE
    assert max(map(abs, errors(pcm)), default=0) <= EXACT


def test_a_recorder_that_was_stopped_finds_all_of_it_on_a_sound_server(microphone):
    microphone.play(coded(0, 60 * RATE, RATE))
    with recording(microphone.environment, samples=2 * RATE) as recorder:
        os.kill(recorder.pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(recorder.pid, signal.SIGCONT)
        recorder.wait_for_samples(6 * RATE)
        pcm = recorder.stop()
    assert recorder.said("lost") == recorder.said("missing") == []
    assert len(heard(pcm, RATE)) == 1


def test_a_sound_server_that_hangs_ends_the_process_and_not_the_engine(microphone):
    with recording(microphone.environment) as recorder:
        daemon = microphone.pid
        os.kill(daemon, signal.SIGSTOP)
        try:
            assert "nothing for 3 s" in recorder.wait_for("lost")["reason"]
            wait_until(lambda: recorder.exit_code is not None, 30, "the end of the recorder")
        finally:
            os.kill(daemon, signal.SIGCONT)
        assert recorder.exit_code == 3
