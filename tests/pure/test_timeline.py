"""The map between a connection's seconds and the run's samples, against a list that holds every sample sent."""

import math
import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.streaming.timeline import Timeline
from tests.pure.support import weight

RATE = 16000

PIECES = st.lists(st.tuples(st.integers(0, 20_000), st.integers(100, 5000)), min_size=1, max_size=12)


def timeline_of(pieces):
    """What was sent, as (samples missing before, samples sent): the timeline, and the model of it."""
    timeline, model, at = Timeline(RATE), [], 0
    for missing, count in pieces:
        at += missing
        timeline.sent_samples(at, count)
        model += range(at, at + count)
        at += count
    return timeline, model


def float32(seconds):
    return struct.unpack("<f", struct.pack("<f", seconds))[0]


@given(PIECES, st.randoms(use_true_random=False))
def test_a_start_is_the_sample_that_was_sent_there(pieces, chance):
    timeline, model = timeline_of(pieces)
    position = chance.randrange(len(model))
    given = timeline.start(position / RATE)
    found = model.index(given) if given in model else len(model)  # the end of what was sent is a seam, too
    assert given == model[position] or abs(found - position) <= RATE // 1000


@given(PIECES, st.randoms(use_true_random=False))
def test_an_end_is_behind_the_sample_that_was_sent_before_it(pieces, chance):
    timeline, model = timeline_of(pieces)
    position = chance.randrange(1, len(model) + 1)
    given = timeline.end(position / RATE)
    found = model.index(given - 1) + 1 if given > model[0] else 0
    assert given == model[position - 1] + 1 or abs(found - position) <= RATE // 1000


@given(PIECES)
def test_both_are_exact_at_every_seam_and_far_from_it(pieces):
    timeline, model = timeline_of(pieces)
    sent = 0
    for _, count in pieces:
        middle = sent + count // 2
        assert timeline.start(middle / RATE) == model[middle]
        assert timeline.end(middle / RATE) == model[middle - 1] + 1
        assert timeline.start(sent / RATE) == model[sent]
        sent += count
        assert timeline.end(sent / RATE) == model[sent - 1] + 1


@given(PIECES, st.floats(min_value=-1.0, max_value=1e6))
def test_whatever_is_asked_for_the_answer_was_sent(pieces, seconds):
    timeline, model = timeline_of(pieces)
    assert model[0] <= timeline.start(seconds) <= model[-1] + 1
    assert model[0] <= timeline.end(seconds) <= model[-1] + 1


def test_at_a_seam_an_end_belongs_to_the_piece_before_and_a_start_to_the_piece_after():
    timeline, _ = timeline_of([(0, 16_000), (8000, 16_000)])
    assert (timeline.end(1.0), timeline.start(1.0)) == (16_000, 24_000)


def test_the_connections_clock_begins_where_sending_began():
    timeline, _ = timeline_of([(5_000_000, 16_000)])
    assert (timeline.start(0.0), timeline.end(0.5)) == (5_000_000, 5_008_000)


def test_pieces_that_touch_are_one():
    timeline, _ = timeline_of([(0, 320)] * 1000)
    one, _ = timeline_of([(0, 320)])
    assert weight(timeline) < 1.5 * weight(one)


def test_its_end_is_behind_the_last_sample():
    timeline, _ = timeline_of([(100, 320), (50, 320)])
    assert (timeline.end_sample, timeline.sent) == (790, 640)


def test_before_anything_is_sent_it_has_no_end_and_all_is_zero():
    timeline = Timeline(RATE)
    assert (timeline.end_sample, timeline.start(3.0), timeline.end(3.0)) == (None, 0, 0)


@pytest.mark.parametrize("seconds", [2.0001, 5.0, 1e9, 1e300, 1e305, 1.7e308, math.inf])
def test_a_time_beyond_what_was_sent_is_its_end(seconds):
    timeline, _ = timeline_of([(100, 16_000), (900, 16_000)])
    assert timeline.end(seconds) == 33_000


@pytest.mark.parametrize("seconds", [-1e-9, -1.0, -1e300, -1.7e308, -math.inf])
def test_a_time_before_the_beginning_is_the_beginning(seconds):
    timeline, _ = timeline_of([(100, 16_000)])
    assert timeline.start(seconds) == 100


# float32


def with_a_seam_at(sample):
    timeline = Timeline(RATE)
    timeline.sent_samples(0, sample)
    timeline.sent_samples(sample + 1_000_000, 10_000_000)
    return timeline


@pytest.mark.parametrize("hours", [0.001, 0.1, 1, 2, 5, 10, 20])
def test_a_time_rounded_to_float32_snaps_to_the_seam(hours):
    before = round(hours * 3600 * RATE)
    for shift in range(97):
        timeline = with_a_seam_at(before + shift)
        seconds = float32((before + shift) / RATE)
        assert (timeline.end(seconds), timeline.start(seconds)) == (before + shift, before + shift + 1_000_000)


@pytest.mark.parametrize("hours", [0.001, 0.1, 1, 2, 5, 10, 20])
def test_a_time_rounded_to_float32_snaps_to_the_end_of_what_was_sent(hours):
    sent = round(hours * 3600 * RATE)
    for shift in range(97):
        timeline = Timeline(RATE)
        timeline.sent_samples(0, sent + shift)
        assert timeline.end(float32((sent + shift) / RATE)) == sent + shift


@pytest.mark.parametrize(("seconds", "end"), [(0.999, 16_000), (1.001, 16_000), (0.998, 15_968), (1.002, 24_032)])
def test_a_millisecond_is_near_a_seam_and_two_are_not(seconds, end):
    timeline, _ = timeline_of([(0, 16_000), (8000, 16_000)])
    assert timeline.end(seconds) == end


# What is covered


@pytest.mark.parametrize(
    ("seconds", "covered"),
    [
        (0.5, 8000),
        (0.50003, 8000),
        (0.50006, 8000),
        (0.50007, 8001),
        (0.9985, 15_976),
        (0.9995, 15_992),  # near the seam, but before it: what lies between is not covered
        (1.0, 16_000),
        (1.0005, 16_000),
        (1.01, 24_160),
        (1.9999, 39_998),
    ],
)
def test_what_is_covered_is_rounded_down_to_a_sample_or_back_to_a_seam(seconds, covered):
    timeline, _ = timeline_of([(0, 16_000), (8000, 16_000)])
    assert timeline.covered(seconds) == covered


@given(PIECES, st.floats(min_value=-1.0, max_value=20.0))
def test_what_is_covered_is_never_more_than_the_time_says(pieces, seconds):
    timeline, model = timeline_of(pieces)
    sent = min(max(0, math.floor(seconds * RATE)), len(model))
    assert timeline.covered(seconds) <= (model[sent - 1] + 1 if sent else model[0])
    assert timeline.covered(seconds) <= timeline.end(seconds)


@pytest.mark.parametrize(
    ("seconds", "tolerance"),
    [(0.0, 16), (1.0, 16), (3600.0, 16), (4 * 3600.0, 16), (5 * 3600.0, 32), (36_000.0, 63), (1e300, 63), (-1e300, 16)],
)
def test_the_tolerance_is_a_millisecond_or_the_step_of_a_float32(seconds, tolerance):
    timeline = Timeline(RATE)
    timeline.sent_samples(0, 36_000 * RATE)
    assert timeline.tolerance(seconds) == tolerance


@given(st.floats(min_value=0.0, max_value=1e6))
def test_no_time_that_is_rounded_to_float32_is_off_by_more(seconds):
    timeline = Timeline(RATE)
    timeline.sent_samples(0, 10**6 * RATE)
    assert abs(float32(seconds) - seconds) * RATE <= timeline.tolerance(seconds)


# Forgetting


def test_what_is_acknowledged_is_forgotten_and_the_rest_stays():
    chance = Random(3)
    timeline, model = timeline_of([(1000, 320)] * 500)
    acknowledged = model[150_000]
    before = weight(timeline)
    timeline.forget_before(acknowledged)
    assert weight(timeline) < before / 2
    for _ in range(100):
        position = chance.randrange(150_000, len(model))
        assert abs(model.index(timeline.start(position / RATE)) - position) <= RATE // 1000


def test_forgetting_everything_keeps_the_last_piece():
    timeline, model = timeline_of([(1000, 3200)] * 3)
    timeline.forget_before(10**9)
    assert (timeline.end_sample, timeline.end(9600 / RATE)) == (model[-1] + 1, model[-1] + 1)
