"""The silence gate: what it keeps back, in rooms of several noises, and that it never keeps back a word."""

import array
import functools
import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpengine.capture.gate import PRE_ROLL_OF_VOICES_S, PRE_ROLL_S, Detector, Gate
from mpengine.shared.ranges import Range, Ranges, total
from tests.rig import speech
from tests.rig.numeric import np

RATE = 16000
BLOCK = 320
HANG_OVER_S = 1.0


def decibels(samples):
    return 10 * math.log10(np.var(samples)) - 20 * math.log10(32768)


@functools.cache
def minute(seed, rumble):
    """A minute of noise; with `rumble`, most of it is low."""
    values = array.array("h", random.Random(seed).randbytes(60 * RATE * 2))
    return np.array(list(itertools.accumulate(values, lambda last, value: rumble * last + value)))


def limited(values):
    return array.array("h", np.clip(values, -32768, 32767).astype("h").tobytes())


def noise(seconds, level_dbfs, *, seed=1, rumble=0.0):
    """Noise of a level, of a minute at most."""
    values = minute(seed, rumble)
    gain = 10 ** ((level_dbfs - decibels(values[:RATE])) / 20)
    return limited(np.trunc(gain * values[: round(seconds * RATE)]))


def mixed(one, other, at_s):
    """`other` sounds in `one` from a second on."""
    result, first = np.array(one, "i4"), round(at_s * RATE)
    result[first : first + len(other)] += np.array(other)
    return limited(result)


@functools.cache
def voice():
    return array.array("h", speech.pcm())


def voiced(samples, at_s, over_db=20.0):
    """The 20 ms of the voice that are at most `over_db` below its loudest ones: words, and no pauses."""
    blocks = {at: samples[at : at + BLOCK] for at in range(0, len(samples), BLOCK)}
    levels = {at: decibels(block) for at, block in blocks.items() if len(set(block)) > 1}
    loudest = max(levels.values())
    first = round(at_s * RATE)
    return [Range(first + at, first + at + BLOCK) for at, level in levels.items() if level > loudest - over_db]


def gated(samples, *, block=BLOCK, hang_over_s=HANG_OVER_S, channels=1, detector=None):
    """What the gate keeps back of all this audio."""
    gate = Gate(sample_rate=RATE, channels=channels, hang_over_s=hang_over_s, detector=detector)
    data, found = samples.tobytes(), []
    step = 2 * channels * block
    for number, at in enumerate(range(0, len(data), step)):
        gate.add(number * block, data[at : at + step])
        found += gate.take_gated()
    gate.closed()
    return Ranges(found + gate.take_gated())


# Words


@pytest.mark.parametrize(("snr_db", "rumble"), [(30, 0.0), (20, 0.0), (10, 0.0), (20, 0.9), (10, 0.9)])
def test_no_word_is_kept_back_and_silence_is(snr_db, rumble):
    level = decibels(voice()) - snr_db
    room = noise(60, level, rumble=rumble)
    back = gated(mixed(room + room, voice(), 70))
    for piece in voiced(voice(), 70):
        assert back.cut(*piece) == [piece]
    silent_s = 20 + 36  # the room is known after 50 s, and the voice speaks for 14 s
    assert total(back.cut(50 * RATE, 120 * RATE)) / RATE - len(voice()) / RATE < 0.2 * silent_s + 1.5


@pytest.mark.parametrize("snr_db", [20, 10, 5])
@pytest.mark.parametrize("level_dbfs", [-60, -40])
def test_a_room_of_any_level_is_known_after_ten_seconds(snr_db, level_dbfs):
    gain = 10 ** ((level_dbfs + snr_db - decibels(voice())) / 20)
    speaker = limited(np.trunc(np.array(voice(), "f8") * gain))
    back = gated(mixed(noise(40, level_dbfs), speaker, 14))
    assert all(back.cut(*piece) == [piece] for piece in voiced(speaker, 14, over_db=10.0))
    assert total(back.cut(0, 14 * RATE)) / RATE < 12.5
    assert total(back.cut(33 * RATE, 40 * RATE)) == 0


def test_a_speech_without_a_pause_passes_from_the_first_sample_on():
    loud = limited(np.concatenate([np.array(voice()[piece.first : piece.end]) for piece in voiced(voice(), 0)] * 4))
    back = gated(mixed(noise(len(loud) / RATE, -60), loud, 0))
    assert total(back) == 0


@pytest.mark.parametrize("block", [80, 1000, 3200, 4000])
def test_the_length_of_the_blocks_does_not_matter(block):
    samples = mixed(noise(60, -50), voice(), 42)
    one, other = gated(samples), gated(samples, block=block)
    assert all(other.cut(*piece) == [piece] for piece in voiced(voice(), 42))
    assert total(other) == pytest.approx(total(one), abs=4 * max(block, BLOCK))  # two edges of two silences


def test_a_voice_in_a_room_whose_noise_is_not_known_yet_passes():
    assert total(gated(voice())) == 0


@pytest.mark.slow
def test_a_long_speech_does_not_become_the_room():
    samples = noise(40, -60)
    for _ in range(4):
        samples = samples + mixed(noise(len(voice()) / RATE, -60, seed=2), voice(), 0)
    back = gated(samples)
    for number in range(4):
        at_s = 40 + number * len(voice()) / RATE
        assert all(back.cut(*piece) == [piece] for piece in voiced(voice(), at_s))


def test_one_of_two_channels_opens_the_gate():
    loud, quiet = mixed(noise(60, -60, seed=3), voice(), 40), noise(60, -30, seed=4)
    both = limited(np.stack((quiet, loud), axis=1))
    back = gated(both, channels=2)
    assert all(back.cut(*piece) == [piece] for piece in voiced(voice(), 40))


# Noise


def test_an_offset_and_digital_silence_are_silence():
    assert total(gated(array.array("h", [0]) * (10 * RATE))) == pytest.approx(9 * RATE, abs=BLOCK)
    assert total(gated(array.array("h", [5000]) * (10 * RATE))) == pytest.approx(9 * RATE, abs=BLOCK)


def test_a_louder_room_is_known_after_a_while_and_a_quieter_one_at_once():
    back = gated(noise(40, -60) + noise(40, -45, seed=2) + noise(20, -60, seed=3))
    louder = back.cut(40 * RATE, 80 * RATE)
    assert total(louder) / RATE < 13  # passed until it had been as loud for ten seconds
    assert total(back.cut(81 * RATE, 100 * RATE)) == 0


# Edges


def scene(*stretches):
    """Loud and silent stretches, in seconds, in turn; the first one is loud."""
    samples = array.array("h")
    for number, seconds in enumerate(stretches):
        value = 0 if number % 2 else 8000
        samples += array.array("h", [value, -value] * (round(seconds * RATE) // 2))
    return samples


def test_the_gate_closes_behind_the_hang_over_and_opens_from_the_pre_roll_on():
    # The level is that of two blocks of 20 ms: so long a sound is heard after its end.
    ((first, end),) = gated(scene(2, 10, 2))
    assert first / RATE == pytest.approx(2 + 0.02 + HANG_OVER_S, abs=0.001)
    assert end / RATE == pytest.approx(12 - PRE_ROLL_S - 0.02, abs=0.001)


def test_the_hang_over_is_as_long_as_it_is_told():
    ((first, _),) = gated(scene(2, 10, 2), hang_over_s=2.5)
    assert first / RATE == pytest.approx(2 + 0.02 + 2.5, abs=0.001)


def test_a_silence_that_is_hardly_longer_than_the_hang_over_passes():
    assert list(gated(scene(2, HANG_OVER_S + PRE_ROLL_S + 0.04, 2))) == []


def test_a_gap_is_no_gated_audio():
    gate = Gate(sample_rate=RATE, channels=1, hang_over_s=1.0)
    silence = bytes(2 * RATE)
    for first in (0, RATE, 3 * RATE, 4 * RATE):  # the third second is missing
        gate.add(first, silence)
    gate.closed()
    assert gate.take_gated() == [Range(RATE, 2 * RATE), Range(3 * RATE, 5 * RATE)]


def test_after_a_source_was_opened_the_gate_is_open_and_knows_nothing():
    gate = Gate(sample_rate=RATE, channels=1, hang_over_s=1.0)
    gate.add(0, bytes(4 * RATE))
    assert gate.closed_at == 2 * RATE
    gate.closed()
    gate.opened(5 * RATE)
    assert gate.closed_at is None
    gate.add(5 * RATE, noise(20, -60).tobytes())
    assert gate.closed_at is None


# Voices


class Ear(Detector):
    """Hears a voice where a sample has the value 7."""

    def __init__(self):
        self.heard = []  # from each beginning on

    def begins(self):
        self.heard.append(b"")

    def has_voice(self, pcm):
        self.heard[-1] += pcm
        return 7 in array.array("h", pcm)


def listened(*stretches):
    """What a gate with an ear keeps back of these (seconds, loudness, voice?) and what the ear was given."""
    samples = array.array("h")
    for seconds, loudness, has_voice in stretches:
        stretch = array.array("h", [loudness, -loudness] * (round(seconds * RATE) // 2))
        if has_voice:
            stretch[::100] = array.array("h", [7]) * len(stretch[::100])
        samples += stretch
    ear = Ear()
    return list(gated(samples, detector=ear)), ear.heard, samples.tobytes()


def test_what_is_loud_without_a_voice_is_kept_back():
    ((first, end),), _, _ = listened((10, 8000, False))
    assert (first / RATE, end / RATE) == (1.0, 10.0)


def test_a_voice_passes_with_the_second_before_and_the_hang_over():
    (one, two), _, _ = listened((5, 8000, False), (2, 8000, True), (5, 8000, False))
    assert (one.first / RATE, one.end / RATE) == (1.0, pytest.approx(5 - PRE_ROLL_OF_VOICES_S - 0.02, abs=0.001))
    assert (two.first / RATE, two.end / RATE) == (pytest.approx(7 + HANG_OVER_S, abs=0.021), 12.0)


def test_the_detector_hears_what_is_loud_with_what_was_just_before_and_nothing_else():
    _, heard, data = listened((5, 0, False), (2, 8000, False), (5, 0, False), (1, 8000, True), (1, 0, False))
    assert len(heard) == 2
    for number, (begin_s, end_s) in enumerate([(5, 8), (12, 14)]):
        assert len(heard[number]) / 2 / RATE == pytest.approx(end_s - begin_s + PRE_ROLL_OF_VOICES_S + 0.02, abs=0.06)
        at = round((begin_s - 0.5) * RATE) * 2
        assert data[at : at + 2 * RATE] in heard[number]


def test_a_voice_that_is_not_louder_than_the_room_is_not_looked_for():
    _, heard, _ = listened((5, 0, True))
    assert heard == []


@pytest.mark.slow
@settings(max_examples=40)
@given(
    stretches=st.lists(st.floats(0.02, 4.0), min_size=1, max_size=8),
    block=st.integers(80, 4000),
    hang_over_s=st.sampled_from([1.0, 1.5]),
)
def test_what_is_kept_back_is_whole_blocks_once_and_far_from_every_sound(stretches, block, hang_over_s):
    samples = scene(*stretches)
    gate, seen = Gate(sample_rate=RATE, channels=1, hang_over_s=hang_over_s), []
    data = samples.tobytes()
    for at in range(0, len(samples), block):
        gate.add(at, data[2 * at : 2 * (at + block)])
        seen += gate.take_gated()
    gate.closed()
    seen += gate.take_gated()
    assert all(one.end <= other.first for one, other in itertools.pairwise(seen))
    assert all(first % block == 0 and (end % block == 0 or end == len(samples)) for first, end in seen)
    at = 0.0
    for number, seconds in enumerate(stretches):
        length = round(seconds * RATE) // 2 * 2
        if not number % 2:
            # A sound shorter than a piece of 20 ms may pass with what is around it, or not: it is no word.
            loud = Ranges(seen).cut(round(at), round(at) + length)
            assert length < 2 * BLOCK or loud == [Range(round(at), round(at) + length)]
            before = Range(max(0, round(at) - round(PRE_ROLL_S * RATE)), round(at))
            assert length < 2 * BLOCK or total(Ranges(seen).cut(*before)) == before.end - before.first
        at += length
