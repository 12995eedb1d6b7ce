"""A session while the silence gate is closed: it keeps the connection, rests, and wakes."""

import pytest

from mpengine.dialects.deepgram import FINALIZE, ByokConfig
from mpengine.shared import control
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.frames import Frame
from mpengine.streaming.actions import Connect, Drop, SendClose, SendText
from mpengine.streaming.session import State
from mpengine.streaming.websocket.events import CloseReceived, Failed, Opened, PongReceived, Received
from tests.pure.session_history import (
    BYOK,
    MANAGED,
    METADATA,
    READY,
    TRANSCRIPT,
    S,
    acted,
    frame,
    keep_alives,
    new_session,
    ready_session,
    told,
)
from tests.pure.support import RUN

CLOSE_STREAM = SendText('{"type":"CloseStream"}')
DEEPGRAM = ByokConfig(byok_api_key=Secret("KEY")).dialect(AudioConfig())
IDLE = Received('{"type":"ready","features":["idle"]}')


def quiet_mark(sample, grant=1):
    return Frame(RUN, grant, sample, b"", is_quiet=True)


def quiet_session(dialect=BYOK, *, now=100.0, **options):
    """A session that was sent a second of audio, and then the quiet mark."""
    session = ready_session(dialect, now=now, **options)
    session.audio(frame(0, S), now)
    session.quiet(quiet_mark(S), now)
    return session


def after(session, first, end):
    """The actions of each tick, a tenth of a second apart, of a peer that answers pings; and when they came."""
    found = []
    for tenth in range(round(first * 10), round(end * 10)):
        session.event(PongReceived(b"mpengine"), tenth / 10)
        found += [(tenth / 10, action) for action in session.tick(tenth / 10) if action in acted([action])]
    return found


def rested_session():
    """A session whose connection to Deepgram has ended in a silence, at second 130."""
    session = quiet_session()
    session.tick(130.0)
    session.event(METADATA, 130.5)
    session.event(CloseReceived(1000, ""), 130.5)
    assert session.state is State.WAITING
    return session


# Behind the hang-over


def test_deepgram_itself_is_asked_for_what_it_holds():
    session = ready_session(DEEPGRAM)
    session.audio(frame(0, S), 100.0)
    assert session.quiet(quiet_mark(S), 100.0) == [SendText(FINALIZE)]


def test_a_compatible_server_and_a_proxy_are_not():
    for dialect in (BYOK, MANAGED):
        session = ready_session(dialect)
        session.audio(frame(0, S), 100.0)
        assert session.quiet(quiet_mark(S), 100.0) == []


def test_nobody_is_asked_before_the_first_audio_or_for_an_older_grant():
    session = ready_session(DEEPGRAM)
    assert session.quiet(quiet_mark(S), 100.0) == []
    session.audio(frame(0, S), 100.0)
    assert session.quiet(quiet_mark(S, grant=7), 100.0) == []


def test_the_connection_is_kept_alive():
    assert keep_alives(quiet_session(), 100.0, 113.0) == [104.0, 108.0, 112.0]


# Resting


def test_after_thirty_seconds_the_connection_to_deepgram_is_ended_in_order():
    session = quiet_session()
    assert [(at, action) for at, action in after(session, 100.0, 131.0) if action == CLOSE_STREAM] == [
        (130.0, CLOSE_STREAM)
    ]
    assert session.state is State.FINISHING
    assert told(session.event(METADATA, 130.5), control.Rested) == []
    actions = session.event(CloseReceived(1000, ""), 130.6)
    assert told(actions) == [control.Rested(connection=1, sent=S)]
    assert actions[-2] == Drop()
    assert session.state is State.WAITING


def test_the_deadline_is_that_of_the_rest():
    session = quiet_session()
    for second in range(100, 130):
        session.event(PongReceived(b"mpengine"), second)
        session.tick(second)
    assert session.deadline(129.95) <= 130.0


def test_audio_in_between_begins_the_silence_anew():
    session = quiet_session()
    after(session, 100.0, 125.0)
    session.audio(frame(20 * S, 21 * S), 125.0)
    assert CLOSE_STREAM not in [action for _, action in after(session, 125.0, 160.0)]
    session.quiet(quiet_mark(21 * S), 160.0)
    assert [at for at, action in after(session, 160.0, 191.0) if action == CLOSE_STREAM] == [190.0]


def test_a_proxy_gets_its_close_frame_after_eight_seconds_without_more_patience():
    session = quiet_session(MANAGED)
    session.event(TRANSCRIPT, 101.0)
    closes = [at for at, action in after(session, 101.0, 109.0) if action == SendClose(1000)]
    assert closes == [pytest.approx(108.0, abs=0.15)]
    assert told(session.event(CloseReceived(1000, ""), 109.0)) == [control.Rested(connection=1, sent=S)]


def test_a_proxy_that_waits_as_long_as_it_takes_keeps_its_connection():
    session = quiet_session(MANAGED, ready=IDLE)
    after(session, 100.0, 400.0)
    assert session.state is State.READY


def test_what_a_proxy_promises_holds_for_one_connection():
    session = ready_session(MANAGED, ready=IDLE)
    session.event(Failed("reset"), 101.0)
    session.tick(110.0)
    session.event(Opened({}), 110.0)
    session.event(READY, 110.0)
    session.audio(frame(0, S, grant=2), 110.0)
    session.quiet(quiet_mark(S, grant=2), 110.0)
    after(session, 110.0, 119.0)
    assert session.state is State.FINISHING


def test_a_resting_session_connects_when_audio_is_expected():
    session = rested_session()
    assert acted(session.tick(200.0)) == []
    session.expect(audio=True)
    assert Connect(2) in session.tick(200.0)


def test_an_end_that_nobody_confirms_is_a_fault_and_not_tried_again():
    session = quiet_session()
    after(session, 100.0, 131.0)
    actions = session.event(Failed("reset"), 131.0)
    assert told(actions, control.Rested) == []
    assert told(actions, control.Fault, control.ConnectionDown) != []
    session.tick(140.0)
    session.event(Opened({}), 140.0)
    session.audio(frame(0, S, grant=2), 140.0)
    session.quiet(quiet_mark(S, grant=2), 140.0)
    after(session, 140.0, 240.0)
    assert session.state is State.READY


def test_a_connection_without_audio_rests_as_well():
    session = ready_session()
    session.quiet(quiet_mark(S), 100.0)
    after(session, 100.0, 131.0)
    session.event(METADATA, 131.0)
    assert told(session.event(CloseReceived(1000, ""), 131.0)) == [control.Rested(connection=1, sent=0)]


# A connection that is lost meanwhile


@pytest.mark.parametrize("event", [CloseReceived(1011, "NET-0001"), CloseReceived(1000, ""), Failed("reset")])
def test_a_connection_that_is_lost_in_a_silence_is_no_fault(event):
    session = quiet_session()
    after(session, 100.0, 110.0)
    actions = session.event(event, 110.0)
    (down,) = told(actions)
    assert isinstance(down, control.ConnectionDown)
    assert down.in_silence
    assert session.state is State.WAITING


def test_such_losses_in_a_row_are_tried_again_more_and_more_slowly():
    session, now, waits = new_session(), 100.0, []
    for grant in range(1, 8):
        session.tick(now)
        session.event(Opened({}), now)
        session.audio(frame(0, S, grant=grant), now)
        session.quiet(quiet_mark(S, grant=grant), now)
        (down,) = told(session.event(CloseReceived(1000, ""), now + 11), control.ConnectionDown)
        waits.append(down.next_try_in_s)
        now += 11 + down.next_try_in_s
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_refusal_of_a_new_connection_is_one_in_a_silence_too():
    session = quiet_session()
    actions = session.event(CloseReceived(1008, "no credits"), 100.5)
    assert told(actions, control.Fault) != []
