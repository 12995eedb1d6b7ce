"""The session: signs of life, its own and the peer's."""

import array

import pytest

from mpengine.shared import control
from mpengine.shared.frames import Frame
from mpengine.streaming.actions import Drop, SendPing, SendPong
from mpengine.streaming.liveness import Liveness
from mpengine.streaming.websocket.events import Failed, Opened, PingReceived, PongReceived, Received
from tests.pure.session_history import (
    MANAGED,
    S,
    acted,
    finishing_session,
    frame,
    keep_alives,
    new_session,
    ready_session,
    told,
)
from tests.pure.support import RUN, of_kind


def test_it_tells_of_its_progress_once_a_second_in_every_state():
    session = new_session()
    told_at = [now / 10 for now in range(1000, 1300) if told(session.tick(now / 10), control.StreamBeat)]
    assert told_at == [float(second) for second in range(100, 130)]


def test_its_progress_is_what_was_sent():
    session = ready_session(sent_before=S)
    session.audio(frame(0, 2 * S), 100.5)
    assert told(session.tick(101.0), control.StreamBeat) == [
        control.StreamBeat(sent=2 * S, highest_sent=2 * S, replayed=S)
    ]


def test_a_ping_goes_out_every_20_s():
    session = ready_session()
    assert of_kind(session.tick(119.9), SendPing) == []
    assert len(of_kind(session.tick(120.0), SendPing)) == 1
    session.event(PongReceived(b"mpengine"), 121.0)
    assert of_kind(session.tick(139.9), SendPing) == []
    assert len(of_kind(session.tick(140.0), SendPing)) == 1


def test_a_ping_without_an_answer_for_10_s_ends_the_connection():
    session = ready_session()
    session.tick(120.0)
    assert acted(session.tick(129.9)) == []
    actions = session.tick(130.0)
    assert acted(actions) == [Drop()]
    assert told(actions, control.ConnectionDown)[0].reason == "no answer to a ping within 10 s"


def test_a_pong_answers_a_ping():
    session = ready_session()
    session.tick(120.0)
    session.event(PongReceived(b"mpengine"), 129.0)
    assert of_kind(session.tick(130.0), Drop) == []


def test_a_recogniser_that_brings_results_may_answer_a_ping_late():
    """It reads more slowly than a file is sent: the ping waits behind minutes of audio."""
    session = ready_session()
    for second in range(100, 200):
        assert of_kind(session.event(Received('{"type":"Metadata"}'), float(second)), Drop) == []
        assert len(of_kind(session.tick(float(second)), SendPing)) == (second == 120)
    actions = session.tick(209.0)
    assert told(actions, control.ConnectionDown)[0].reason == "no answer to a ping within 10 s"


def test_a_late_answer_is_that_to_the_ping_that_was_sent():
    liveness = Liveness(keep_alive=None, now=100.0)
    assert liveness.tick(120.0) == [SendPing(b"mpengine")]
    liveness.heard(129.0)
    liveness.heard(138.0)
    assert liveness.tick(140.0) == []
    liveness.ponged()
    assert liveness.last_answered_ping == 120.0
    assert liveness.tick(160.0) == [SendPing(b"mpengine")]


@pytest.mark.parametrize("make", [ready_session, finishing_session])
def test_the_peers_ping_is_answered_with_its_payload(make):
    assert make().event(PingReceived(b"abc"), 101.0) == [SendPong(b"abc")]


def test_the_peers_ping_is_answered_before_it_is_ready():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.0)
    assert session.event(PingReceived(b"abc"), 101.0) == [SendPong(b"abc")]


def test_a_keep_alive_goes_out_after_4_s_without_audio_and_every_4_s():
    session = ready_session()
    session.audio(frame(0, 320), 100.0)
    assert keep_alives(session, 100.0, 113.0) == [104.0, 108.0, 112.0]


def test_before_the_first_audio_no_keep_alive_goes_out():
    assert keep_alives(ready_session(), 100.0, 160.0) == []


def test_on_the_next_connection_no_keep_alive_goes_out_before_its_first_audio():
    session = ready_session()
    session.audio(frame(0, 320), 100.0)
    session.event(Failed("reset"), 101.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    assert keep_alives(session, 110.0, 130.0) == []


def test_audio_puts_the_keep_alive_off():
    session = ready_session()
    session.audio(frame(0, 320), 100.0)
    session.audio(frame(320, 640), 103.0)
    assert keep_alives(session, 103.0, 108.0) == [107.0]


def test_a_proxy_gets_no_keep_alive():
    session = ready_session(MANAGED)
    session.audio(frame(0, 320), 100.0)
    assert keep_alives(session, 100.0, 130.0) == []


@pytest.mark.parametrize(
    ("at", "deadline"), [(100.0, 101.0), (103.5, 104.0), (119.95, 120.0)], ids=["beat", "keep alive", "ping"]
)
def test_it_wakes_for_what_is_due_next(at, deadline):
    session = ready_session()
    session.audio(frame(0, 320), 100.0)
    now = 100.0
    while now <= at:
        session.tick(now)
        now += 0.05
    assert session.deadline(at) <= deadline + 1e-9


def loud(first, end):
    return Frame(RUN, 1, first, array.array("h", [328, -5] * ((end - first) // 2)).tobytes())


def quiet(first, end):
    return Frame(RUN, 1, first, array.array("h", [327, -327] * ((end - first) // 2)).tobytes())


def given_up_after(session, make_frame, seconds, *, answers=lambda now: None):
    """After how many seconds of real-time audio the connection is given up, and why; None if it is not."""
    for step in range(seconds * 10):
        now = 100.0 + step / 10
        session.audio(make_frame(step * S // 10, (step + 1) * S // 10), now)
        session.event(PongReceived(b""), now)
        if (event := answers(now)) is not None:
            session.event(event, now)
        downs = told(session.tick(now), control.ConnectionDown)
        if downs:
            return now - 100.0, downs[0].reason
    return None


def test_a_recogniser_that_says_nothing_to_half_a_minute_of_audible_audio_is_given_up():
    seconds, reason = given_up_after(ready_session(), loud, 60)
    assert seconds == pytest.approx(32, abs=0.3)
    assert reason == "the recogniser has said nothing for 30 s of audible audio"


def test_pings_and_pongs_are_no_answers():
    assert given_up_after(ready_session(), loud, 60, answers=lambda now: PingReceived(b"")) is not None


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"Metadata"}',
        '{"type":"Results","start":"x"}',
        '{"type":"Results","channel":5}',
        '{"type":"UtteranceEnd","last_word_end":-1}',
    ],
)
def test_any_message_that_is_understood_is_an_answer(text):
    assert given_up_after(ready_session(), loud, 90, answers=every(29, Received(text))) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [("no json", "no JSON"), ('{"type":"a KEY"}', "a ***"), ('{"type":"TurnInfo","transcript":"words"}', "TurnInfo")],
)
def test_a_message_that_nobody_understands_is_no_answer(text, kind):
    seconds, reason = given_up_after(ready_session(), loud, 60, answers=every(1, Received(text)))
    assert seconds == pytest.approx(32, abs=0.3)
    assert reason == f"the recogniser has said nothing for 30 s of audible audio; not understood: {kind}"


def every(seconds, event):
    return lambda now: event if round(now * 10) % (seconds * 10) == 0 else None


@pytest.mark.slow
def test_a_quiet_room_needs_no_answer():
    assert given_up_after(ready_session(), quiet, 600) is None


def test_a_burst_leaves_time_for_an_answer():
    session = ready_session()
    session.audio(quiet(0, S), 200.0)
    session.audio(loud(S, 61 * S), 200.0)
    session.event(PongReceived(b""), 200.0)
    assert of_kind(session.tick(229.9), Drop) == []
    session.event(PongReceived(b""), 229.9)
    assert session.deadline(229.9) <= 230.0
    assert of_kind(session.tick(230.0), Drop) == [Drop()]
