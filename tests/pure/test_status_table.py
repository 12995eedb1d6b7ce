"""The status on one screen."""

import re

import msgspec
import pytest

from mpengine.cli.status_table import drawn
from mpengine.cli.target import read_status
from mpengine.cli.terminal.drawing import Output, bar
from mpengine.cli.terminal.in_place import screenful
from mpengine.shared import messages
from mpengine.shared.text import beginning, width

METRICS = messages.Metrics(
    captured_s=100.0,
    sent_s=99.5,
    acknowledged_s=97.25,
    transcribed_s=98.0,
    backlog_s=0.5,
    catch_up_s=2.0,
    lag_s=1.5,
    reconnects=2,
    restarts=1,
    dropped_s=0.0,
    replayed_s=3.0,
    last={},
    children={"capture": messages.ChildMetrics(cpu_s=12.34, rss_mb=15.0)},
    uptime_s=3723.0,
)


def table(answer):
    return "\n".join(drawn(answer, Output()))


def child(state="RUNNING", **fields):
    return messages.ChildAnswer(state=state, **fields)


def answer(**fields):
    options = {
        "name": "mic",
        "pid": 4711,
        "mode": "byok",
        "state": "running",
        "publish": "ipc:///run/mic/results",
        "device": "USB Microphone",
        "endpoint": "wss://api.deepgram.com/v1/listen",
        "connection": 3,
        "unacknowledged_s": 2.75,
        "level": messages.Level(rms_dbfs=-23.46, peak_dbfs=-12.0, digital_silence=False),
        "metrics": METRICS,
        "children": {
            "capture": child(pid=4712, restarts=1, up_s=3600.0, last_end="killed by SIGKILL", last_end_ago_s=3601.0),
            "streaming": child("BACKOFF", restarts=4, next_try_in_s=0.5, reason="HTTP 503: no explanation"),
        },
    }
    return messages.StatusAnswer(**{**options, **fields})


def test_the_whole_table():
    assert table(answer()).splitlines() == [
        "engine      mic (pid 4711, byok mode)",
        "state       running",
        "device      USB Microphone",
        "level       -23.5 dBFS (peak -12.0 dBFS)",
        "recogniser  wss://api.deepgram.com/v1/listen (connection 3)",
        "results     ipc:///run/mic/results",
        "uptime      01:02:03",
        "audio       captured 100.0 s, sent 99.5 s, transcribed 98.0 s, acknowledged 97.2 s",
        "waiting     backlog 0.5 s (to catch up takes 2.0 s), lag 1.5 s, unacknowledged 2.8 s",
        "trouble     2 reconnects, 1 restart, lost 0.0 s, replayed 3.0 s",
        "",
        "PROCESS     STATE         PID RESTARTS           UP    CPU_S  RSS_MB",
        "capture     running      4712        1     01:00:00     12.3    15.0",
        "streaming   backoff         -        4            -        -       -",
        "",
        "TROUBLE     AGO          WHY",
        "capture     01:00:01     killed by SIGKILL",
        "streaming   now          HTTP 503: no explanation (next try in 0.5 s)",
    ]


def parts(**fields):
    """The parts of the table, each as its lines."""
    return [part.splitlines() for part in table(answer(**fields)).split("\n\n")]


def rows(**fields):
    return dict(line.split(maxsplit=1) for line in parts(**fields)[0])


def troubles(**fields):
    """The lines of the last part, without the spaces between the columns; none if the part is not there."""
    return [" ".join(line.split()) for part in parts(**fields)[2:] for line in part[1:]]


def test_the_reason_stands_behind_the_state():
    assert rows(state="degraded", reason="no route")["state"] == "degraded (no route)"


def test_what_is_not_known_is_a_dash():
    found = rows(device=None, endpoint=None, connection=0)
    assert (found["device"], found["recogniser"]) == ("-", "- (connection 0)")


def test_without_metrics_their_rows_are_missing():
    assert not {"uptime", "audio", "waiting", "trouble"} & rows(metrics=None).keys()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "00:00:00"), (59.9, "00:00:59"), (86399.0, "23:59:59"), (90061.0, "1 d 01:01:01")]
)
def test_uptime_is_read_as_a_clock(seconds, text):
    metrics = msgspec.structs.replace(METRICS, uptime_s=seconds)
    assert rows(metrics=metrics)["uptime"] == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"reason": "paused", "paused": True}, "running (paused)"),
        ({"state": "degraded", "reason": "no route", "paused": True}, "degraded (paused; no route)"),
        ({"state": "connecting", "paused": True}, "connecting (paused)"),
    ],
)
def test_a_pause_is_shown_once_whatever_else_is_the_matter(fields, text):
    assert rows(**fields)["state"] == text


def test_long_times_are_read_as_a_clock():
    metrics = msgspec.structs.replace(METRICS, captured_s=599.94, sent_s=600.0, transcribed_s=7322.9)
    expected = "captured 599.9 s, sent 00:10:00, transcribed 02:02:02, acknowledged 97.2 s"
    assert rows(metrics=metrics)["audio"] == expected


@pytest.mark.parametrize(("backlog_s", "catch_up_s"), [(0.0, 0.0), (5.0, None)])
def test_without_a_backlog_or_a_pace_there_is_nothing_to_catch_up_with(backlog_s, catch_up_s):
    metrics = msgspec.structs.replace(METRICS, backlog_s=backlog_s, catch_up_s=catch_up_s)
    assert rows(metrics=metrics)["waiting"] == f"backlog {backlog_s} s, lag 1.5 s, unacknowledged 2.8 s"


def test_no_text_from_outside_moves_the_cursor():
    evil = "\x1b[2J\nsecond line"
    children = {"cap\x08ture": child("BACKOFF", reason=evil, last_end=f"{evil}!")}
    text = table(
        answer(reason="\x1b]0;x\x07", device="USB\r", endpoint="\x9b", last_disconnect=evil, children=children)
    )
    assert set(filter(lambda character: not character.isprintable(), text)) == {"\n"}
    assert len(text.splitlines()) == 18


@pytest.mark.parametrize(
    ("level", "text"),
    [
        (None, "-"),
        (messages.Level(rms_dbfs=-120.0, peak_dbfs=-120.0, digital_silence=True), "digital silence"),
        (messages.Level(rms_dbfs=-120.0, peak_dbfs=-101.2, digital_silence=False), "-120.0 dBFS (peak -101.2 dBFS)"),
    ],
)
def test_the_level_is_the_last_one_heard(level, text):
    assert rows(level=level)["level"] == text


def test_without_any_trouble_there_is_no_such_part():
    assert troubles(children={"capture": child()}) == []


ENDED = {"last_end": "killed by SIGKILL", "last_end_ago_s": 2.25}


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        (ENDED, ["capture 2.2 s killed by SIGKILL"]),
        (ENDED | {"reason": "killed by SIGKILL"}, ["capture 2.2 s killed by SIGKILL"]),
        (
            ENDED | {"reason": "killed by SIGKILL", "next_try_in_s": 1.0},
            ["capture 2.2 s killed by SIGKILL (next try in 1.0 s)"],
        ),
        (
            ENDED | {"reason": "no route", "next_try_in_s": 1.0},
            ["capture now no route (next try in 1.0 s)", "capture 2.2 s killed by SIGKILL"],
        ),
        ({"reason": "no route"}, ["capture now no route"]),
    ],
    ids=["it works again", "not yet", "it waits", "something else is the matter", "it never ended"],
)
def test_why_a_child_is_in_trouble_or_was_is_told(fields, lines):
    assert troubles(children={"capture": child(**fields)}) == lines


def test_why_the_last_connection_was_lost_is_told():
    told = troubles(children={"capture": child()}, last_disconnect="reset", last_disconnect_ago_s=7322.0)
    assert told == ["connection 02:02:02 reset"]


def test_the_answer_of_an_engine_before_these_fields_is_read():
    children = {"capture": {"state": "RUNNING", "pid": 7, "restarts": 1}}
    body = msgspec.json.encode({"type": "status", "state": "running", "children": children})
    assert "capture     running         7        1            -" in table(read_status(body))


def test_an_answer_arrives_as_it_was():
    whole = answer(last_disconnect="reset", last_disconnect_ago_s=1.5)
    assert read_status(messages.encode(whole)) == whole


# In place on a terminal


@pytest.mark.parametrize(
    ("text", "columns", "kept"),
    [
        ("short", 20, "short"),
        ("", 20, ""),
        ("exactly19characters", 20, "exactly19characters"),
        ("exactly20characters!", 20, "exactly20characters"),
        ("日本語", 7, "日本語"),
        ("日本語", 6, "日本"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301"),
        ("कि", 2, ""),
        ("aकि", 3, "a"),
        ("abc", 1, ""),
        ("abc", 0, ""),
    ],
)
def test_of_a_line_the_beginning_is_kept_that_fits(text, columns, kept):
    assert beginning(text, columns) == kept


def test_a_drawing_leaves_nothing_of_the_one_before():
    assert screenful(["one", "two"], 24) == "\x1b[Hone\x1b[K\r\ntwo\x1b[J"


def test_a_drawing_never_scrolls_the_terminal_and_says_what_is_left_out():
    assert screenful(["1", "2", "3"], 3) == "\x1b[H1\x1b[K\r\n2\x1b[K\r\n3\x1b[J"
    assert screenful(["1", "2", "3", "4"], 3) == "\x1b[H1\x1b[K\r\n2\x1b[K\r\n(2 more lines)\x1b[J"


# On terminals of any width

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(columns, *, has_bars=False, **fields):
    """The lines without their colours."""
    return [
        ANSI.sub("", line).rstrip() for line in drawn(answer(**fields), Output(columns, blocks=True), has_bars=has_bars)
    ]


LONG = "the recogniser refuses the engine: HTTP 402: Payment Required, without any credit (ASR_PAYMENT_REQUIRED)"


@pytest.mark.parametrize("columns", [30, 49, 79, 119])
def test_nothing_is_cut_on_a_terminal_of_any_width(columns):
    children = {"capture": child(pid=4712, restarts=12, up_s=93600.0), "streaming": child("BACKOFF", reason=LONG)}
    lines = on_terminal(columns, state="degraded", reason=LONG, has_bars=True, children=children)
    assert max(map(width, lines)) <= columns
    letters = "".join(" ".join(lines).split())
    for said in (
        LONG,
        "4712",
        "restarts 12" if columns < 70 else "12",
        "1 d 02:00:00",
        "backoff",
        "-23.5 dBFS",
        "/listen",
    ):
        assert "".join(said.split()) in letters


def test_where_the_table_does_not_fit_each_process_has_lines_of_its_own():
    lines = on_terminal(49)
    place = lines.index("capture")
    assert lines[place : place + 3] == [
        "capture",
        "    state running, pid 4712, restarts 1,",
        "    up 01:00:00, cpu_s 12.3, rss_mb 15.0",
    ]


def test_a_number_stands_beside_what_it_is_of():
    lines = on_terminal(49, has_bars=True, level=messages.Level(rms_dbfs=-22.6, peak_dbfs=-12.3, digital_silence=False))
    place = next(number for number, line in enumerate(lines) if line.startswith("level"))
    assert [line.strip() for line in lines[place : place + 2]] == [
        "level       ██████·│·· -22.6 dBFS",
        "(peak -12.3 dBFS)",
    ]


def test_states_have_their_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = drawn(answer(state="degraded"), Output(80))
    assert "\x1b[33mdegraded\x1b[0m" in lines[1]
    assert any("\x1b[32mrunning" in line for line in lines)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_gets_none(monkeypatch, environment):
    for name, value in ({"TERM": "xterm-256color"} | environment).items():
        monkeypatch.setenv(name, value)
    text = "\n".join(drawn(answer(state="failed"), Output(80)))
    assert re.search(r"\x1b\[[0-9;]*(3|4|9|10)[0-9]m", text) is None
    assert ("\x1b" in text) is ("TERM" not in environment)  # bold and dim are no colours


def test_in_a_pipe_nothing_is_coloured_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b" not in table(answer())


# Bars


@pytest.mark.parametrize(
    ("level", "begins"),
    [
        (messages.Level(rms_dbfs=-30.0, peak_dbfs=-12.0, digital_silence=False), "██████████·····│···· -30.0 dBFS"),
        (messages.Level(rms_dbfs=0.0, peak_dbfs=0.0, digital_silence=False), "███████████████████│ 0.0 dBFS"),
        (
            messages.Level(rms_dbfs=-120.0, peak_dbfs=-120.0, digital_silence=True),
            "···················· digital silence",
        ),
        (None, "···················· -"),
    ],
)
def test_the_level_has_a_bar_with_a_mark_at_the_peak(level, begins):
    (line,) = [line for line in on_terminal(79, has_bars=True, level=level) if line.startswith("level")]
    assert line.removeprefix("level       ").startswith(begins)


def test_what_waits_has_a_bar_as_long_as_the_window():
    lines = on_terminal(119, has_bars=True, unacknowledged_s=150.0, buffer_s=300.0)
    assert any(line.startswith("waiting     ██████████·········· backlog 0.5 s") for line in lines)
    assert any(line.startswith("waiting     backlog 0.5 s") for line in on_terminal(119, has_bars=True))


def test_a_terminal_without_such_letters_gets_others():
    assert bar(0.5, 10, Output(80), mark=0.8).plain == "#####..|.."
    assert bar(7.0, 4, Output(80)).plain == "####"
    assert bar(-1.0, 4, Output(80), mark=-1.0).plain == "...."
