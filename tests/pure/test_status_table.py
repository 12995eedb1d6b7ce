"""The status on one screen."""

import msgspec
import pytest

from mpengine.cli.status import table
from mpengine.shared import messages

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
        "metrics": METRICS,
        "children": {
            "capture": messages.ChildStatus(state="RUNNING", pid=4712, restarts=1),
            "streaming": messages.ChildStatus(
                state="BACKOFF", restarts=4, next_try_in_s=0.5, reason="HTTP 503: no explanation"
            ),
        },
    }
    return messages.StatusAnswer(**{**options, **fields})


def test_the_whole_table():
    assert table(answer()).splitlines() == [
        "engine      mic (pid 4711, byok mode)",
        "state       running",
        "device      USB Microphone",
        "recogniser  wss://api.deepgram.com/v1/listen (connection 3)",
        "results     ipc:///run/mic/results",
        "uptime      01:02:03",
        "audio       captured 100.0 s, sent 99.5 s, transcribed 98.0 s, acknowledged 97.2 s",
        "waiting     backlog 0.5 s (caught up in 2.0 s), lag 1.5 s, unacknowledged 2.8 s",
        "trouble     2 reconnects, 1 restart, lost 0.0 s, replayed 3.0 s",
        "",
        "PROCESS     STATE         PID RESTARTS    CPU_S  RSS_MB  REASON",
        "capture     RUNNING      4712        1     12.3    15.0",
        "streaming   BACKOFF         -        4        -       -  HTTP 503: no explanation (next try in 0.5 s)",
    ]


def rows(**fields):
    return dict(line.split(maxsplit=1) for line in table(answer(**fields)).splitlines() if line)


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
    child = messages.ChildStatus(state="BACKOFF", reason="\x1b[2J\nsecond line")
    text = table(answer(reason="\x1b]0;x\x07", device="USB\r", endpoint="\x9b", children={"cap\x08ture": child}))
    assert set(filter(lambda character: not character.isprintable(), text)) == {"\n"}
    assert len(text.splitlines()) == 12
