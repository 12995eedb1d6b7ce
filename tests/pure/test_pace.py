"""When a microphone is read, by what it hears."""

import math
import random
import struct

import pytest

from mpengine.capture.clock import SampleClock
from mpengine.capture.cutting import LOOKS, Cutter
from mpengine.capture.pace import Pace

BLOCK = 320


def block(dbfs, dc=0, seed=0):
    """20 ms of noise."""
    chance, scale = random.Random(seed), 32768 * 10 ** (dbfs / 20)
    return struct.pack(f"<{BLOCK}h", *(round(dc + chance.gauss(0, scale)) for _ in range(BLOCK)))


def pace(*, block_s=0.02, quiet_s=0.2, buffer_s=1.0, settled=True):
    made = Pace(block_s=block_s, quiet_s=quiet_s, buffer_s=buffer_s)
    for _ in range(LOOKS if settled else 0):
        made.has_looked(0.003)
    return made


def hear(of, seconds, dbfs, dc=0):
    for number in range(round(seconds / 0.02)):
        of.heard(block(dbfs, dc, number))


def test_the_first_reads_are_fast_and_so_are_those_behind_a_loss():
    of = pace(settled=False)
    for _ in range(LOOKS):
        assert of.step_s == 0.0029
        of.has_looked(0.003)
    assert of.step_s == 0.04
    of.hurry()
    assert of.step_s == 0.0029


def test_a_device_that_hands_over_seldom_does_not_keep_the_reads_fast():
    of = pace(settled=False)
    for _ in range(200):
        assert of.step_s == 0.0029
        of.has_looked(0.0)
    assert of.step_s == 0.04


def test_a_quiet_room_is_read_seldom_and_the_first_loud_block_ends_that():
    of = pace()
    hear(of, 1.9, -60)
    assert of.step_s == 0.04
    hear(of, 1.0, -60)
    assert of.step_s == 0.2
    of.heard(block(-40))
    assert of.step_s == 0.04


def test_the_first_loud_block_ends_digital_silence():
    of = pace()
    for _ in range(150):
        of.heard(bytes(2 * BLOCK))
    assert of.step_s == 0.2
    of.heard(block(-40))
    assert of.step_s == 0.04


def test_pauses_between_words_do_not_make_a_room_quiet():
    of = pace()
    for _ in range(20):
        hear(of, 0.3, -35)
        hear(of, 1.0, -60)
        assert of.step_s == 0.04


@pytest.mark.parametrize("room_dbfs", [-90, -60, -40, -20])
@pytest.mark.parametrize("dc", [0, 3000])
def test_quiet_is_what_a_room_always_is_whatever_its_level_and_dc(room_dbfs, dc):
    of = pace()
    hear(of, 5, room_dbfs, dc)
    assert of.step_s == 0.2


def test_a_louder_room_is_quiet_again_after_some_time():
    of = pace()
    hear(of, 5, -60)
    hear(of, 10, -45)
    assert of.step_s == 0.04
    hear(of, 20, -45)
    assert of.step_s == 0.2


@pytest.mark.parametrize("buffer_s", [0.03, 0.3, 0.5, 1.0, 2.0])
def test_a_step_is_at_most_a_third_of_the_buffer(buffer_s):
    of = pace(buffer_s=buffer_s, quiet_s=1.0)
    hear(of, 5, -60)
    assert of.step_s == pytest.approx(min(1.0, buffer_s / 3))


@pytest.mark.parametrize(("block_s", "step_s"), [(0.005, 0.01), (0.01, 0.02), (0.02, 0.04), (0.1, 0.1), (0.25, 0.25)])
def test_short_blocks_are_read_sooner(block_s, step_s):
    assert pace(block_s=block_s).step_s == step_s


def test_quiet_is_never_read_more_often_than_speech():
    of = pace(quiet_s=0.005)
    hear(of, 5, -60)
    assert of.step_s == 0.04


def test_reads_move_to_where_blocks_are_full():
    of = pace()
    assert of.first_step_s(0.0) == of.first_step_s(0.002) == 0.04
    assert of.first_step_s(0.015) == pytest.approx(0.026)
    assert pace(block_s=0.005).first_step_s(0.0049) >= 0.0029


def test_a_read_that_brings_far_more_than_its_step_is_late():
    of = pace()
    assert of.most_s == pytest.approx(0.11)
    hear(of, 5, -60)
    assert of.most_s == pytest.approx(0.35)
    of.hurry()
    assert of.most_s < 0.06


def test_an_empty_block_is_no_error():
    pace().heard(b"")


def test_reads_follow_a_device_whose_blocks_are_full_in_between():
    """The rest that waits for a block is small after each read, though the device's clock is another one."""
    of, ready_s, now_s, late_s = pace(), 0.0, 0.0, []
    step_s = 0.04
    for _ in range(200):
        now_s += step_s
        ready_s = now_s * (1 + 200e-6) + 0.013
        rest_s = math.fmod(ready_s, 0.02)
        late_s.append(rest_s)
        step_s = of.first_step_s(rest_s)
    assert max(late_s[5:]) <= 0.0031


class SteppingCard:
    """What is ready moves by periods of a clock that is 100 ppm off. Reads are some 0.1 ms late, and a few far more."""

    def __init__(self, by_steps, *, ppm=100, period=BLOCK, busy=0.0):
        self.rate_hz, self.period, self.busy = 16000 * (1 + ppm * 1e-6), period if by_steps else 1, busy
        self.read_samples, self.now_s, self.looks, self.chance = 0, 0.0, 0, random.Random(1)

    def run(self, of, cutter, clock, seconds, *, is_quiet=False):
        until_s, next_s = self.now_s + seconds, self.now_s
        while self.now_s < until_s:
            self.now_s = max(self.now_s, next_s) + self.chance.random() * 200e-6
            if self.chance.random() < self.busy:
                self.now_s += self.chance.random() * 0.02
            self.looks += 1
            ready = int(self.now_s * self.rate_hz)
            ready -= ready % self.period
            samples, self.read_samples = ready - self.read_samples, ready
            of.has_looked(samples / 16000)
            for each in cutter.add(bytes(2 * samples), int(self.now_s * 1e9)) if samples else ():
                clock.add(each)
                if is_quiet:
                    of.heard(each.pcm)
            next_s += of.first_step_s(cutter.rest_s)

    def late_s(self, at_ns, clock):
        """How much later than the truth the clock thinks that its last sample came."""
        return at_ns / 1e9 - clock.next_sample / self.rate_hz


def new_clock():
    return SampleClock(sample_rate=16000, sample_bytes=2, block_samples=BLOCK)


def new_cutter():
    return Cutter(rate_hz=16000, sample_bytes=2, block_samples=BLOCK)


def test_the_time_on_a_card_that_moves_by_periods_stays_exact_though_its_crystal_is_off():
    card, of, cutter, clock = SteppingCard(by_steps=True), pace(settled=False), new_cutter(), new_clock()
    late_s = []
    for _ in range(30):
        card.run(of, cutter, clock, 10)
        late_s.append(card.late_s(clock.arrival_ns(clock.next_sample), clock))
    assert min(late_s) > -0.004  # the envelope of half a minute, on a clock that is 100 ppm off
    assert max(late_s) < 0.001


@pytest.mark.parametrize("ppm", [-100, 0, 100])
@pytest.mark.parametrize("period", [160, 320, 341, 480, 1600])
@pytest.mark.parametrize(("busy", "is_quiet"), [(0.0, True), (0.0, False), (0.02, True)])
def test_the_time_that_is_told_is_exact_whatever_the_period_and_the_crystal_are(ppm, period, busy, is_quiet):
    card, of = SteppingCard(by_steps=True, ppm=ppm, period=period, busy=busy), pace(settled=False)
    cutter, clock, late_s = new_cutter(), new_clock(), []
    for _ in range(20):
        card.run(of, cutter, clock, 10, is_quiet=is_quiet)
        late_s.append(abs(card.late_s(clock.anchor_ns(), clock)))
    assert max(late_s[1:] if period < 1600 else late_s[2:]) < 0.001
    assert max(late_s[12:]) < 0.0002


def test_reads_are_whole_periods_apart_and_come_soon_behind_their_ends():
    card, of, clock = SteppingCard(by_steps=True, period=341), pace(settled=False), new_clock()
    card.run(of, new_cutter(), clock, 2)
    assert of.step_s == pytest.approx(2 * 341 / 16000, rel=0.001)
    hear(of, 5, -60)
    assert of.step_s == pytest.approx(9 * 341 / 16000, rel=0.001)


def test_a_busy_machine_that_never_looks_in_vain_finds_the_period_too():
    of = pace(settled=False)
    for number in range(LOOKS):
        of.has_looked(341 / 16000 * (2 + number % 2))
    assert of.step_s == pytest.approx(2 * 341 / 16000, rel=0.001)


def test_what_comes_by_no_period_leaves_the_reads_where_they_are():
    of = pace(settled=False)
    for number in range(200):
        of.has_looked(0.0 if number % 8 else 0.02 + 0.001 * (number % 5))
    assert of.step_s == 0.04


def test_a_period_longer_than_a_third_of_the_buffer_is_no_step():
    of = pace(settled=False, buffer_s=0.2)
    for number in range(200):
        of.has_looked(0.0 if number % 35 else 0.1)
    assert of.step_s == pytest.approx(0.04, rel=0.001)


@pytest.mark.parametrize("by_steps", [True, False])
def test_fast_reads_in_between_are_few_and_only_for_cards_that_move_by_periods(by_steps):
    card, of, cutter, clock = SteppingCard(by_steps), pace(settled=False), new_cutter(), new_clock()
    card.run(of, cutter, clock, 2)
    before = card.looks
    card.run(of, cutter, clock, 100)
    assert card.looks - before == pytest.approx(100 / 0.04, rel=0.06 if by_steps else 0.02)
