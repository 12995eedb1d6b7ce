"""What an engine's messages mean to a GUI."""

import pytest

from mpengine.embedded.callbacks import CreditsLow, RecordingState, Trouble, Words
from mpengine.shared.messages import (
    NO_OBSTACLE,
    NO_TROUBLE,
    Error,
    ErrorCode,
    ErrorKind,
    Level,
    SessionEnd,
    Status,
    Transcript,
)
from mpengine.shared.messages import CreditsLow as CreditsLowMessage

RUNNING, STOPPED = Status(state="running"), Status(state="stopped", unacknowledged_s=1.5)


ENGINE, CONNECTION, HANDSHAKE, SERVICE = ErrorKind


def error(code, message, kind=ENGINE, *, source="streaming", fatal=False):
    return Error(source=source, code=code, message=message, fatal=fatal, kind=kind)


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        (Transcript(text="a", is_final=False, time_ns=5), [Words("a", False, 5)]),
        (Transcript(text="a", is_final=True, time_ns=5), [Words("a", True, 5)]),
        (Transcript(text=" ", is_final=True), []),
        (Transcript(text="a", is_final=False, interrupted=True), []),
        (CreditsLowMessage(seconds_remaining=120.9), [CreditsLow(120)]),
        (SessionEnd(seconds_used=3), []),
        (Level(rms_dbfs=-20, peak_dbfs=-10, digital_silence=False), []),
        (RUNNING, []),
    ],
)
def test_each_message_has_its_callback(message, calls):
    assert RecordingState().read(message) == calls


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (error("upstream", "slow", SERVICE), "[upstream] slow"),
        (error("bad_request", "no", SERVICE), "[bad_request] no"),
        (error("", "no code", SERVICE), "no code"),
        (error("connection_lost", "refused", CONNECTION), "WebSocket error: refused"),
        (error("net-0001", "closed", CONNECTION), "WebSocket error: closed"),
        (error("http_503", "HTTP 503", CONNECTION), "WebSocket error: HTTP 503"),
        (error("unauthorized", "Proxy auth error: expired", HANDSHAKE), None),
        (error("connection_lost", "Timed out waiting for proxy ready message", HANDSHAKE), None),
        (error("hung", "streaming hangs"), None),
        (error("x", "of a later version", "weather"), None),
        (error("device", "no such device", source="capture"), "Audio stream error: no such device"),
        (error("journal_full", "disk full", source="supervisor"), None),
    ],
)
def test_errors_have_the_origin_engines_words(told, text):
    state = RecordingState()
    assert state.read(told) == [Trouble(text or told.message)]
    assert state.trouble == (text or told.message)
    assert not state.failure


@pytest.mark.parametrize("code", sorted(NO_TROUBLE))
def test_the_end_of_a_trouble_is_none_and_neither_is_a_clock_that_was_set(code):
    state = RecordingState()
    assert state.read(error(code, "was set, or works again", source="supervisor")) == []
    assert not state.trouble


def test_each_code_for_the_end_of_a_trouble_is_one():
    ends = {code for code in ErrorCode if code.endswith(("_over", "_again"))}
    assert ends == NO_TROUBLE - {ErrorCode.CLOCK_STEPPED}


def test_it_has_started_when_it_runs_and_no_trouble_counts_any_more():
    state = RecordingState()
    assert not state.has_started
    state.read(RUNNING)
    assert state.has_started
    state.read(error("connection_lost", "dropped", CONNECTION))
    assert not state.trouble


@pytest.mark.parametrize("code", sorted(NO_OBSTACLE - NO_TROUBLE))
def test_a_wrong_level_is_not_what_keeps_it_from_starting(code):
    state = RecordingState()
    silence = error(code, "is it muted?", source="capture")
    assert state.read(silence) == [Trouble("Audio stream error: is it muted?")]
    assert state.trouble == ""
    state.read(error("connection_lost", "refused", CONNECTION))
    state.read(silence)
    assert state.trouble == "WebSocket error: refused"


def test_a_fatal_error_is_told_once():
    state = RecordingState()
    refusal = error("unauthorized", "HTTP 401", CONNECTION, fatal=True)
    assert state.read(refusal) == [Trouble("WebSocket error: HTTP 401")]
    assert state.read(error("crash", "streaming ended", fatal=True)) == []
    assert state.read(Status(state="failed", reason="HTTP 401")) == []
    assert state.ended("exit code 4") == []
    assert state.failure == "WebSocket error: HTTP 401"
    assert state.is_over


def test_a_device_that_cannot_be_opened_at_the_start_is_left_to_the_answer():
    state = RecordingState()
    assert state.read(error("device", "none", source="capture", fatal=True)) == []
    assert state.failure == "Audio stream error: none"
    state = RecordingState()
    state.read(RUNNING)
    assert state.read(error("device", "none", source="capture", fatal=True)) == [Trouble("Audio stream error: none")]


def test_an_end_that_says_nothing_is_told_all_the_same():
    assert RecordingState().read(Status(state="failed", reason="why")) == [Trouble("why")]
    assert RecordingState().ended("exit code 1") == [Trouble("The engine has ended: exit code 1")]


def test_a_stop_is_no_failure():
    state = RecordingState()
    assert state.read(STOPPED) == []
    assert (state.is_over, state.failure, state.unacknowledged_s) == (True, "", 1.5)
