"""Conversion to what is sent, with soxr's best quality as the oracle of the filter."""

import functools
import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpengine.capture.convert import channels_sent, converter
from mpengine.capture.wav_format import SAMPLE_BYTES
from mpengine.shared.config_tables import AudioConfig
from mpengine.shared.errors import ConfigError
from tests.pure.support import in_fresh_interpreter
from tests.rig.numeric import np, soxr

# Those that a device is opened at, where it refuses 16 kHz.
DEVICE_RATES = (48000, 44100, 32000, 8000, 96000)
# A common period of 3 to 320 outputs; of 640; none to speak of, between ordinary rates and beyond them.
OTHER_RATES = (24000, 12000, 88200, 192_000, 22050, 11025, 37801, 15999, 16001, 191_999)
RATES = DEVICE_RATES + OTHER_RATES
# Rates are sent as they are asked for.
PAIRS = [(rate_hz, 16000) for rate_hz in RATES] + [(44100, 48000), (16000, 48000), (48000, 44100), (48000, 8000)]


def _fast_for_devices(cases):
    """The same cases; those with other rates than those of devices are left out of the fast part."""
    slow = [pytest.mark.slow]
    return [pytest.param(*_rates(case), marks=[] if _rates(case)[0] in DEVICE_RATES else slow) for case in cases]


def _rates(case):
    return case if isinstance(case, tuple) else (case,)


SEED = 15


def made(rate_hz=48000, found_channels=1, sample_format="int16", **audio):
    found = converter(rate_hz=rate_hz, channels=found_channels, sample_format=sample_format, audio=AudioConfig(**audio))
    assert found is not None
    return found


def whole(converter, data, block_bytes=None):
    """All that comes of `data`, given in blocks."""
    step = block_bytes or max(1, len(data))
    parts = [converter.convert(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join(parts) + converter.flush()


def values(pcm):
    return np.frombuffer(pcm, "<i2").astype(float)


def noise(rate_hz, seconds=4.0, rms=5000):
    samples = np.random.default_rng(SEED).standard_normal(int(rate_hz * seconds)) * rms
    return np.clip(samples, -32768, 32767).astype("<i2")


def chirp(rate_hz, highest_hz, seconds=4.0):
    """A tone that rises from 20 Hz."""
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    phase = 2 * np.pi * (20 * times + (highest_hz - 20) * times**2 / (2 * seconds))
    return np.rint(20000 * np.sin(phase)).astype("<i2")


def tone(rate_hz, hz, amplitude=30000.0, seconds=1.0):
    return np.rint(amplitude * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype("<i2")


def decibels(ratio):
    return 10 * np.log10(ratio + 1e-30)


def difference_db(found, expected, sent_hz, highest_hz):
    """The power of the difference, in relation to the expected one, up to `highest_hz`, without the ends."""
    edge = sent_hz // 20
    count = min(len(found), len(expected))
    window = np.hanning(count - 2 * edge)
    is_heard = np.fft.rfftfreq(count - 2 * edge, 1 / sent_hz) < highest_hz
    spectra = [np.fft.rfft(each[edge : count - edge] * window)[is_heard] for each in (found, expected)]
    return decibels((abs(spectra[0] - spectra[1]) ** 2).sum() / (abs(spectra[1]) ** 2).sum())


# Whether, and with what


_FRESH = """
import os, sys
from mpengine.capture.convert import converter
from mpengine.shared.config_tables import AudioConfig
before = dict(os.environ)
found = [converter(rate_hz=16000, channels=1, sample_format="int16", audio=AudioConfig()), "numpy" in sys.modules]
made = converter(rate_hz=48000, channels=2, sample_format="int16", audio=AudioConfig())
made.convert(bytes(4 * 48000))
print(*found, "numpy" in sys.modules, len(os.listdir("/proc/self/task")), os.environ == before)
"""


def test_numpy_is_loaded_only_for_a_conversion_and_starts_no_thread():
    assert in_fresh_interpreter(_FRESH).split() == ["None", "False", "True", "1", "True"]


@pytest.mark.parametrize(
    ("rate_hz", "channels", "audio"),
    [(16000, 1, {}), (16000, 2, {"channels": 2}), (44100, 1, {"sample_rate": 44100}), (16000, 1, {"channel": "mix"})],
)
def test_what_is_right_is_not_converted(rate_hz, channels, audio):
    assert converter(rate_hz=rate_hz, channels=channels, sample_format="int16", audio=AudioConfig(**audio)) is None


@pytest.mark.parametrize("rate_hz", [999, 384_001, 10**9])
def test_a_rate_that_cannot_be_converted_is_refused(rate_hz):
    words = rf"audio\.source: {rate_hz} Hz cannot be converted; expected 1000 to 384000 Hz"
    with pytest.raises(ConfigError, match=words):
        made(rate_hz)


@pytest.mark.parametrize("rate_hz", [1000, 384_000])
def test_the_outermost_rates_are_converted(rate_hz):
    assert len(whole(made(rate_hz), bytes(2 * rate_hz))) == 32000


# Against the oracle


@pytest.mark.parametrize(("rate_hz", "sent_hz"), _fast_for_devices(PAIRS))
@pytest.mark.parametrize("kind", ["noise", "chirp"])
def test_it_is_what_the_best_offline_conversion_gives(rate_hz, sent_hz, kind):
    low_hz = min(rate_hz, sent_hz)
    highest_hz = low_hz * 3 / 8
    samples = noise(rate_hz) if kind == "noise" else chirp(rate_hz, highest_hz)
    expected = soxr.resample(samples.astype(np.float64), rate_hz, sent_hz, quality="VHQ")
    found = values(whole(made(rate_hz, sample_rate=sent_hz), samples.tobytes(), rate_hz // 50 * 2))
    assert difference_db(found, expected, sent_hz, highest_hz) < -60


@pytest.mark.parametrize("hz", [8500, 9000, 11000, 15000, 23000])
@pytest.mark.parametrize("rate_hz", _fast_for_devices(rate_hz for rate_hz in RATES if rate_hz > 17000))
def test_a_tone_above_the_band_does_not_come_through(rate_hz, hz):
    if hz >= rate_hz / 2:
        hz = rate_hz / 2 - 100  # the highest that there is
    found = values(whole(made(rate_hz), tone(rate_hz, hz).tobytes()))[800:-800]
    assert decibels((found**2).mean() * 2 / 30000**2) < -80


@pytest.mark.parametrize("hz", [5000, 6500, 7500])
@pytest.mark.parametrize("rate_hz", [8000, 11025])
def test_a_low_rate_brings_no_tones_that_were_not_there(rate_hz, hz):
    """The images of a band: a tone of 3 kHz at 8 kHz must not come again at 5 kHz."""
    found = values(whole(made(rate_hz), tone(rate_hz, rate_hz - hz if hz < rate_hz else 500).tobytes()))[800:-800]
    spectrum = abs(np.fft.rfft(found * np.hanning(len(found)))) ** 2
    heard = np.fft.rfftfreq(len(found), 1 / 16000)
    assert decibels(spectrum[heard > rate_hz * 0.55].sum() / spectrum.sum()) < -70


# A stream


@pytest.mark.parametrize("rate_hz", _fast_for_devices(RATES))
def test_the_lengths_of_blocks_do_not_matter(rate_hz):
    data = noise(rate_hz, 1.0).tobytes()
    expected = values(whole(made(rate_hz), data))
    cutter, stream, at, parts = random.Random(SEED), made(rate_hz), 0, []
    while at < len(data):
        size = 2 * cutter.choice((0, 1, 7, rate_hz // 400, rate_hz // 50, rate_hz // 5, cutter.randrange(rate_hz)))
        parts.append(stream.convert(data[at : at + size]))
        at += size
    found = values(b"".join(parts) + stream.flush())
    assert len(found) == len(expected)
    assert abs(found - expected).max() <= 1


@pytest.mark.slow
@given(st.sampled_from(PAIRS), st.integers(0, 5000))
@settings(deadline=None)
def test_the_length_of_the_whole_is_right_to_the_sample(pair, count):
    rate_hz, sent_hz = pair
    assert len(whole(made(rate_hz, sample_rate=sent_hz), bytes(2 * count))) == 2 * -(-count * sent_hz // rate_hz)


@pytest.mark.parametrize("rate_hz", [*DEVICE_RATES, 22050, 24000, 88200])
def test_a_device_block_of_20_ms_gives_320_samples(rate_hz):
    stream = made(rate_hz)
    lengths = [len(stream.convert(bytes(rate_hz // 50 * 2))) // 2 for _ in range(10)]
    assert lengths[1:] == [320] * 9
    assert lengths[0] + round(stream.held_s * 16000) == 320


@pytest.mark.parametrize(("rate_hz", "sent_hz"), _fast_for_devices(PAIRS))
def test_at_most_20_ms_are_held_back_and_the_times_say_how_much(rate_hz, sent_hz):
    stream, taken, given_out, cutter = made(rate_hz, sample_rate=sent_hz), 0, 0, random.Random(SEED)
    for _ in range(200):
        count = cutter.randrange(rate_hz // 50)
        taken += count
        given_out += len(stream.convert(bytes(2 * count))) // 2
        assert stream.held_s == pytest.approx(taken / rate_hz - given_out / sent_hz, abs=1e-9)
        assert 0 <= stream.held_s <= 0.020


@pytest.mark.parametrize(("rate_hz", "sent_hz"), _fast_for_devices(PAIRS))
@pytest.mark.parametrize("place", [0.1, 0.5003, 0.98765])
def test_a_click_stays_where_it_is(rate_hz, sent_hz, place):
    at = int(place * rate_hz)
    samples = np.zeros(rate_hz + rate_hz // 10, "<i2")
    samples[at] = 32767
    energy = values(whole(made(rate_hz, sample_rate=sent_hz), samples.tobytes(), rate_hz // 50 * 2)) ** 2
    centre = (energy * np.arange(len(energy))).sum() / energy.sum()
    assert centre / sent_hz == pytest.approx(at / rate_hz, abs=0.02 / min(rate_hz, sent_hz))


@pytest.mark.slow
def test_ten_minutes_do_not_shift_it():
    """44.1 kHz: the ratio is no short fraction."""
    rate_hz = 44100
    stream, block, count = made(rate_hz), bytes(2 * rate_hz * 10), 0
    for _ in range(60):
        count += len(stream.convert(block)) // 2
    click = np.zeros(rate_hz, "<i2")
    click[rate_hz // 2] = 32767
    found = values(stream.convert(click.tobytes()))
    assert (count + int(abs(found).argmax())) / 16000 == pytest.approx(600.5, abs=1 / 16000)


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", _fast_for_devices(RATES))
def test_silence_stays_exactly_zero_and_a_level_stays_exactly_level(rate_hz):
    assert set(whole(made(rate_hz), bytes(2 * rate_hz))) == {0}
    for level in (1, -1, 77, 32767, -32768):
        found = values(whole(made(rate_hz), struct.pack("<h", level) * rate_hz))[800:-800]
        assert set(found) == {level}


@pytest.mark.parametrize("rate_hz", DEVICE_RATES)
def test_what_is_too_loud_is_cut_off_and_does_not_wrap_around(rate_hz):
    half = rate_hz // 200  # 100 Hz: the filter overshoots at each edge
    samples = np.tile(np.repeat(np.array([32767, -32768], "<i2"), half), 100)
    found = values(whole(made(rate_hz), samples.tobytes()))
    assert found.max() == 32767
    assert found.min() == -32768
    inside = values(whole(made(rate_hz), (samples // 2).astype("<i2").tobytes()))
    assert (np.sign(found) == np.sign(inside))[abs(inside) > 100].all()


def test_a_reset_begins_a_new_stream():
    stream, data = made(44100), noise(44100, 0.2).tobytes()
    stream.convert(noise(44100, 0.333).tobytes())
    stream.reset()
    assert stream.held_s == 0
    assert whole(stream, data) == whole(made(44100), data)


def test_an_end_begins_a_new_stream():
    stream, data = made(44100), noise(44100, 0.2).tobytes()
    assert whole(stream, data) == whole(stream, data)


def test_a_stream_without_input_gives_nothing():
    stream = made()
    assert stream.convert(b"") + stream.flush() == b""
    assert stream.held_s == 0


@functools.cache
def noise_and_its_conversion(rate_hz, sent_hz):
    data = noise(rate_hz, 1.6).tobytes()
    return data, values(whole(made(rate_hz, sample_rate=sent_hz), data))


@pytest.mark.parametrize(("rate_hz", "sent_hz"), _fast_for_devices(PAIRS))
@pytest.mark.parametrize("sample", [0, 1, 159, 160, 4001, 12345])
def test_a_file_goes_on_at_any_sample(rate_hz, sent_hz, sample):
    data, expected = noise_and_its_conversion(rate_hz, sent_hz)
    stream = made(rate_hz, sample_rate=sent_hz)
    first = stream.seek(sample)
    assert 0 <= first <= sample * rate_hz / sent_hz
    found = values(whole(stream, data[2 * first :], rate_hz // 5 * 2))
    assert len(found) == len(expected) - sample
    assert abs(found - expected[sample:]).max() <= 1


def test_it_goes_on_at_any_sample_without_a_change_of_rate():
    assert made(16000, 2).seek(777) == 777


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [22050, 44100, 1000, 191_999])
def test_memory_does_not_grow_with_the_input(rate_hz):
    stream, data = made(rate_hz), bytes(2 * rate_hz * 30)
    tracemalloc.start()
    try:
        stream.convert(data)
        assert tracemalloc.get_traced_memory()[1] - 2 * 960_000 < 20e6
    finally:
        tracemalloc.stop()


# Formats


def encoded(samples, sample_format):
    """Samples between -1 and 1 in this format."""
    if sample_format.startswith("float"):
        return np.asarray(samples).astype("<f4" if sample_format == "float32" else "<f8").tobytes()
    size = SAMPLE_BYTES[sample_format]
    units = [min(round(each * 2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1) for each in samples]
    if sample_format == "uint8":
        return bytes(each + 128 for each in units)
    return b"".join(each.to_bytes(size, "little", signed=True) for each in units)


LEVELS = [-1.0, -0.75, -0.5, -1 / 128, 0.0, 1 / 128, 0.25, 0.75]


@pytest.mark.parametrize("sample_format", [each for each in SAMPLE_BYTES if each != "int16"])
def test_every_format_gives_the_same_samples(sample_format):
    found = made(16000, sample_format=sample_format).convert(encoded(LEVELS, sample_format))
    assert list(values(found)) == [32768 * level for level in LEVELS]


@pytest.mark.parametrize("sample_format", SAMPLE_BYTES)
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_every_format_is_resampled(sample_format, channels):
    samples = noise(48000, 0.5, rms=4000)
    data = np.frombuffer(encoded(samples / 32768, sample_format), "u1").reshape(len(samples), -1)
    found = values(whole(made(48000, channels, sample_format), data.repeat(channels, axis=0).tobytes()))
    step = 256 if sample_format == "uint8" else 1
    assert abs(found - values(whole(made(48000), samples.tobytes()))).max() <= step


@pytest.mark.parametrize(
    ("sample_format", "level", "expected"),
    [
        ("int24", 1.5 / 32768, 2),
        ("int24", -1.2 / 32768, -1),
        ("int32", 0.7 / 32768, 1),
        ("int32", 1 - 0.2 / 32768, 32767),
        ("float32", 0.9 / 32768, 1),
        ("float32", 1.0, 32767),
        ("float64", -7.0, -32768),
    ],
)
def test_finer_formats_are_rounded_and_limited(sample_format, level, expected):
    assert list(values(made(16000, sample_format=sample_format).convert(encoded([level], sample_format)))) == [expected]


@pytest.mark.parametrize("rate_hz", [16000, 48000])
@pytest.mark.parametrize("sample_format", ["float32", "float64"])
def test_what_is_no_number_does_no_harm(rate_hz, sample_format):
    kind = "<f4" if sample_format == "float32" else "<f8"
    samples = np.zeros(rate_hz, kind)
    samples[1000:1004] = [np.nan, np.inf, -np.inf, np.finfo(kind).max]
    found = values(whole(made(rate_hz, sample_format=sample_format), samples.tobytes()))
    assert abs(found[:100]).max() == abs(found[8000:]).max() == 0
    assert abs(found).max() > 1000


@pytest.mark.parametrize(("channels", "sample_format", "size"), [(1, "int24", 3), (2, "int16", 4), (6, "int32", 24)])
def test_a_part_of_a_frame_is_refused(channels, sample_format, size):
    stream = made(48000, channels, sample_format)
    for wrong in (1, size - 1, size + 1):
        with pytest.raises(ValueError, match=f"{wrong} bytes are no whole frames of {size} bytes"):
            stream.convert(bytes(wrong))
    assert whole(stream, bytes(size * 3)) == bytes(2)


# Channels


@pytest.mark.parametrize(
    ("channels", "audio", "expected"),
    [
        (1, {}, ((0,),)),
        (2, {}, ((0, 1),)),
        (3, {}, ((0,),)),
        (8, {}, ((0,),)),
        (1, {"channel": 0}, ((0,),)),
        (2, {"channel": 1}, ((1,),)),
        (6, {"channel": 5}, ((5,),)),
        (1, {"channel": "mix"}, ((0,),)),
        (4, {"channel": "mix"}, ((0, 1, 2, 3),)),
        (2, {"channels": 2}, ((0,), (1,))),
        (6, {"channels": 2}, ((0,), (1,))),
    ],
)
def test_which_channels_are_sent(channels, audio, expected):
    assert channels_sent(AudioConfig(**audio), channels) == expected


@pytest.mark.parametrize(
    ("channels", "audio", "words"),
    [
        (1, {"channel": 1}, "audio.channel: expected 0 to 0: the source has 1 channel(s)"),
        (6, {"channel": 6}, "audio.channel: expected 0 to 5: the source has 6 channel(s)"),
        (1, {"channels": 2}, "audio.channels: expected at most 1: the source has no more channels"),
    ],
)
def test_a_channel_that_is_not_there_is_refused(channels, audio, words):
    with pytest.raises(ConfigError) as caught:
        made(48000, channels, **audio)
    assert str(caught.value) == words


def beside(*channels):
    return np.stack(channels, axis=1).astype("<i2").tobytes()


def test_a_mix_is_the_mean_and_never_too_loud():
    full, quiet = np.full(100, 32767), np.full(100, -32768)
    two = made(16000, 2)
    assert set(values(two.convert(beside(full, full)))) == {32767}
    assert set(values(two.convert(beside(quiet, quiet)))) == {-32768}
    assert set(values(two.convert(beside(full, quiet)))) <= {0, -1}
    three = made(16000, 3, channel="mix")
    assert set(values(three.convert(beside(full, quiet, np.full(100, 300))))) == {100}


@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_one_channel_is_picked_and_nothing_of_the_others(rate_hz):
    wanted, other = noise(rate_hz, 0.2), np.full(int(rate_hz * 0.2), 32767)
    found = whole(made(rate_hz, 3, channel=1), beside(other, wanted, other))
    assert found == (wanted.tobytes() if rate_hz == 16000 else whole(made(rate_hz), wanted.tobytes()))


def test_several_channels_are_converted_apart():
    left, right, rest = noise(44100, 0.5), chirp(44100, 6000, 0.5), np.full(22050, 1000)
    found = np.frombuffer(whole(made(44100, 3, channels=2), beside(left, right, rest)), "<i2").reshape(-1, 2)
    for number, samples in enumerate((left, right)):
        alone = values(whole(made(44100), samples.tobytes()))
        assert abs(found[:, number] - alone).max() <= 1
