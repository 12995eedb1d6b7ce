"""Up to which sample the recogniser is done: what it said, and what an answered ping proves where it says nothing."""

import pytest

from mpengine.dialects.base import Ready
from mpengine.shared import control
from mpengine.shared.frames import Frame
from mpengine.streaming.websocket.events import PongReceived, Received
from tests.pure.session_history import MANAGED, S, frame, ready_session, results, told
from tests.pure.support import RUN, hypothesis
from tests.pure.test_placing import final, new_placing, send

START = 100.0


def interim(text, start_s, end_s, **fields):
    return hypothesis(text, False, start_s, end_s - start_s, **fields)


def live(placing, seconds, *, first=0, speed=1.0):
    """Audio goes out in tenths of a second, at `speed` times real time. Returns when the last one did."""
    now = START
    for number in range(round(seconds * 10)):
        now = START + (first + number / 10) / speed
        placing.sending(frame_of(first + number / 10), now)
    return now


def frame_of(second):
    first = round(second * S)
    return frame(first, first + S // 10, grant=3)


def passed_s(placing, now, ping=float("-inf")):
    return placing.beat(now, ping).passed / S


# What it says


def test_a_recogniser_that_said_nothing_is_done_with_nothing():
    placing = new_placing()
    now = live(placing, 60)
    assert passed_s(placing, now, now - 20) == 0


@pytest.mark.parametrize("said", [interim(" ", 0, 5), final(0, 5, ""), final(0, 5)])
def test_it_is_done_with_audio_a_second_before_that_of_which_it_spoke(said):
    placing = new_placing()
    send(placing, (0, 10 * S))
    placing.said(said, START + 10)
    assert passed_s(placing, START + 10) == pytest.approx(4.0)


def test_while_an_interim_is_open_nothing_passes():
    """An utterance of 15 s before its final."""
    placing = new_placing()
    send(placing, (0, 30 * S))
    placing.said(interim("", 0, 5), START + 5)
    placing.said(interim("words", 6, 7), START + 7)
    placing.said(interim("words go on", 6, 20), START + 20)
    now = START + 40
    assert passed_s(placing, now, now - 15) == 0
    placing.said(final(6, 21), START + 22)
    assert passed_s(placing, now) == pytest.approx(20.0)


def test_the_end_of_an_interim_with_words_says_nothing_about_later_ones():
    placing = new_placing()
    send(placing, (0, 30 * S))
    placing.said(interim("words go", 0, 20), START + 20)
    placing.said(final(0, 10), START + 20)
    assert passed_s(placing, START + 20) == pytest.approx(9.0)


@pytest.mark.parametrize("is_final", [True, False])
def test_a_proxy_without_times_never_says_of_which_audio_it_speaks(is_final):
    placing = new_placing()
    send(placing, (0, 30 * S))
    placing.said(hypothesis("", is_final), START + 30)
    assert passed_s(placing, START + 30) == 0


@pytest.mark.parametrize("said", [interim("", 0, 50), final(0, 50, ""), interim("", 20, 20), interim("", -5, 9)])
def test_times_that_cannot_be_true_prove_nothing(said):
    placing = new_placing()
    send(placing, (0, 30 * S))
    placing.said(said, START + 30)
    assert passed_s(placing, START + 30) == 0


def test_each_channel_has_to_be_spoken_of():
    placing = new_placing(channels=1)
    send(placing, (0, 30 * S))
    placing.said(interim("", 0, 20, channels=2), START)
    assert passed_s(placing, START) == 0
    placing.said(interim("", 0, 10, channels=2, channel=1), START)
    assert passed_s(placing, START) == pytest.approx(9.0)


def test_a_new_connection_begins_at_nothing():
    placing = new_placing()
    send(placing, (0, 30 * S))
    placing.said(final(0, 20), START)
    assert passed_s(placing, START) == pytest.approx(19.0)
    placing.connected(4)
    assert passed_s(placing, START) == 0


def test_places_are_those_of_the_run():
    placing = new_placing()
    send(placing, (50 * S, 52 * S), (90 * S, 100 * S))
    placing.said(interim("", 0, 8), START)
    assert passed_s(placing, START) == pytest.approx(95.0)


# Where it says nothing in silence


def mute(seconds=60, *, delay_s=0.5, **options):
    """A recogniser that has brought words for the first two seconds, and nothing since. Returns it, and the time."""
    placing = new_placing()
    now = live(placing, 2)
    placing.said(final(0, 2), now + delay_s)
    return placing, live(placing, seconds - 2, first=2, **options)


def test_it_is_done_with_audio_of_ten_seconds_ago_before_an_answered_ping():
    placing, now = mute()
    assert passed_s(placing, now, now - 5) == pytest.approx(50, abs=0.7)
    placing, now = mute()
    assert passed_s(placing, now, now - 25) == pytest.approx(35, abs=0.7)


def test_without_an_answered_ping_it_may_be_dead():
    placing, now = mute()
    assert passed_s(placing, now) == pytest.approx(1)


def test_without_words_on_this_connection_it_may_not_hear_at_all():
    placing, _ = mute()
    placing.connected(4)
    now = live(placing, 60)
    assert passed_s(placing, now, now - 5) == 0


def test_a_slow_one_gets_four_times_its_longest_delay():
    placing, now = mute(delay_s=6.0)
    assert passed_s(placing, now, now - 5) == pytest.approx(60 - 24, abs=0.8)


def test_its_longest_delay_counts_on_later_connections_too():
    placing, now = mute(delay_s=6.0)
    passed_s(placing, now)
    placing.connected(4)
    live(placing, 2, first=60)
    placing.said(final(0, 2), START + 62)
    now = live(placing, 58, first=62)
    assert passed_s(placing, now, now - 5) == pytest.approx(120 - 24, abs=0.8)


def test_a_proxy_without_times_may_be_late_by_as_much_as_it_is_configured_to():
    placing = new_placing()
    now = live(placing, 2)
    placing.said(hypothesis("words", True), now)
    now = live(placing, 58, first=2)
    assert passed_s(placing, now, now - 5) == pytest.approx(60 - 4 * 3, abs=0.7)


def test_audio_that_goes_out_faster_counts_as_sent_in_real_time():
    """A recogniser that works off a backlog may need as long for it as it lasts."""
    placing, now = mute(speed=4.0)
    assert passed_s(placing, now, now) <= 15 - 10 + 1
    assert passed_s(placing, now + 30, now + 30) == pytest.approx(15 + 30 - 10, abs=1.0)


def test_a_file_that_was_sent_at_once_is_not_done_at_once():
    placing = new_placing()
    send(placing, (0, 2 * S))
    placing.said(final(0, 2), START)
    send(placing, (2 * S, 60 * S))
    assert passed_s(placing, START + 40, START + 40) == 2


def test_an_hour_is_remembered_in_bounded_memory():
    placing = new_placing()
    placing.said(final(0, 0.1), live(placing, 1))
    for number in range(3600):
        placing.sending(frame(16000 * (1 + number), 16000 * (1 + number) + 160, grant=3), START + 1 + number)
    assert passed_s(placing, START + 3600, START + 3595) == pytest.approx(3590, abs=2)


# In the session


def beats(session, first, end, *, pongs=True):
    """The last beat of so many seconds of audio, in which each ping is answered."""
    beat = None
    for now in range(first, end):
        session.audio(Frame(RUN, 1, (now - 100) * S, bytes(2 * S)), float(now))
        actions = session.tick(float(now))
        beat = (told(actions, control.StreamBeat) or [beat])[-1]
        if pongs:
            session.event(PongReceived(b"mpengine"), now + 0.1)
    return beat


def test_an_answered_ping_lets_a_mute_recogniser_pass():
    session = ready_session()
    beats(session, 100, 103)
    session.event(results(0.0, 2.0), 103.0)
    assert beats(session, 103, 118).passed == S
    assert beats(session, 118, 140).passed / S == pytest.approx(20, abs=1)  # the ping at 120


def test_unanswered_pings_and_unasked_pongs_do_not():
    session = ready_session()
    beats(session, 100, 103)
    session.event(results(0.0, 2.0), 103.0)
    beats(session, 103, 119)  # these pongs answer nothing
    assert beats(session, 119, 129, pongs=False).passed == S


def test_a_recogniser_that_promises_to_answer_silence_is_late_when_it_says_nothing():
    session = ready_session(MANAGED, ready=Received('{"type":"ready","features":["silence"]}'))
    beats(session, 100, 103)
    words = '{"type":"transcript","text":"words","is_final":true,"start":0,"duration":2}'
    session.event(Received(words), 103.0)
    assert beats(session, 103, 160).passed == S
    blank = '{"type":"transcript","text":"","is_final":true,"start":2,"duration":50}'
    session.event(Received(blank), 160.0)
    assert beats(session, 160, 162).passed == 51 * S


def test_the_promise_holds_for_its_connection_alone():
    MANAGED.opened()
    assert not MANAGED.answers_silence
    assert MANAGED.decode('{"type":"ready","features":["finalize","silence"]}') == (Ready(),)
    assert MANAGED.answers_silence
    MANAGED.opened()
    assert not MANAGED.answers_silence
