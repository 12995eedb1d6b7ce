"""How fast audio may be sent."""

from random import Random

import pytest

from mpengine.streaming.liveness import Pacer

BLOCK_S = 0.02


def flood(pacer, until, now=100.0):
    """Send blocks whenever the pacer allows it, waking only when it says; the seconds of audio that went out."""
    sent = 0.0
    while now < until:
        while now >= pacer.may_send_at:
            pacer.sent(BLOCK_S, now)
            sent += BLOCK_S
        now = pacer.may_send_at
    return sent


def test_without_a_limit_everything_may_be_sent():
    pacer = Pacer(None, 100.0)
    pacer.sent(1e6, 100.0)
    assert pacer.may_send_at <= 100.0


@pytest.mark.parametrize("pace", [1.25, 2.0, 10.0])
def test_audio_that_waited_is_sent_at_the_pace_and_a_burst(pace):
    sent = flood(Pacer(pace, 100.0), until=160.0)
    assert sent == pytest.approx(1.0 + 60.0 * pace, abs=2 * BLOCK_S)


def test_an_outage_of_a_minute_is_worked_off_in_four():
    """At 1.25 x, a quarter of a second is gained in each."""
    pacer, now, waiting = Pacer(1.25, 100.0), 100.0, 60.0
    while waiting > 0:
        now += BLOCK_S
        waiting += BLOCK_S
        while waiting > 0 and now >= pacer.may_send_at:
            pacer.sent(BLOCK_S, now)
            waiting -= BLOCK_S
    assert 230 < now - 100.0 <= 241


def test_live_audio_never_waits():
    pacer, now = Pacer(1.25, 100.0), 100.0
    for _ in range(10_000):
        now += BLOCK_S
        assert now >= pacer.may_send_at
        pacer.sent(BLOCK_S, now)


def test_live_audio_in_bursts_of_a_second_never_waits():
    pacer, now = Pacer(1.25, 100.0), 100.0
    for _ in range(100):
        now += 1.0
        for _ in range(50):
            assert now >= pacer.may_send_at
            pacer.sent(BLOCK_S, now)


def test_a_long_silence_saves_up_no_more_than_a_burst():
    pacer = Pacer(1.25, 100.0)
    assert pacer.may_send_at <= 10_000.0
    sent = 0
    while pacer.may_send_at <= 10_000.0:
        pacer.sent(BLOCK_S, 10_000.0)
        sent += 1
    assert sent * BLOCK_S <= 1.0 + BLOCK_S


def test_at_first_a_burst_is_due_at_once():
    pacer = Pacer(1.25, 100.0)
    pacer.sent(1.0 - BLOCK_S, 100.0)
    assert pacer.may_send_at < 100.0


@pytest.mark.parametrize("now", [0.0, 100.0, 1e6, 1e8])
def test_what_went_beyond_the_burst_is_waited_for(now):
    pacer = Pacer(1.25, now)
    pacer.sent(5.0, now)
    assert pacer.may_send_at == pytest.approx(now + 4.0 / 1.25, abs=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_in_no_stretch_of_time_more_is_sent_than_the_pace_and_a_burst(seed):
    chance = Random(seed)
    pacer, now, sent = Pacer(1.25, 0.0), 0.0, [(0.0, 0.0)]
    for _ in range(2000):
        now += chance.choice((0.0, 0.001, 0.02, 0.5, 3.0))
        if now >= pacer.may_send_at:
            pacer.sent(BLOCK_S, now)
            sent.append((now, sent[-1][1] + BLOCK_S))
    for first, total_before in sent[::37]:
        assert all(total - total_before <= 1.25 * (at - first) + 1.0 + 2 * BLOCK_S for at, total in sent if at >= first)
