"""The session: the end of the stream."""

import pytest

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.streaming.actions import Drop, Leave, SendClose, SendPing, SendText, Tell
from mpengine.streaming.websocket.events import (
    NO_CLOSE_CODE,
    CloseReceived,
    Failed,
    Opened,
    PingReceived,
    PongReceived,
    Received,
)
from tests.pure.session_history import (
    BYOK,
    MANAGED,
    METADATA,
    READY,
    READY_TO_FINALIZE,
    SESSION_END,
    TRANSCRIPT,
    S,
    acted,
    closing_session,
    end_mark,
    finishing_session,
    frame,
    new_session,
    ready_session,
    results,
    told,
)
from tests.pure.support import of_kind, pcm

END_PING = b"mpengine end"


def test_at_the_end_deepgram_is_asked_for_what_is_left():
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    assert session.end(end_mark(S), 101.0) == [
        Tell(control.EndTaken()),
        SendPing(END_PING),
        SendText('{"type":"CloseStream"}'),
    ]


def test_at_the_end_a_proxy_that_can_is_asked_to_finalize():
    session = ready_session(MANAGED, ready=READY_TO_FINALIZE)
    assert acted(session.end(end_mark(S), 101.0)) == [SendText('{"type":"finalize"}')]


def test_at_the_end_another_proxy_is_sent_a_close_frame_when_nothing_has_come_for_3_s():
    session = ready_session(MANAGED)
    assert acted(session.end(end_mark(S), 101.0)) == []
    assert acted(session.tick(103.9)) == []
    assert acted(session.tick(104.0)) == [SendClose(1000)]
    assert acted(session.tick(104.1)) == []


def test_each_of_its_last_words_puts_the_close_frame_off():
    session = ready_session(MANAGED)
    session.end(end_mark(S), 101.0)
    session.event(TRANSCRIPT, 103.5)
    assert acted(session.tick(106.4)) == []
    assert acted(session.tick(106.5)) == [SendClose(1000)]


@pytest.mark.parametrize("text", ['{"type":"heartbeat"}', '{"type":"ready"}', "no json"])
def test_what_means_nothing_does_not_put_it_off(text):
    session = ready_session(MANAGED)
    session.end(end_mark(S), 101.0)
    session.event(Received(text), 103.5)
    assert acted(session.tick(104.0)) == [SendClose(1000)]


@pytest.mark.parametrize(
    ("text", "drops"),
    [('{"type":"UtteranceEnd","last_word_end":-1}', 0), ('{"type":"TurnInfo"}', 1), ('{"type":"KeepAlive"}', 1)],
)
def test_only_a_message_that_is_understood_gives_the_last_results_more_time(text, drops):
    session = finishing_session(now=100.0)
    session.event(Received(text), 109.0)
    assert len(of_kind(session.tick(110.0), Drop)) == drops


def test_a_long_hold_puts_it_off_by_10_s_at_most():
    session = ready_session(MANAGED, hold_s=60.0)
    session.end(end_mark(S), 101.0)
    assert acted(session.tick(110.9)) == []
    assert acted(session.tick(111.0)) == [SendClose(1000)]


def test_behind_the_close_frame_its_words_are_still_told_and_awaited_for_10_s_each():
    session = closing_session()
    assert len(told(session.event(TRANSCRIPT, 112.0))) == 1
    assert acted(session.tick(121.9)) == []
    assert of_kind(session.tick(122.0), Drop) == [Drop()]


def test_behind_the_close_frame_no_pong_is_sent():
    assert closing_session().event(PingReceived(b"abc"), 104.5) == []


def test_a_finish_is_what_the_end_mark_is():
    session = ready_session()
    assert session.finish(101.0) == ready_session().end(end_mark(S), 101.0)
    assert session.finish(101.0) == []
    assert session.end(end_mark(S), 101.0) == []


def test_a_finish_without_a_connection_is_nothing():
    session = new_session()
    session.tick(100.0)
    assert session.finish(100.5) == []
    assert session.event(Opened(), 101.0) != []


def test_what_a_proxy_could_on_the_connection_before_does_not_count():
    session = ready_session(MANAGED, ready=READY_TO_FINALIZE)
    session.event(Failed("reset"), 101.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    session.event(READY, 110.0)
    session.end(end_mark(S, grant=2), 111.0)
    assert acted(session.tick(114.0)) == [SendClose(1000)]


def test_behind_the_end_no_audio_is_taken():
    session = finishing_session()
    assert not session.takes_audio(101.0)
    assert session.audio(frame(S, 2 * S), 101.0) == b""


def test_behind_the_end_results_are_still_told():
    (heard,) = told(finishing_session().event(results(0.0, 1.0), 101.0))
    assert heard.acknowledges == S


@pytest.mark.parametrize("code", [1000, NO_CLOSE_CODE])
def test_the_peers_close_behind_its_last_word_is_answered_and_the_process_leaves(code):
    session = finishing_session()
    session.event(METADATA, 102.0)
    assert session.event(CloseReceived(code, ""), 102.0) == [
        SendClose(1000),
        Drop(),
        Tell(control.StreamEnded(sent=S)),
        Leave(ExitCode.OK),
    ]


@pytest.mark.parametrize("code", [1000, NO_CLOSE_CODE])
@pytest.mark.parametrize(
    ("dialect", "ready"), [(BYOK, READY), (MANAGED, READY_TO_FINALIZE)], ids=["Deepgram", "finalize"]
)
def test_a_bare_close_confirms_nothing(dialect, ready, code):
    """A server may close unasked, with 1000 too; what it has not told of would be taken for heard."""
    session = finishing_session(dialect, ready=ready)
    actions = session.event(CloseReceived(code, ""), 102.0)
    assert told(actions, control.StreamEnded) == []
    assert len(told(actions, control.ConnectionDown)) == 1
    assert of_kind(actions, Leave) == []


@pytest.mark.parametrize(
    "event", [CloseReceived(1011, "NET-0001"), CloseReceived(1001, ""), Failed("reset")], ids=["1011", "1001", "TCP"]
)
def test_deepgrams_last_word_confirms_nothing_without_a_normal_close(event):
    """It says Metadata before it closes with an error, too."""
    session = finishing_session()
    session.event(PongReceived(END_PING), 101.5)
    session.event(METADATA, 102.0)
    assert told(session.event(event, 102.1), control.StreamEnded) == []


@pytest.mark.parametrize("code", [1000, NO_CLOSE_CODE])
def test_a_normal_close_of_a_peer_that_has_read_all_audio_confirms_the_end_without_a_last_word(code):
    session = finishing_session()
    session.event(PongReceived(END_PING), 101.5)
    session.event(results(0.1, 0.5), 102.0)
    assert told(session.event(CloseReceived(code, ""), 102.1)) == [control.StreamEnded(sent=S)]


@pytest.mark.parametrize(
    "event",
    [CloseReceived(1001, ""), CloseReceived(1011, ""), CloseReceived(4400, "bad"), Failed("reset")],
    ids=["1001", "1011", "4400", "TCP"],
)
def test_any_other_end_of_such_a_peer_confirms_nothing(event):
    session = finishing_session()
    session.event(PongReceived(END_PING), 101.5)
    assert told(session.event(event, 102.0), control.StreamEnded) == []


@pytest.mark.parametrize("payload", [b"", b"mpengine"])
def test_a_pong_for_an_earlier_ping_does_not_show_that_all_was_read(payload):
    session = finishing_session()
    session.event(PongReceived(payload), 101.5)
    assert told(session.event(CloseReceived(1000, ""), 102.0), control.StreamEnded) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_after_an_error_a_close_needs_a_last_word(order):
    events = [PongReceived(END_PING), Received('{"type":"Error","description":"no"}')]
    session, other = finishing_session(), finishing_session()
    for index in order:
        session.event(events[index], 101.5)
        other.event(events[index], 101.5)
    other.event(METADATA, 101.6)
    assert told(session.event(CloseReceived(1000, ""), 102.0), control.StreamEnded) == []
    assert told(other.event(CloseReceived(1000, ""), 102.0)) == [control.StreamEnded(sent=S)]


def test_a_proxy_that_is_asked_to_finalize_must_say_its_last_word():
    session = finishing_session(MANAGED, ready=READY_TO_FINALIZE)
    session.event(PongReceived(END_PING), 101.5)
    assert told(session.event(CloseReceived(1000, ""), 102.0), control.StreamEnded) == []


def test_a_last_word_from_before_the_end_mark_confirms_nothing():
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    session.event(METADATA, 100.5)
    session.end(end_mark(S), 101.0)
    assert told(session.event(CloseReceived(1000, ""), 102.0), control.StreamEnded) == []


@pytest.mark.parametrize("kind", ["ConfigureSuccess", "Warning"])
def test_what_else_deepgram_says_is_no_last_word(kind):
    session = finishing_session()
    session.event(Received(f'{{"type":"{kind}"}}'), 102.0)
    assert told(session.event(CloseReceived(1000, ""), 102.1), control.StreamEnded) == []


@pytest.mark.parametrize(
    "event", [CloseReceived(1000, ""), CloseReceived(1011, ""), Failed("reset")], ids=["1000", "1011", "TCP"]
)
def test_finals_of_all_that_was_sent_confirm_the_end_however_it_comes(event):
    session = finishing_session()
    session.event(results(0.0, 0.5), 102.0)
    session.event(results(0.5, 0.5), 102.1)
    assert told(session.event(event, 102.2)) == [control.StreamEnded(sent=S)]


def test_finals_that_leave_something_out_confirm_nothing():
    session = finishing_session()
    session.event(results(0.0, 0.99), 102.0)
    session.event(results(0.99, 0.01, is_final=False), 102.1)
    assert told(session.event(CloseReceived(1000, ""), 102.2), control.StreamEnded) == []


def test_a_proxy_that_cannot_be_asked_must_be_given_time_though_finals_cover_all():
    session = finishing_session(MANAGED)
    session.event(Received('{"type":"transcript","text":"a","is_final":true,"start":0,"duration":1}'), 102.0)
    assert told(session.event(Failed("reset"), 102.1), control.StreamEnded) == []


def test_what_finals_covered_on_the_connection_before_does_not_count():
    session = ready_session()
    session.audio(frame(0, 3 * S), 100.0)
    session.event(results(0.0, 3.0), 101.0)
    session.event(Failed("reset"), 102.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    session.audio(frame(2 * S, 3 * S, grant=2), 110.0)
    session.end(end_mark(3 * S, grant=2), 110.0)
    assert told(session.event(CloseReceived(1000, ""), 111.0), control.StreamEnded) == []


def test_where_nothing_was_sent_nothing_is_missing():
    session = ready_session()
    session.end(end_mark(0), 101.0)
    assert told(session.event(CloseReceived(1000, ""), 102.0)) == [control.StreamEnded(sent=0)]


def test_a_clean_end_covers_what_went_out_on_its_own_connection():
    session = ready_session()
    session.audio(frame(0, 3 * S), 101.0)
    session.event(Failed("reset"), 102.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    session.audio(frame(0, S, grant=2), 110.5)
    session.finish(111.0)
    session.event(METADATA, 111.5)
    assert told(session.event(CloseReceived(1000, ""), 112.0)) == [control.StreamEnded(sent=S)]


def test_a_close_that_was_asked_for_is_not_answered_again():
    actions = closing_session().event(CloseReceived(1000, ""), 104.5)
    assert acted(actions) == [Drop(), Leave(ExitCode.OK)]
    assert told(actions) == [control.StreamEnded(sent=S)]


@pytest.mark.parametrize(
    "event",
    [CloseReceived(1000, ""), CloseReceived(1001, ""), CloseReceived(NO_CLOSE_CODE, ""), Failed("reset")],
    ids=["1000", "1001", "no code", "TCP"],
)
def test_an_end_that_a_proxy_was_not_asked_for_is_not_clean(event):
    actions = finishing_session(MANAGED).event(event, 102.0)
    assert told(actions, control.StreamEnded) == []
    assert len(told(actions, control.ConnectionDown)) == 1


@pytest.mark.parametrize("event", [CloseReceived(1001, ""), CloseReceived(1011, ""), Failed("reset")])
def test_a_close_frame_is_not_confirmed_by_another_end(event):
    actions = closing_session().event(event, 104.5)
    assert told(actions, control.StreamEnded) == []
    assert len(told(actions, control.ConnectionDown)) == 1


@pytest.mark.parametrize(
    "event", [CloseReceived(1000, ""), CloseReceived(1001, ""), Failed("reset")], ids=["1000", "1001", "TCP"]
)
def test_a_session_end_confirms_a_finalize_however_the_connection_ends(event):
    session = finishing_session(MANAGED, ready=READY_TO_FINALIZE)
    assert len(told(session.event(SESSION_END, 102.0), control.Said)) == 1
    actions = session.event(event, 102.1)
    assert of_kind(actions, Leave) == [Leave(ExitCode.OK)]
    assert told(actions) == [control.StreamEnded(sent=S)]


def test_a_session_end_confirms_nothing_else():
    session = finishing_session(MANAGED)
    session.event(SESSION_END, 102.0)
    assert told(session.event(Failed("reset"), 102.1), control.StreamEnded) == []


def test_a_normal_close_without_an_end_mark_is_a_loss():
    session = ready_session()
    actions = session.event(CloseReceived(1000, ""), 101.0)
    assert told(actions, control.StreamEnded) == []
    assert len(told(actions, control.ConnectionDown)) == 1


def test_last_results_are_awaited_for_10_s():
    session = finishing_session(now=100.0)
    assert acted(session.tick(109.9)) == []
    actions = session.tick(110.0)
    assert of_kind(actions, Drop) == [Drop()]
    assert told(actions, control.StreamEnded) == []
    assert "last results" in told(actions, control.ConnectionDown)[0].reason


def test_every_last_result_gives_the_others_another_10_s():
    session = finishing_session(now=100.0)
    for now in (109.0, 118.0, 127.0):
        session.event(results(0.0, 1.0), now)
        assert of_kind(session.tick(now + 9.9), Drop) == []
    assert of_kind(session.tick(137.0), Drop) == [Drop()]


def test_interims_without_end_are_awaited_for_a_minute_after_the_last_final():
    session = finishing_session(now=100.0)
    session.event(results(0.0, 1.0), 105.0)
    for now in range(110, 165, 5):
        session.event(results(1.0, 1.0, is_final=False), float(now))
        assert of_kind(session.tick(now + 4.9), Drop) == []
    assert of_kind(session.tick(165.0), Drop) == [Drop()]


@pytest.mark.parametrize("event", [Failed("reset by peer"), CloseReceived(1011, "NET-0000"), CloseReceived(1001, "")])
def test_a_loss_behind_the_end_is_no_clean_end(event):
    actions = finishing_session().event(event, 102.0)
    assert told(actions, control.StreamEnded) == []
    assert len(told(actions, control.ConnectionDown)) == 1
    assert of_kind(actions, Leave) == []


def test_after_a_loss_behind_the_end_the_rest_goes_to_the_next_connection():
    session = finishing_session()
    session.event(Failed("reset"), 102.0)
    session.tick(103.0)
    session.event(Opened(), 103.0)
    assert session.audio(frame(0, S, grant=2), 103.0) == pcm(0, S)
    assert SendText('{"type":"CloseStream"}') in session.end(end_mark(S, grant=2), 103.0)
