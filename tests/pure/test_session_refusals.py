"""The session: refusals of the upgrade and after it, with and without a result before, and a secret that is mended."""

import json

import pytest

from mpengine.dialects.deepgram import ByokConfig
from mpengine.shared import control
from mpengine.shared.config_tables import AudioConfig, Secret
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import ErrorKind
from mpengine.streaming.actions import Connect, Leave
from mpengine.streaming.session import State
from mpengine.streaming.websocket.events import CloseReceived, Failed, Opened, Received, Refused
from tests.pure.session_history import BYOK, MANAGED, READY, TRANSCRIPT, S, acted, frame, new_session, results, told
from tests.pure.support import of_kind

SIGNED = {"dg-request-id": "r-9"}
# What WhisperLiveKit answers to a wrong sample rate.
WRONG_RATE = Received('{"type":"Error","description":"Only 16 kHz mono is supported"}')
UPGRADES = [Refused(status, "No", "", headers) for status in (400, 401, 402, 403, 404, 405) for headers in (SIGNED, {})]
PASSING = [Refused(status, "No", "", headers) for status in (408, 429, 500, 503) for headers in (SIGNED, {})]
CLOSES = [CloseReceived(code, reason) for code in (1002, 1003, 1007, 1008) for reason in ("DATA-0000", "")]
PASSING_CLOSES = [CloseReceived(code, reason) for code in (1011, 4400) for reason in ("NET-0001", "")]


TOKEN = f"eyJ{''.join(f'{number:03}' for number in range(60))}.{'x1y2z3' * 10}.{'q9w8e7' * 10}"


def tried(session, event, now, *before):
    """One more try, which ends with `event`, after the others if the upgrade had been granted. Returns the actions."""
    session.tick(now)
    assert session.state is State.CONNECTING
    if isinstance(event, (CloseReceived, Received)) or before:
        session.event(Opened(SIGNED), now)
    actions = [action for each in before for action in session.event(each, now)]
    return actions + session.event(event, now)


def tries(session, event, count, *before, now=200.0):
    """So many tries, each as soon as it is due. Returns the actions of each, up to the end of the process."""
    found = []
    for _ in range(count):
        found.append(tried(session, event, now, *before))
        if session.state is State.ENDED:
            break
        now += told(found[-1], control.ConnectionDown)[0].next_try_in_s
    return found


def exit_codes(actions):
    return [leave.exit_code for leave in of_kind([action for each in actions for action in each], Leave)]


def heard_session(**options):
    """A session that has brought a result and lost its connection."""
    session = new_session(**options)
    session.tick(100.0)
    session.event(Opened(SIGNED), 100.0)
    session.audio(frame(0, 2 * S), 100.0)
    session.event(results(0.0, 1.0), 101.0)
    session.event(CloseReceived(1001, ""), 102.0)
    return session


@pytest.mark.parametrize("event", UPGRADES + CLOSES, ids=str)
def test_a_first_refusal_ends_the_process_soon(event):
    is_signed = event.headers == SIGNED if isinstance(event, Refused) else bool(event.reason)
    done = tries(new_session(), event, 5)
    assert len(done) == (1 if is_signed else 3)
    (code,) = exit_codes(done)
    is_account = event.status in {401, 402, 403} if isinstance(event, Refused) else event == CloseReceived(1008, "")
    assert code is (ExitCode.ACCOUNT if is_account else ExitCode.CONFIG)
    faults = [fault for each in done for fault in told(each, control.Fault)]
    assert [fault.exit_code for fault in faults] == ([code] if is_signed else [None, code])


@pytest.mark.parametrize("make", [heard_session, lambda: new_session(refusals_end=False)], ids=["heard", "waiting"])
@pytest.mark.parametrize("event", UPGRADES + CLOSES, ids=str)
def test_a_refusal_is_waited_out_and_told_once(make, event):
    done = tries(make(), event, 50)
    assert exit_codes(done) == []
    assert len([fault for each in done for fault in told(each, control.Fault)]) == 1
    downs = [down for each in done for down in told(each, control.ConnectionDown)]
    assert all(down.is_refusal for down in downs)
    assert [down.next_try_in_s for down in downs][:4] == [1, 2, 4, 8]
    assert downs[-1].next_try_in_s == 300.0
    assert len({down.reason for down in downs}) == 1


@pytest.mark.parametrize("event", [*PASSING, *PASSING_CLOSES[2:], PASSING_CLOSES[0], Failed("reset")], ids=str)
def test_passing_trouble_is_no_refusal_and_ends_nothing(event):
    event = CloseReceived(4400, "") if event == CloseReceived(4400, "NET-0001") else event
    done = tries(new_session(), event, 50)
    assert exit_codes(done) == []
    assert not any(down.is_refusal for each in done for down in told(each, control.ConnectionDown))


def test_after_any_refusal_it_goes_on_where_results_end():
    session, now = heard_session(), 200.0
    for event in UPGRADES + PASSING + CLOSES + PASSING_CLOSES:
        (actions,) = tries(session, event, 1, now=now)
        now += told(actions, control.ConnectionDown)[0].next_try_in_s
    session.tick(now)
    session.event(Opened(SIGNED), now)
    assert session.takes_audio(now)
    session.audio(frame(S, 2 * S, grant=session.connection), now)
    (heard,) = told(session.event(results(0.0, 1.0), now), control.Result)
    assert (heard.first, heard.end) == (S, 2 * S)


@pytest.mark.parametrize("is_final", [True, False])
def test_one_result_is_enough(is_final):
    session = new_session()
    session.tick(100.0)
    session.event(Opened(SIGNED), 100.0)
    session.audio(frame(0, S), 100.0)
    session.event(results(0.0, 1.0, is_final=is_final), 101.0)
    session.event(Failed("reset"), 102.0)
    assert exit_codes(tries(session, Refused(401, "", "", SIGNED), 10)) == []


@pytest.mark.parametrize("status", [401, 404, 429, 503])
@pytest.mark.parametrize("make", [heard_session, new_session])
def test_a_peer_that_asks_for_patience_gets_it(make, status):
    session = make(chance=0.0)
    actions = tried(session, Refused(status, "", "", {}, 42.0), 200.0)
    assert told(actions, control.ConnectionDown)[0].next_try_in_s == 42.0


# After the upgrade


@pytest.mark.parametrize("code", [4400, 4000])
def test_a_recogniser_that_refuses_right_after_the_upgrade_ends_the_process_in_its_words(code):
    done = tries(new_session(), CloseReceived(code, ""), 5, WRONG_RATE)
    assert exit_codes(done) == [ExitCode.CONFIG]
    assert len(done) == 3
    first, last = [fault for each in done for fault in told(each, control.Fault)]
    assert (first.message, first.exit_code, first.kind) == ("Only 16 kHz mono is supported", None, ErrorKind.SERVICE)
    assert last.message == f"refused by the service: Only 16 kHz mono is supported (closed: {code})"


def test_a_close_of_its_own_with_words_is_enough():
    done = tries(new_session(), CloseReceived(4401, "bad token"), 5)
    assert (len(done), exit_codes(done)) == (3, [ExitCode.ACCOUNT])


@pytest.mark.parametrize("make", [heard_session, lambda: new_session(refusals_end=False)], ids=["heard", "waiting"])
def test_where_it_is_waited_out_the_error_and_its_close_are_told_once(make):
    done = tries(make(), CloseReceived(4400, ""), 20, WRONG_RATE)
    assert exit_codes(done) == []
    assert [fault.message for each in done for fault in told(each, control.Fault)] == ["Only 16 kHz mono is supported"]
    assert told(done[-1], control.ConnectionDown)[0].next_try_in_s == 300.0


def test_an_error_before_a_result_has_nothing_to_do_with_a_close_after_it():
    session = new_session()
    session.tick(100.0)
    session.event(Opened(SIGNED), 100.0)
    session.event(WRONG_RATE, 100.1)
    session.audio(frame(0, S), 100.2)
    session.event(results(0.0, 1.0), 101.0)
    fault, down = told(session.event(CloseReceived(1008, "idle"), 101.0))
    assert fault.message == down.reason == "closed by the recogniser or somebody on the way: 1008 idle"


def test_a_close_long_after_the_upgrade_is_no_refusal():
    session = new_session()
    session.tick(100.0)
    session.event(Opened(SIGNED), 100.0)
    (down,) = told(session.event(CloseReceived(4400, "session limit"), 101.5), control.ConnectionDown)
    assert not down.is_refusal


@pytest.mark.parametrize("make", [heard_session, new_session])
@pytest.mark.parametrize("before", [(), (Received('{"type":"Error","description":"no audio for 60 s"}'),)])
def test_a_gateway_that_closes_idle_connections_is_not_waited_for_long(make, before):
    session, now = make(), 200.0
    for _ in range(10):
        session.tick(now)
        session.event(Opened(SIGNED), now)
        now += 60.0
        actions = [action for event in (*before, CloseReceived(1008, "idle")) for action in session.event(event, now)]
        (down,) = told(actions, control.ConnectionDown)
        now += down.next_try_in_s
    assert down.next_try_in_s == 10.0
    assert not down.is_refusal


@pytest.mark.parametrize("code", ["unauthorized", "unsupported"])
def test_a_proxy_that_refuses_the_token_later_is_waited_out(code):
    session = new_session(MANAGED)
    session.tick(100.0)
    for event in (Opened(), READY, TRANSCRIPT, Failed("reset")):
        session.event(event, 101.0)
    error = Received(json.dumps({"type": "error", "code": code, "message": "no"}))
    done = tries(session, error, 20)
    assert exit_codes(done) == []
    assert [fault.message for each in done for fault in told(each, control.Fault)] == ["Proxy auth error: no"]


# A peer that repeats the secret


@pytest.mark.parametrize("piece", [TOKEN, TOKEN[:106], TOKEN[40:146], TOKEN[-8:]])
@pytest.mark.parametrize("prefix", ["", "Bearer "])
def test_an_echo_of_the_secret_that_is_cut_is_struck_out(piece, prefix):
    """The reason of a close has room for 123 bytes."""
    remote = ByokConfig(byok_api_key=Secret(prefix + TOKEN))
    session = new_session(remote.dialect(AudioConfig()), refusals_end=False)
    told_so = tried(session, CloseReceived(1008, f"invalid {piece}"), 200.0)
    reasons = [str(message) for message in told(told_so)]
    assert any("invalid ***" in reason for reason in reasons)
    assert not any(piece[first : first + 8] in reason for reason in reasons for first in range(len(piece) - 7))


# A secret that is mended


def test_with_another_secret_it_tries_at_once():
    session = new_session(refusals_end=False)
    tries(session, Refused(401, "", "", SIGNED), 12)
    now = 10_000.0
    session.tick(now)
    session.event(Refused(401, "", "", SIGNED), now)
    assert session.is_about_to_connect
    assert acted(session.tick(now + 1.0)) == []
    mended = ByokConfig(byok_api_key=Secret("mended-0123456789")).dialect(AudioConfig())
    session.renew(mended, now + 1.0)
    assert session.deadline(now + 1.0) <= now + 1.0
    assert of_kind(session.tick(now + 1.0), Connect)
    session.event(Opened(SIGNED), now + 1.0)
    (fault,) = told(session.event(Received('{"type":"Error","description":"mended-01?"}'), now + 2.0), control.Fault)
    assert fault.message == "***?"


def test_while_it_is_connected_or_rests_nothing_is_about_to_connect():
    session = new_session(BYOK)
    assert session.is_about_to_connect
    session.expect(audio=False)
    assert not session.is_about_to_connect
    session.expect(audio=True)
    session.tick(100.0)
    assert not session.is_about_to_connect
