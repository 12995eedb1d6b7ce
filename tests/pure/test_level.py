"""How loud it is: known signals, known figures."""

import array
import math

import pytest

from mpengine.capture.level import FLOOR_DBFS, LevelMeter, measure


def sine(amplitude, count=4000, hz=440.0):
    return array.array("h", (round(amplitude * math.sin(math.tau * hz * n / 16000)) for n in range(count))).tobytes()


def constant(value, count=4000):
    return array.array("h", [value] * count).tobytes()


@pytest.mark.parametrize(
    ("amplitude", "peak_dbfs"), [(32767, 0.0), (16384, -6.0), (3277, -20.0), (327.67, -40.0), (32.767, -60.0)]
)
def test_the_peak_of_a_sine_is_its_amplitude(amplitude, peak_dbfs):
    assert measure(sine(amplitude)).peak_dbfs == pytest.approx(peak_dbfs, abs=0.2)


@pytest.mark.parametrize(("amplitude", "rms_dbfs"), [(32767, -3.0), (16384, -9.0), (3277, -23.0)])
def test_the_rms_of_a_sine_lies_3_db_below_its_peak(amplitude, rms_dbfs):
    assert measure(sine(amplitude)).rms_dbfs == pytest.approx(rms_dbfs, abs=0.2)


@pytest.mark.parametrize(("value", "dbfs"), [(-32768, 0.0), (16384, -6.0), (1, -90.3), (-1, -90.3)])
def test_a_constant_has_a_peak_and_is_nothing_to_hear(value, dbfs):
    loudness = measure(constant(value))
    assert (loudness.rms_dbfs, loudness.peak_dbfs, loudness.digital_silence) == (FLOOR_DBFS, dbfs, False)
    assert loudness.dc == pytest.approx(value / 32768, abs=1e-4)


@pytest.mark.parametrize("offset", [-8000, 0, 3277])
def test_an_offset_is_told_and_does_not_change_the_rms(offset):
    shifted = array.array("h", (value + offset for value in array.array("h", sine(3277)))).tobytes()
    assert measure(shifted).rms_dbfs == pytest.approx(-23.0, abs=0.2)
    assert measure(shifted).dc == pytest.approx(offset / 32768, abs=0.002)


@pytest.mark.parametrize(("top", "bottom"), [(32767, -32768), (32767, -32767)])
def test_the_share_of_clipped_samples_is_that_at_full_scale(top, bottom):
    samples = array.array("h", [0, top, bottom, 32766, -32766, 20000, -1, 1] * 500)
    assert measure(samples.tobytes()).clipped == 0.25


@pytest.mark.parametrize("value", [32766, -32766, 16384, 1, 0])
def test_below_full_scale_nothing_is_clipped(value):
    assert measure(constant(value)).clipped == 0.0


@pytest.mark.parametrize("position", [0, 1, 3998, 3999])
@pytest.mark.parametrize("value", [32767, -32767, -32768])
def test_a_single_clipped_sample_counts_wherever_it_is(position, value):
    samples = array.array("h", sine(3277))
    samples[position] = value
    assert measure(samples.tobytes()).clipped == round(1 / 4000, 4)


def test_zeros_are_digital_silence_at_the_floor():
    assert measure(bytes(8000)) == (FLOOR_DBFS, FLOOR_DBFS, True, 0.0, 0.0)


@pytest.mark.parametrize("position", [0, 1, 7, 3999])
def test_a_single_sample_that_is_not_zero_is_no_digital_silence(position):
    samples = array.array("h", bytes(8000))
    samples[position] = 1
    assert measure(samples.tobytes()).digital_silence is False


@pytest.mark.parametrize("channels", range(1, 9))
def test_every_channel_is_heard(channels):
    for loud in range(channels):
        samples = array.array("h", bytes(2 * 4000 * channels))
        samples[loud::channels] = array.array("h", [16384] * 4000)
        assert measure(samples.tobytes()).peak_dbfs == pytest.approx(-6.0, abs=0.1), f"channel {loud}"


def test_the_meter_answers_when_an_interval_is_full():
    meter = LevelMeter(4000)
    answers = [meter.add(constant(16384, 320)) for _ in range(13)]
    assert answers[:12] == [None] * 12
    assert answers[12].peak_dbfs == -6.0


def test_every_interval_is_measured_by_itself():
    meter = LevelMeter(1000)
    assert meter.add(constant(16384, 1000)).peak_dbfs == -6.0
    assert meter.add(constant(0, 1000)).digital_silence


def test_a_block_longer_than_the_interval_is_one_interval():
    assert LevelMeter(100).add(constant(16384, 1000)).peak_dbfs == -6.0
