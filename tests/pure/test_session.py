"""The session: how it connects, sends audio and reports what the recogniser says."""

import json

import pytest

from mpengine.dialects.base import Ignored
from mpengine.dialects.deepgram import ByokConfig, Deepgram
from mpengine.shared import control, deciding
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.deciding import ImpossibleError
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorKind
from mpengine.streaming.actions import Connect, Drop, Leave, Note, SendText, Tell
from mpengine.streaming.session import State
from mpengine.streaming.websocket.events import CloseReceived, Failed, Opened, Received, Refused
from tests.pure.session_history import (
    BYOK,
    BYOK_REMOTE,
    MANAGED,
    READY,
    S,
    acted,
    end_mark,
    frame,
    new_session,
    ready_session,
    results,
    told,
)
from tests.pure.support import pcm

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
    assert told(session.event(Received(text), 101.0)) == []
    assert session.event(Received(text), 101.0) == []
    assert session.takes_audio(101.0)


def test_each_kind_of_message_that_is_not_understood_is_logged_once_a_connection():
    session = ready_session()
    turn, greeting = Received('{"type":"TurnInfo"}'), Received('{"type":"Connected"}')
    assert session.event(turn, 101.0) == [Note("TurnInfo")]
    assert session.event(turn, 101.1) == []
    assert session.event(greeting, 101.2) == [Note("Connected")]
    session.event(Failed("reset"), 102.0)
    session.tick(110.0)
    session.event(Opened(), 110.0)
    assert session.event(turn, 111.0) == [Note("TurnInfo")]


def test_no_more_than_twenty_kinds_are_logged():
    session = ready_session()
    notes = [note for index in range(100) for note in session.event(Received(f'{{"type":"t{index}"}}'), 101.0)]
    assert notes == [*[Note(f"t{index}") for index in range(20)], Note("any other")]


def test_a_kind_is_logged_without_our_secret_and_cut():
    session = ready_session()
    assert session.event(Received('{"type":"no KEY"}'), 101.0) == [Note("no ***")]
    assert session.event(Received(json.dumps({"type": f"{'x' * 98}KEY{'x' * 10_000}"})), 101.0) == [
        Note(f"{'x' * 98}**"),
    ]


def test_what_follows_in_a_message_that_ends_the_connection_is_dropped():
    session = new_session(MANAGED)
    session.tick(100.0)
    session.event(Opened(), 100.0)
    actions = session.event(Received('{"type":"transcript","text":"a","start":[]}'), 101.0)
    assert told(actions, control.Result) == []
    assert len(told(actions, control.Fault)) == 1
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
    "event", [Refused(401, "bad KEY", "", {"dg-request-id": "KEY"}), Refused(503, "", "KEY is busy")]
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
