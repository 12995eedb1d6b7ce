"""What a final without times covers."""

from random import Random

import pytest

from mpengine.streaming.untimed import Estimate, UntimedFinals

RATE = 16000
BLOCK = 320
BLOCK_S = 0.02


class Sending:
    """Live audio from `first` on, as it is sent from second 100 on."""

    def __init__(self, hold_s=3.0, first=0):
        self.finals = UntimedFinals(hold_s, first)
        self.first, self.now, self.end = first, 100.0, first

    def until(self, seconds):
        while self.now < 100.0 + seconds - 1e-9:
            self.now += BLOCK_S
            self.end += BLOCK
            if self.now >= self.finals.next_step:
                self.finals.sent(self.end, self.now)

    def final(self):
        return self.finals.final(self.end, self.now)

    def seconds(self, sample):
        return (sample - self.first) / RATE


def test_the_first_final_covers_what_was_sent_and_acknowledges_nothing():
    sending = Sending(first=48_000)
    sending.until(10)
    assert sending.final() == Estimate(48_000, sending.end, 48_000)


def test_a_final_begins_where_the_one_before_it_came():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(8)
    assert sending.final()[:2] == (5 * RATE, 8 * RATE)


def test_a_final_acknowledges_what_had_been_sent_when_the_one_before_it_came():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(60)
    assert sending.final().acknowledges == 5 * RATE


def test_a_final_never_acknowledges_what_was_sent_within_the_hold():
    sending = Sending()
    sending.until(10)
    sending.final()
    sending.until(11)
    acknowledged = sending.seconds(sending.final().acknowledges)
    assert acknowledged <= 8.0
    assert acknowledged == pytest.approx(8.0, abs=0.2)


def test_two_finals_at_once_acknowledge_no_more_than_one():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(20)
    first = sending.final()
    assert sending.final().acknowledges <= 17 * RATE
    assert first.acknowledges == 5 * RATE


def test_without_a_hold_only_the_final_before_counts():
    sending = Sending(hold_s=0.0)
    sending.until(5)
    sending.final()
    sending.until(6)
    assert sending.final().acknowledges == 5 * RATE


def test_an_interim_lies_behind_the_last_final_and_settles_nothing():
    sending = Sending()
    sending.until(5)
    sending.final()
    sending.until(7)
    assert sending.finals.interim(sending.end) == Estimate(5 * RATE, 7 * RATE, 5 * RATE)
    assert sending.final().first == 5 * RATE


def test_a_final_before_any_audio_covers_nothing():
    assert UntimedFinals(3.0, 777).final(777, 100.0) == Estimate(777, 777, 777)


def test_an_hour_without_finals_is_remembered_in_little():
    sending = Sending()
    sending.until(60)
    assert len(sending.finals._sent) <= 31


@pytest.mark.parametrize("seed", range(10))
def test_what_is_acknowledged_never_goes_back_and_keeps_both_bounds(seed):
    chance, sending = Random(seed), Sending()
    sent, before, at_last = [(100.0, 0)], 0, 0
    for _ in range(60):
        for _ in range(chance.randrange(300)):
            sending.until(sending.now - 100.0 + BLOCK_S)
            sent.append((sending.now, sending.end))
        final = sending.final()
        held = max(end for at, end in sent if at <= max(100.0, sending.now - 3.0 + 1e-9))
        assert before <= final.acknowledges <= min(held, at_last)
        before, at_last = final.acknowledges, sending.end
