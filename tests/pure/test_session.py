"""The session: histories of what happens, and what it wants done."""

import array
import json

import pytest

from mpengine.dialects.base import Ignored
from mpengine.dialects.deepgram import ByokConfig, Deepgram
from mpengine.dialects.managed import ManagedConfig
from mpengine.shared import control, deciding
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.deciding import ImpossibleError
from mpengine.shared.errors import ExitCode
from mpengine.shared.frames import Frame
from mpengine.shared.messages import ErrorKind
from mpengine.streaming.actions import (
    Connect,
    Drop,
    Leave,
    Mention,
    SendClose,
    SendPing,
    SendPong,
    SendText,
    Tell,
)
from mpengine.streaming.placing import Placing
from mpengine.streaming.session import Session, State
from mpengine.streaming.websocket.events import (
    NO_CLOSE_CODE,
    CloseReceived,
    Failed,
    Opened,
    PingReceived,
    PongReceived,
    Received,
    Refused,
)
from tests.pure.support import RUN, of_kind, pcm

S = 16000
BYOK_REMOTE = ByokConfig(byok_url="wss://service/v1/listen", byok_api_key=Secret("KEY"))
BYOK = BYOK_REMOTE.dialect(AudioConfig())
MANAGED = ManagedConfig(server_url="proxy", auth_token=Secret("TOKEN")).dialect(AudioConfig())
READY = Received('{"type":"ready"}')
READY_TO_FINALIZE = Received('{"type":"ready","features":["finalize"]}')
TRANSCRIPT = Received('{"type":"transcript","text":"words","is_final":true}')
SESSION_END = Received('{"type":"session_end","seconds_used":1}')
METADATA = Received('{"type":"Metadata","duration":1.0}')


def new_session(
    dialect=BYOK,
    *,
    now=100.0,
    pace=None,
    chance=1.0,
    first_connection=1,
    expects_audio=True,
    sent_before=0,
    hold_s=3.0,
):
    return Session(
        dialect=dialect,
        placing=Placing(sample_rate=S, sample_bytes=2, hold_s=hold_s, sent_before=sent_before),
        pace=pace,
        first_connection=first_connection,
        expects_audio=expects_audio,
        chance=lambda: chance,
        now=now,
    )


def ready_session(dialect=BYOK, *, now=100.0, ready=READY, **options):
    """A session whose recogniser takes audio."""
    session = new_session(dialect, now=now, **options)
    session.tick(now)
    session.event(Opened({"dg-request-id": "r-1"}), now)
    if dialect is MANAGED:
        session.event(ready, now)
    assert session.state is State.READY
    return session


def closing_session():
    """A session that has waited for a proxy's last words and then sent its close frame, at second 103."""
    session = finishing_session(MANAGED)
    assert acted(session.tick(103.0)) == [SendClose(1000)]
    return session


def finishing_session(dialect=BYOK, *, now=100.0, **options):
    """A session that has sent a second of audio and the end mark."""
    session = ready_session(dialect, now=now, **options)
    session.audio(frame(0, S), now)
    session.end(end_mark(S), now)
    return session


def frame(first, end, grant=1):
    return Frame(RUN, grant, first, pcm(first, end))


def end_mark(sample, grant=1):
    return Frame(RUN, grant, sample, b"", is_last=True)


def results(start, duration, *, is_final=True, text="words"):
    alternatives = [{"transcript": text}]
    message = {"type": "Results", "start": start, "duration": duration, "is_final": is_final}
    return Received(json.dumps({**message, "channel": {"alternatives": alternatives}}))


def told(actions, *kinds):
    """The messages to the supervisor, of these kinds."""
    messages = [action.message for action in of_kind(actions, Tell, Mention)]
    return of_kind(messages, *kinds) if kinds else messages


def acted(actions):
    """What is done, without what is told."""
    return [action for action in actions if not isinstance(action, (Tell, Mention))]


# Connecting


def test_the_first_thing_is_to_connect_and_to_say_so():
    actions = new_session().tick(100.0)
    assert told(actions, control.Connecting) == [control.Connecting(connection=1, endpoint="wss://service/v1/listen")]
    assert acted(actions) == [Connect(1)]


def test_connections_are_numbered_from_the_one_it_is_told():
    assert acted(new_session(first_connection=7).tick(100.0)) == [Connect(7)]


def test_while_it_connects_it_does_not_connect_again():
    session = new_session()
    session.tick(100.0)
    assert acted(session.tick(114.9)) == []


def test_a_connection_that_takes_15_s_is_given_up():
    session = new_session()
    session.tick(100.0)
    actions = session.tick(115.0)
    assert acted(actions) == [Drop()]
    assert told(actions, control.ConnectionDown)[0].reason == "no connection within 15 s"


def test_deepgram_is_ready_when_the_connection_is_open():
    session = new_session()
    session.tick(100.0)
    assert session.event(Opened({"dg-request-id": "r-1"}), 100.5) == [
        Tell(control.ConnectionReady(connection=1, endpoint="wss://service/v1/listen", request_id="r-1"))
    ]


def test_a_proxy_is_greeted_when_the_connection_is_open():
    session = new_session(MANAGED)
    session.tick(100.0)
    assert session.event(Opened(), 100.5) == [SendText(MANAGED.greeting)]
    assert not session.takes_audio(100.5)


def test_a_proxy_is_ready_when_it_says_so():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened({"dg-request-id": "r-1"}), 100.5)
    assert session.event(READY, 101.0) == [
        Tell(control.ConnectionReady(connection=1, endpoint="wss://proxy/ws/transcribe", request_id="r-1"))
    ]


def test_a_proxy_is_greeted_on_every_connection():
    session = ready_session(MANAGED)
    session.event(Failed("reset"), 110.0)
    session.tick(120.0)
    assert session.event(Opened(), 120.5) == [SendText(MANAGED.greeting)]


def test_a_proxy_that_is_not_ready_within_15_s_is_given_up():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 110.0)
    assert acted(session.tick(124.9)) == []
    actions = session.tick(125.0)
    assert acted(actions) == [Drop()]
    assert told(actions, control.ConnectionDown)[0].reason == "Timed out waiting for proxy ready message"
    assert told(actions, control.Fault)[0].kind == ErrorKind.HANDSHAKE


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("unauthorized", ExitCode.ACCOUNT), ("", ExitCode.ACCOUNT), ("unsupported", ExitCode.CONFIG)],
)
def test_a_proxy_that_refuses_ends_the_process(code, exit_code):
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.5)
    actions = session.event(Received(json.dumps({"type": "error", "code": code, "message": "no"})), 101.0)
    assert acted(actions) == [Drop(), Leave(exit_code)]
    (fault,) = told(actions)
    assert (fault.message, fault.exit_code) == ("Proxy auth error: no", exit_code)
    assert fault.kind == ErrorKind.HANDSHAKE


def test_a_proxy_that_is_busy_is_tried_again():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.5)
    actions = session.event(Received('{"type":"error","code":"busy","message":"later"}'), 101.0)
    assert acted(actions) == [Drop()]
    assert told(actions, control.ConnectionDown)[0].next_try_in_s == 2.0


@pytest.mark.parametrize("text", ["no json", '{"type":"transcript","text":"a"}', '{"type":"pong"}', "[]"])
def test_a_proxy_that_says_something_else_first_is_tried_again(text):
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.5)
    actions = session.event(Received(text), 101.0)
    assert acted(actions) == [Drop()]
    assert told(actions, control.ConnectionDown)[0].reason.startswith("unexpected handshake message")


# Audio


def test_no_audio_is_taken_before_the_recogniser_is_ready():
    session = new_session()
    assert not session.takes_audio(100.0)
    session.tick(100.0)
    assert not session.takes_audio(100.0)
    session.event(Opened(), 100.5)
    assert session.takes_audio(100.5)


def test_a_frame_goes_out_as_it_came():
    assert ready_session().audio(frame(5 * S, 5 * S + 320), 100.0) == pcm(5 * S, 5 * S + 320)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_frame_of_another_grant_is_dropped(number):
    assert ready_session(first_connection=2).audio(frame(0, 320, grant=number), 100.0) == b""


def test_an_end_mark_of_another_grant_is_dropped():
    session = ready_session(first_connection=2)
    assert session.end(end_mark(320, grant=1), 100.0) == []
    assert session.takes_audio(100.0)


def test_samples_that_went_out_are_skipped():
    session = ready_session()
    session.audio(frame(0, 640), 100.0)
    assert session.audio(frame(0, 320), 100.0) == b""
    assert session.audio(frame(320, 960), 100.0) == pcm(640, 960)


def test_a_gap_between_frames_is_a_gap_in_the_results():
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    session.audio(frame(3 * S, 4 * S), 101.0)
    (heard,) = told(session.event(results(1.0, 1.0), 102.0))
    assert (heard.first, heard.end, heard.acknowledges) == (3 * S, 4 * S, 4 * S)


def test_audio_that_waited_is_taken_at_the_pace():
    session = ready_session(pace=1.25)
    session.audio(frame(0, 5 * S), 100.0)  # a second is free, four are owed
    assert not session.takes_audio(103.1)
    assert session.takes_audio(103.3)


def test_it_wakes_when_the_pace_allows_the_next_frame():
    session = ready_session(pace=1.25)
    session.tick(100.0)
    session.audio(frame(0, int(1.5 * S)), 100.0)
    assert session.deadline(100.0) == pytest.approx(100.4, abs=0.001)


def test_without_a_pace_everything_is_taken():
    session = ready_session(pace=None)
    session.audio(frame(0, 100 * S), 100.0)
    assert session.takes_audio(100.0)


# Signs of life


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


@pytest.mark.parametrize("make", [ready_session, finishing_session])
def test_the_peers_ping_is_answered_with_its_payload(make):
    assert make().event(PingReceived(b"abc"), 101.0) == [SendPong(b"abc")]


def test_the_peers_ping_is_answered_before_it_is_ready():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.0)
    assert session.event(PingReceived(b"abc"), 101.0) == [SendPong(b"abc")]


def keep_alives(session, first, end):
    """When a KeepAlive went out, of ticks at every tenth of a second."""
    ticks = [now / 10 for now in range(round(first * 10), round(end * 10))]
    answered = [(now, session.tick(now), session.event(PongReceived(b""), now)) for now in ticks]
    return [now for now, actions, _ in answered if SendText('{"type":"KeepAlive"}') in actions]


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


@pytest.mark.parametrize("text", ['{"type":"Metadata"}', "no json", '{"type":"Results","start":"x"}'])
def test_any_message_is_an_answer(text):
    assert given_up_after(ready_session(), loud, 90, answers=every(29, Received(text))) is None


def every(seconds, event):
    return lambda now: event if round(now * 10) % (seconds * 10) == 0 else None


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


# Results


def test_a_final_and_an_interim_are_told():
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    (interim,) = told(session.event(results(0.0, 1.0, is_final=False), 101.0))
    (final,) = told(session.event(results(0.0, 1.0), 101.5))
    assert (interim.transcript.is_final, final.transcript.is_final) == (False, True)


def test_an_error_of_the_service_is_told_and_the_connection_stays():
    session = ready_session(MANAGED)
    actions = session.event(Received('{"type":"error","code":"busy","message":"slow"}'), 101.0)
    assert actions == [Tell(control.Fault(code="busy", message="slow", kind=ErrorKind.SERVICE))]
    assert session.takes_audio(101.0)


@pytest.mark.parametrize("text", ['{"type":"ready"}', "no json", '{"type":"pong"}'])
def test_in_the_middle_a_proxys_other_messages_mean_nothing(text):
    session = ready_session(MANAGED)
    assert session.event(Received(text), 101.0) == []
    assert session.takes_audio(101.0)


# The end of the stream


def test_at_the_end_deepgram_is_asked_for_what_is_left():
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    assert session.end(end_mark(S), 101.0) == [
        Tell(control.EndTaken()),
        SendText('{"type":"Finalize"}'),
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
    "event",
    [CloseReceived(1011, "NET-0001"), CloseReceived(1001, ""), Failed("reset")],
    ids=["1011", "1001", "TCP"],
)
def test_deepgrams_last_word_confirms_nothing_without_a_normal_close(event):
    """It says Metadata before it closes with an error, too."""
    session = finishing_session()
    session.event(METADATA, 102.0)
    assert told(session.event(event, 102.1), control.StreamEnded) == []


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
    "event",
    [CloseReceived(1000, ""), CloseReceived(1011, ""), Failed("reset")],
    ids=["1000", "1011", "TCP"],
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
    "event",
    [CloseReceived(1000, ""), CloseReceived(1001, ""), Failed("reset")],
    ids=["1000", "1001", "TCP"],
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


# Losses


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Failed("reset by peer"), "reset by peer"),
        (CloseReceived(1011, "NET-0001"), "closed by the recogniser: 1011 NET-0001"),
        (CloseReceived(1000, ""), "closed by the recogniser: 1000"),
        (CloseReceived(NO_CLOSE_CODE, ""), "closed by the recogniser: 1005"),
    ],
)
def test_a_lost_connection_is_dropped_told_and_tried_again(event, reason):
    session = ready_session()
    actions = session.event(event, 101.0)
    assert of_kind(actions, Drop) == [Drop()]
    assert told(actions, control.ConnectionDown) == [
        control.ConnectionDown(connection=1, reason=reason, next_try_in_s=0.5)
    ]
    assert acted(session.tick(101.4)) == []
    assert acted(session.tick(101.5)) == [Connect(2)]


@pytest.mark.parametrize(("code", "answer"), [(1011, 1011), (1000, 1000), (NO_CLOSE_CODE, 1000)])
def test_the_peers_close_frame_is_answered_first(code, answer):
    assert acted(ready_session().event(CloseReceived(code, ""), 101.0)) == [SendClose(answer), Drop()]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_refusal_is_tried_again(status):
    session = new_session()
    session.tick(100.0)
    actions = session.event(Refused(status, "", ""), 100.5)
    assert acted(actions) == [Drop()]
    assert len(told(actions, control.ConnectionDown)) == 1


@pytest.mark.parametrize(
    ("event", "code", "exit_code"),
    [
        (Refused(401, "", "", {"dg-request-id": "r-9"}), "unauthorized", ExitCode.ACCOUNT),
        (Refused(402, "", "", {"dg-request-id": "r-9"}), "payment_required", ExitCode.ACCOUNT),
        (Refused(400, "", "", {"dg-request-id": "r-9"}), "bad_request", ExitCode.CONFIG),
    ],
)
def test_a_lasting_refusal_ends_the_process_with_a_typed_error(event, code, exit_code):
    session = new_session()
    session.tick(100.0)
    actions = session.event(event, 100.5)
    assert acted(actions) == [Drop(), Leave(exit_code)]
    (fault,) = told(actions)
    assert (fault.code, fault.exit_code, fault.request_id) == (code, exit_code, "r-9")


def test_a_lasting_close_ends_the_process_with_a_typed_error():
    actions = ready_session().event(CloseReceived(1008, "DATA-0000"), 101.0)
    assert acted(actions) == [SendClose(1008), Drop(), Leave(ExitCode.CONFIG)]
    assert told(actions)[0].request_id == "r-1"


def test_after_a_lasting_cause_nothing_is_tried_any_more():
    session = ready_session()
    session.event(CloseReceived(1008, "DATA-0000"), 101.0)
    assert acted(session.tick(10_000.0)) == []


def waits(session, event, tries, now=100.0):
    """How long it waits after each of so many failures."""
    found = []
    for _ in range(tries):
        session.tick(now)
        (down,) = told(session.event(event, now), control.ConnectionDown)
        found.append(down.next_try_in_s)
        now += down.next_try_in_s
    return found


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Failed("refused"), [0.5, 1, 2, 4, 8, 10, 10]),
        (Refused(503, "", ""), [0.5, 1, 2, 4, 8, 10, 10]),
        (Refused(429, "", ""), [2, 4, 8, 16, 30, 30, 30]),
    ],
)
def test_the_wait_doubles_up_to_a_ceiling(event, expected):
    assert waits(new_session(chance=1.0), event, 7) == expected


@pytest.mark.parametrize(("chance", "first"), [(0.0, 0.0), (0.5, 0.25), (0.999, 0.4995)])
def test_chance_spreads_the_waits(chance, first):
    assert waits(new_session(chance=chance), Failed("refused"), 1) == [first]


def fail_after(session, *events, now):
    """Connect, let these happen, lose the connection; how long it waits then."""
    session.tick(now)
    session.event(Opened(), now)
    for event in events:
        session.event(event, now)
    return told(session.event(Failed("reset"), now), control.ConnectionDown)[0].next_try_in_s


def test_a_final_starts_the_waits_anew():
    session = new_session(chance=1.0)
    waits(session, Failed("refused"), 4)
    assert fail_after(session, results(0.0, 1.0), now=200.0) == 0.5


@pytest.mark.parametrize("event", [results(0.0, 1.0, is_final=False), Received('{"type":"Metadata"}')])
def test_nothing_less_than_a_final_starts_the_waits_anew(event):
    session = new_session(chance=1.0)
    waits(session, Failed("refused"), 4)
    assert fail_after(session, event, now=200.0) == 8.0


def test_an_outage_is_one_fault_however_many_tries_it_takes():
    session = ready_session()
    faults = told(session.event(Failed("reset"), 101.0), control.Fault)
    for now in range(110, 200, 10):
        session.tick(float(now))
        faults += told(session.event(Failed(f"no route, {now}"), float(now)), control.Fault)
    assert faults == [control.Fault(code="connection_lost", message="reset", kind=ErrorKind.CONNECTION)]


def test_the_next_outage_is_another_fault():
    session = ready_session()
    session.event(Failed("reset"), 101.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    session.event(results(0.0, 1.0), 111.0)
    assert told(session.event(Failed("reset"), 112.0), control.Fault) == [
        control.Fault(code="connection_lost", message="reset", kind=ErrorKind.CONNECTION)
    ]


@pytest.mark.parametrize(
    "event",
    [
        Opened({"dg-request-id": "late"}),
        results(0.0, 1.0),
        PongReceived(b""),
        CloseReceived(1011, ""),
        Failed("late"),
        Refused(401, "", ""),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_comes_late_from_a_lost_connection_is_ignored(event):
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    session.event(Failed("reset"), 101.0)
    assert session.event(event, 101.1) == []
    assert session.state is State.WAITING


@pytest.mark.parametrize(
    "event",
    [Opened({"dg-request-id": "late"}), results(0.0, 1.0), CloseReceived(1011, ""), Failed("late")],
    ids=lambda event: type(event).__name__,
)
def test_what_comes_after_the_end_is_ignored(event):
    session = finishing_session()
    session.event(METADATA, 102.0)
    session.event(CloseReceived(1000, ""), 102.0)
    assert session.event(event, 102.1) == []
    assert session.state is State.ENDED


# While no audio can come


def waiting_session(**options):
    """A session whose connection was lost at second 101; the next try is due at 101.5."""
    session = ready_session(**options)
    session.event(Failed("reset"), 101.0)
    return session


def test_without_audio_to_come_no_connection_is_tried():
    session = waiting_session()
    session.expect(audio=False)
    assert all(acted(session.tick(101.0 + seconds)) == [] for seconds in range(1000))
    assert session.state is State.WAITING


def test_without_audio_to_come_it_wakes_for_its_beat_alone():
    session = waiting_session()
    session.expect(audio=False)
    session.tick(5000.0)
    assert session.deadline(5000.0) == 5001.0


def test_once_audio_can_come_it_connects_at_once():
    session = waiting_session()
    session.expect(audio=False)
    session.tick(5000.0)
    session.expect(audio=True)
    assert session.deadline(5000.1) <= 5000.1
    assert acted(session.tick(5000.1)) == [Connect(2)]


def test_a_device_that_comes_and_goes_does_not_cut_the_wait_short():
    session = waiting_session()
    session.expect(audio=False)
    session.expect(audio=True)
    assert acted(session.tick(101.4)) == []
    assert acted(session.tick(101.5)) == [Connect(2)]


def test_a_process_that_begins_without_audio_to_come_does_not_connect():
    session = new_session(expects_audio=False)
    assert acted(session.tick(100.0)) == []
    session.expect(audio=True)
    assert acted(session.tick(100.5)) == [Connect(1)]


def test_a_connection_is_kept_though_no_audio_can_come():
    session = ready_session()
    session.audio(frame(0, 320), 100.0)
    session.expect(audio=False)
    assert keep_alives(session, 100.0, 113.0) == [104.0, 108.0, 112.0]
    assert session.state is State.READY


@pytest.mark.parametrize(
    "event", [Opened(), Failed("refused"), Refused(503, "", "")], ids=lambda event: type(event).__name__
)
def test_an_attempt_under_way_is_not_given_up_but_no_other_follows(event):
    session = new_session()
    session.tick(100.0)
    session.expect(audio=False)
    session.event(event, 100.5)
    session.event(CloseReceived(1011, "NET-0001"), 110.5)
    assert acted(session.tick(200.0)) == []
    assert session.state is State.WAITING


# Our secret in a peer's words


@pytest.mark.parametrize(
    ("dialect", "event"),
    [
        (MANAGED, Received('{"type":"error","code":"invalid TOKEN","message":"invalid token TOKEN"}')),
        (MANAGED, Received('{"type":"error","message":"escaped: \\u0054OKEN"}')),
        (MANAGED, CloseReceived(1008, "token TOKEN expired")),
        (MANAGED, CloseReceived(1011, "TOKEN")),
        (MANAGED, Failed("lost TOKEN")),
        (BYOK, Received('{"type":"Metadata","TOKEN":["KEY",{"KEY":"a KEY"}]}')),
        (BYOK, Received('{"type":"Error","description":"KEY","variant":"KEY"}')),
        (BYOK, Received('{"type":"Results","KEY":1,"start":"KEY"}')),
    ],
)
def test_what_is_told_does_not_hold_it(dialect, event):
    session = ready_session(dialect)
    messages = told(session.event(event, 101.0))
    assert messages
    assert all(dialect.secret.encode() not in control.encode(message) for message in messages)


@pytest.mark.parametrize(
    "event",
    [Refused(401, "bad KEY", "", {"dg-request-id": "KEY"}), Refused(503, "", "KEY is busy")],
)
def test_what_is_told_of_a_refusal_does_not_hold_it(event):
    session = new_session()
    session.tick(100.0)
    assert all(b"KEY" not in control.encode(message) for message in told(session.event(event, 100.5)))


def test_what_a_proxy_says_of_a_bad_token_is_told_without_it():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.0)
    (fault,) = told(session.event(Received('{"type":"error","message":"invalid token TOKEN"}'), 101.0))
    assert fault.message == "Proxy auth error: invalid token ***"


def test_a_word_that_is_a_short_secret_may_be_said():
    session = ready_session()
    session.audio(frame(0, S), 100.0)
    (heard,) = told(session.event(results(0.0, 1.0, text="the KEY is under the mat"), 101.0))
    assert heard.transcript.text == "the KEY is under the mat"


def test_nobody_says_a_long_secret():
    secret = "0123456789abcdef"
    session = ready_session(ByokConfig(byok_api_key=Secret(secret)).dialect(AudioConfig()))
    session.audio(frame(0, S), 100.0)
    (heard,) = told(session.event(results(0.0, 1.0, text=f"it is {secret}"), 101.0))
    assert heard.transcript.text == "it is ***"


# A dialect that remembers what was said


class Remembering(Deepgram):
    """Its peer says nothing final: the last message counts once the connection is closed."""

    def opened(self):
        self.last = None

    def decode(self, text):
        self.last, before = text, self.last
        return (Ignored("later"),) if before is None else super().decode(before)

    def ended(self):
        return () if self.last is None else super().decode(self.last)


def remembering_session():
    return ready_session(Remembering(BYOK_REMOTE, AudioConfig()))


def test_a_peer_that_closes_leaves_what_its_dialect_remembers():
    session = remembering_session()
    session.audio(frame(0, S), 100.0)
    assert told(session.event(results(0.0, 1.0), 101.0)) == []
    first, *_ = told(session.event(CloseReceived(1000, ""), 102.0))
    assert (first.transcript.is_final, first.end) == (True, S)


def test_a_final_that_comes_with_the_close_confirms_the_end_if_it_covers_all():
    session = remembering_session()
    session.audio(frame(0, S), 100.0)
    session.event(results(0.0, 1.0), 101.0)
    session.end(end_mark(S), 102.0)
    assert acted(session.event(CloseReceived(1000, ""), 103.0))[-1] == Leave(ExitCode.OK)


def test_what_a_dialect_remembers_is_not_taken_over_to_the_next_connection():
    session = remembering_session()
    session.event(results(0.0, 1.0), 101.0)
    session.event(Failed("reset"), 102.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    assert told(session.event(CloseReceived(1011, ""), 111.0), control.Result) == []


class Laconic(Deepgram):
    """It has no last word but a normal close."""

    close_confirms = True


@pytest.mark.parametrize(("code", "state"), [(1000, State.ENDED), (NO_CLOSE_CODE, State.ENDED), (1011, State.WAITING)])
def test_a_peer_without_a_last_word_confirms_the_end_by_a_normal_close(code, state):
    session = finishing_session(Laconic(BYOK_REMOTE, AudioConfig()))
    session.event(CloseReceived(code, ""), 103.0)
    assert session.state is state


def test_a_close_that_nobody_asked_for_confirms_nothing():
    session = ready_session(Laconic(BYOK_REMOTE, AudioConfig()))
    session.audio(frame(0, S), 100.0)
    session.event(CloseReceived(1000, ""), 101.0)
    assert session.state is State.WAITING


# What cannot be


@pytest.mark.parametrize(
    ("make", "event"),
    [
        (new_session, CloseReceived(1000, "")),
        (new_session, Received("words")),
        (ready_session, Opened({})),
        (ready_session, Refused(401, "", "", {})),
    ],
)
def test_an_event_that_cannot_come_is_a_mistake_of_ours(make, event):
    session = make()
    session.tick(100.0)
    with pytest.raises(ImpossibleError, match=type(event).__name__):
        session.event(event, 101.0)


def test_in_life_it_is_no_reason_to_end(monkeypatch):
    monkeypatch.setattr(deciding, "STRICT", False)
    session = ready_session()
    assert session.event(Refused(503, "", "", {}), 101.0) != []
    assert session.state is State.WAITING
