"""The log for a person: sentences in order, at any width, and nothing in them that acts on a terminal."""

import ast
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpengine.shared.logs import format_for
from mpengine.shared.logs.lines import Entry
from mpengine.shared.logs.person import Person
from mpengine.shared.logs.sentences import _SENTENCES, sentence
from mpengine.shared.secret import StrikeOut
from mpengine.shared.text import hanging, width, wrapped
from mpengine.streaming import tracing
from mpengine.streaming.actions import SendText
from mpengine.streaming.websocket import events
from mpengine.supervisor.decide.hangs import Seen
from tests.rig.structure import TREES

NOON = 1.8e9
CLOCK = time.strftime("%H:%M:%S", time.localtime(NOON))
OPENED = {"name": "USB Audio", "rate_hz": 16000, "channels": 1, "latency_s": 1.0}
CONNECTED = {"endpoint": "wss://h/v1/listen", "connection": 1, "request_id": None}
PUBLISHING = {"name": "desk", "results": "ipc:///r", "query": "ipc:///q", "command": "ipc:///c"}
FAULT = {"source": "streaming", "code": "unauthorized", "message": "HTTP 401: no such key"}
ENDED = {"exit_code": 0, "finals": 12, "unacknowledged_s": 0.0}
WAY = "; mpengine check, with the same options, says what would mend it"


def entry(event, level=logging.INFO, **fields):
    return Entry(NOON, level, event, fields)


def written(*entries, columns=80, has_codes=False, has_colours=True, strike_out=str, rest=True):
    person = Person("supervisor", columns=lambda: columns, has_codes=has_codes, has_colours=has_colours)
    lines = [line for each in entries for line in person.lines(each, strike_out)]
    return [*lines, *(person.rest(strike_out) if rest else [])]


def said(*entries, **options):
    """Without the time of day."""
    return [line.removeprefix(f"{CLOCK}  ") for line in written(*entries, **options)]


# Sentences


@pytest.mark.parametrize(
    ("event", "fields", "text"),
    [
        ("device_opened", OPENED, "audio: USB Audio (16 kHz mono)"),
        ("device_opened", OPENED | {"device_rate_hz": 44100}, "audio: USB Audio (16 kHz mono, read at 44.1 kHz)"),
        ("device_opened", OPENED | {"away_s": 3.21}, "audio: USB Audio is back after 3.2 s (16 kHz mono)"),
        ("connected", CONNECTED, "recogniser: connected to wss://h/v1/listen"),
        ("connected", CONNECTED | {"connection": 2}, "recogniser: connected again to wss://h/v1/listen"),
        ("connection_down", {"reason": "reset", "next_try_in_s": 2.04}, "recogniser: reset; trying again in 2.0 s"),
        ("connection_down", {"reason": "reset", "next_try_in_s": 0.1}, "recogniser: reset; trying again"),
        ("gap", {"start_s": 1.0, "end_s": 3.5, "reason": "window_full"}, "2.5 s of audio lost: window full"),
        ("gap", {"start_s": 1.0, "end_s": 61.0, "reason": "paused"}, "paused for 60 s"),
        ("fault", FAULT | {"request_id": "r1"}, "recogniser: HTTP 401: no such key (request r1)"),
        ("clipping", {"message": "too loud"}, "too loud"),
        ("stopping", {"reason": "SIGINT"}, "stopping by Ctrl-C: waiting for the last words"),
        ("ended", ENDED, "stopped: 12 finals, nothing is left"),
        (
            "ended",
            ENDED | {"exit_code": 1, "finals": 0, "unacknowledged_s": 3.0},
            "ended with exit code 1: no finals, 3.0 s of audio have no words yet: the next start goes on with them",
        ),
        ("ended", ENDED | {"exit_code": 3}, f"ended with exit code 3: 12 finals, nothing is left{WAY}"),
        ("of_tomorrow", {"reason": "why", "number": 3}, "of tomorrow (number 3): why"),
        ("fault", {"other": 1}, "fault (other 1)"),
        (
            "silent",
            {"child": "capture", "seen": "STOPPED", "repeated": 4},
            "the process capture is stopped: somebody sent it SIGSTOP (and 4 more like this)",
        ),
    ],
)
def test_an_event_is_a_sentence(event, fields, text):
    assert sentence(event, fields) == text


def test_every_sentence_is_of_an_event_that_there_is():
    calls = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    words = [each.value for call in calls for each in call.args[:3] if isinstance(each, ast.Constant)]
    assert set(_SENTENCES) - set(words) == set()


# Order


def test_where_to_listen_is_told_once_the_recogniser_is_there():
    publishing, opened = entry("publishing", **PUBLISHING), entry("device_opened", **OPENED)
    assert said(publishing, opened, entry("connected", **CONNECTED)) == [
        "audio: USB Audio (16 kHz mono)",
        "recogniser: connected to wss://h/v1/listen",
        "captions in another terminal: mpengine listen --name desk",
    ]


def test_where_to_listen_is_told_too_when_something_is_wrong():
    lines = said(entry("publishing", **PUBLISHING), entry("fault", logging.WARNING, **FAULT))
    assert lines[1:] == ["captions in another terminal: mpengine listen --name desk"]


def test_what_ends_the_engine_comes_last_and_once():
    fatal = entry("fault", logging.ERROR, **FAULT)
    ended = entry("ended", **ENDED | {"exit_code": 4}, reason=FAULT["message"])
    assert said(fatal, entry("stopping", reason="x"), ended)[1:] == [
        f"ended with exit code 4: 12 finals, nothing is left{WAY[:17]}\n          {WAY[18:]}",
        "error: recogniser: HTTP 401: no such key",
    ]


def test_a_reason_that_no_error_has_told_comes_last():
    assert said(entry("ended", **ENDED | {"exit_code": 1}, reason="capture crashed"))[1:] == ["error: capture crashed"]


def test_an_error_without_a_closing_line_is_not_lost():
    fatal = entry("fault", logging.ERROR, **FAULT)
    assert said(fatal, rest=False) == []
    assert said(fatal) == ["error: recogniser: HTTP 401: no such key"]


@pytest.mark.parametrize("reason", [{"reason": FAULT["message"]}, {}])  # the engine leaves out what a fault has told
def test_one_loss_is_one_line(reason):
    fault = entry("fault", logging.WARNING, **FAULT)
    soon, late = (reason | {"next_try_in_s": wait_s} for wait_s in (0.1, 30.0))
    assert len(said(fault, entry("connection_down", logging.WARNING, **soon))) == 1
    assert said(fault, entry("connection_down", logging.WARNING, **late))[1:] == ["recogniser: trying again in 30 s"]
    # The coordinator leaves the reason out where the line before has it.
    assert len(said(fault, entry("connection_down", next_try_in_s=0.1))) == 1
    assert said(fault, entry("connection_down", next_try_in_s=30.0))[1:] == ["recogniser: trying again in 30 s"]


# The look


@pytest.mark.parametrize("columns", [12, 30, 50, 80, 120])
def test_lines_are_broken_at_words_at_any_width(columns):
    text = "the microphone went away; " * 8
    (line,) = written(entry("fault", logging.WARNING, source="capture", message=text), columns=columns)
    rows = line.split("\n")
    assert max(width(row) for row in rows) < columns
    assert " ".join(line.split()).endswith(text.strip())
    assert all(row.startswith(" " * 10) for row in rows[1:]) == (columns >= 40)


def test_without_a_terminal_a_line_is_not_broken():
    assert written(entry("fault", message="word " * 100), columns=None)[0].count("\n") == 0


def test_colours_say_how_bad_it_is_and_end_with_each_row():
    (line,) = written(entry("fault", logging.ERROR, message="word " * 30), columns=50, has_codes=True)
    assert line.startswith(f"\r\x1b[K\x1b[2m{CLOCK}\x1b[0m  \x1b[31merror: word")
    assert line.count("\x1b[31m") == line.count("\n") + 1
    assert line.count("\x1b[0m") == line.count("\n") + 2


def test_no_color_means_none():
    (line,) = written(entry("fault", logging.WARNING, message="x"), has_codes=True, has_colours=False)
    assert line == f"\r\x1b[K{CLOCK}  x"


def test_a_line_of_the_level_debug_has_the_process_and_the_fields():
    assert said(entry("told", logging.DEBUG, child="capture", sample=3)) == ["supervisor told child=capture sample=3"]


def test_words_of_a_peer_neither_act_on_the_terminal_nor_look_like_a_line_of_the_log():
    (line,) = said(entry("fault", logging.WARNING, message=f"a\x1b[2J\x9b\n{CLOCK}  stopped: \u202e"))
    assert line == f"a\ufffd[2J\ufffd {CLOCK} stopped: \ufffd"


def test_a_traceback_keeps_its_lines():
    lines = said(entry("uncaught_exception", logging.CRITICAL, exception="Traceback\n  File x\nOSError: y"))
    assert lines[0].split("\n")[1:] == [" " * 10 + "File x", " " * 10 + "OSError: y"]


def test_a_secret_is_struck_out_before_a_line_is_broken():
    secret = "0123456789abcdefghijklmnopqrstuvwxyz"
    (line,) = written(entry("fault", message=f"key {secret} is bad"), columns=12, strike_out=StrikeOut(secret))
    assert "***" in line
    assert not any(secret[place : place + 4] in line for place in range(len(secret) - 3))


def test_a_line_of_ten_thousand_words_is_cut():
    assert len(written(entry("fault", message="wörd " * 10_000), columns=50)[0].encode()) < 4096


class Stream:
    def __init__(self, answer):
        self.answer = answer

    def isatty(self):
        if self.answer is None:
            raise ValueError
        return self.answer


@pytest.mark.parametrize(
    ("asked", "stream", "found"),
    [
        (None, Stream(True), "person"),
        (None, Stream(False), "text"),
        (None, Stream(None), "text"),
        (None, None, "text"),
        ("json", Stream(True), "json"),
        ("person", None, "person"),
    ],
)
def test_a_terminal_decides_where_nobody_asks(asked, stream, found):
    assert format_for(asked, stream) == found


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("", 10, [""]),
        ("one two three", 8, ["one two", "three"]),
        ("one two three", 7, ["one", "two", "three"]),
        ("abcdefghij k", 6, ["abcde", "fghij", "k"]),
        ("日本語 日本", 7, ["日本語", "日本"]),
        ("日本語日本", 6, ["日本", "語日", "本"]),
        ("日", 1, ["日"]),
        ("e\u0301e\u0301e\u0301", 3, ["e\u0301e\u0301", "e\u0301"]),
    ],
)
def test_text_is_broken_at_words_and_within_long_ones(text, columns, lines):
    assert wrapped(text, columns) == lines


@pytest.mark.parametrize("unit", ["s", "MB", "dBFS)", "Hz,", "%", "s."])
def test_a_number_stays_with_its_unit(unit):
    text = f"it has 5.4 {unit} more"
    assert all(f"5.4 {unit}" in " | ".join(wrapped(text, columns)) for columns in range(len(f"5.4 {unit}") + 1, 30))


def test_a_number_before_another_word_does_not():
    assert wrapped("he has 5 sons", 10) == ["he has 5", "sons"]


# Debug


def test_an_attempt_tells_no_secret():
    url = "wss://user:hush1@h/v1/listen?model=nova-3&callback=https://u:hush2@h&token=hush3"
    line = str(tracing.attempt(3, "wss://h/v1/listen", url, ("Authorization: Token hush4",)))
    assert "hush" not in line
    assert "model=nova-3 callback=… token=…" in line
    assert line.endswith("headers=Authorization")


def test_of_a_text_that_is_sent_only_the_length_is_told():
    event = tracing.performed(3, SendText('{"token":"hush"}'), 0.5)
    assert str(event) == "text_sent connection=3 after_s=0.500 characters=16"


def test_what_ends_an_attempt_is_told_with_its_time():
    failed = tracing.happened(3, events.Failed("no route"), 0.25)
    assert str(failed) == 'failed connection=3 after_s=0.250 reason="no route"'
    assert 'answer="dg-request-id=r1"' in str(tracing.happened(3, events.Opened({"dg-request-id": "r1"}), 0.1))
    assert tracing.happened(3, events.Received("words that somebody said"), 0.1) is None


@pytest.mark.parametrize("seen", Seen)
def test_what_is_seen_of_a_silent_process_is_told_in_words_of_a_person(seen):
    (line,) = said(entry("silent", logging.WARNING, child="capture", seen=seen))
    assert line.startswith("the process capture is ") or "waits for" in line
    assert seen not in line


@pytest.mark.parametrize(
    ("line", "columns", "lines"),
    [
        ("", 20, [""]),
        ("it  fits", 20, ["it  fits"]),
        ("no second column in this", 20, ["no second column in", "this"]),
        ("  run    the words keep their second place", 36, ["  run    the words keep their", "         second place"]),
        ("  a command    words that have no room", 30, ["  a command", "      words that have no room"]),
        (f"{' ' * 40}words far to the right of it", 30, ["      words far to the right", "      of it"]),
    ],
)
def test_a_second_column_keeps_its_place_or_stands_below(line, columns, lines):
    assert hanging(line, columns) == lines


@given(line=st.text(alphabet=" ab\u4e00", max_size=80), columns=st.integers(20, 100))
def test_nothing_but_spaces_is_lost_where_a_line_is_broken(line, columns):
    lines = hanging(line, columns)
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")
    assert all(width(each) < columns for each in lines)
