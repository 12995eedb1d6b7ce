"""The session: lost connections, the waits between tries, and times without audio."""

import pytest

from mpengine.shared import control
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorKind
from mpengine.streaming.actions import Connect, Drop, Leave, SendClose
from mpengine.streaming.session import State
from mpengine.streaming.websocket.events import (
    NO_CLOSE_CODE,
    CloseReceived,
    Failed,
    Opened,
    PongReceived,
    Received,
    Refused,
)
from tests.pure.session_history import (
    METADATA,
    S,
    acted,
    finishing_session,
    frame,
    keep_alives,
    new_session,
    ready_session,
    results,
    told,
    waiting_session,
)
from tests.pure.support import of_kind

# Losses


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Failed("reset by peer"), "reset by peer"),
        (CloseReceived(1011, "NET-0001"), "closed by the recogniser: 1011 NET-0001"),
        (CloseReceived(1000, ""), "closed by the recogniser or somebody on the way: 1000"),
        (CloseReceived(NO_CLOSE_CODE, ""), "closed by the recogniser or somebody on the way: 1005"),
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
