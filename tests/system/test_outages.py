"""Refusals and outages: what is permanent ends at once, what passes is waited for, and nothing grows meanwhile.

MPENGINE_OUTAGE_SECONDS makes the outage longer than the few seconds of the default.
"""

import itertools
import os

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first

OUTAGE_S = int(os.environ.get("MPENGINE_OUTAGE_SECONDS", "6"))
CATCH_UP = 1.25 if OUTAGE_S >= 60 else 4.0
TREND_S = 6 / (CATCH_UP - 1)  # so long takes it to work off six seconds
BYTES_PER_S = 2 * 16000


def behind(frames):
    """At each frame's time on the wire: the time, and how far the audio was behind that, in seconds of any zero."""
    return [(frame.at, frame.at - (frame.position + len(frame.data)) / BYTES_PER_S) for frame in frames]


def assert_falls(points):
    """As long as more than a second is left to be worked off, less is left `TREND_S` seconds later."""
    level_s = min(behind_s for _, behind_s in points)  # of live audio
    later = iter(points)
    at, after = next(later)
    for began_at, before in points:
        while at < began_at + TREND_S:
            if (following := next(later, None)) is None:
                return
            at, after = following
        if after > level_s + 1.0:
            assert after < before, (at - points[0][0], before - level_s, after - level_s)


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "bad_request", 2),
        (402, "payment_required", 4),
        (403, "forbidden", 4),
        (404, "not_found", 2),
    ],
)
def test_a_permanent_refusal_is_tried_once(microphone, engine, status, code, exit_code):
    with FakeDeepgram(holds_upgrades=True) as server:
        server.refuse(status, {"dg-error": "the service's own words"}, times=100)
        running = engine(byok(server), microphone)
        listen_first(running, server)
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["fatal"])
        assert error["code"] == code
        assert error["message"] == f"refused by the service: HTTP {status}: the service's own words"
        assert running.wait() == exit_code
        assert len(server.attempts) == 1
        assert error["request_id"] == server.attempts[0].request_id
        assert [m["code"] for m in running.bus.of_type("error")] == [code]
    running.assert_nothing_left()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_refusal_is_tried_again_and_the_status_says_when(microphone, engine, status):
    with FakeDeepgram() as server:
        server.refuse(status, {"dg-error": "come back later"}, times=3)
        running = engine(byok(server), microphone)
        waiting = running.bus.wait_for(
            lambda m: m["type"] == "status" and m["children"]["streaming"]["next_try_in_s"] is not None
        )
        assert waiting["children"]["streaming"]["state"] == "RUNNING"
        assert f"HTTP {status}: come back later" in waiting["reason"]
        running.wait_for_state("running", timeout=60)
        assert len(server.attempts) == 4
        assert all(not m["fatal"] for m in running.bus.of_type("error"))
        running.stop()


@pytest.mark.slow
def test_through_an_outage_nothing_grows_and_the_backlog_is_worked_off(microphone, engine):
    server = FakeDeepgram(echoing=True)
    with server:
        running = engine(byok(server) | {"buffer": {"catch_up": CATCH_UP}}, microphone)
        running.wait_for_state("running")
        calm = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["acknowledged_s"] > 2, 30)
    worst = running.bus.wait_for(
        lambda m: m["type"] == "metrics" and m["captured_s"] > calm["captured_s"] + OUTAGE_S, OUTAGE_S + 20
    )
    assert worst["backlog_s"] > OUTAGE_S - 2
    server.start()
    try:
        # Up to ten seconds of backoff may pass before the server is found again; they add to the backlog.
        limit_s = 30 + (worst["backlog_s"] + 10) / (CATCH_UP - 1)
        over = running.bus.wait_for(
            lambda m: m["type"] == "metrics" and m["seq"] > worst["seq"] and m["backlog_s"] < 0.5, limit_s
        )
        connection = server.connections[-1]
        frames = connection.of_kind("audio")
        assert_falls(behind(frames))
        assert over["backlog_s"] < worst["backlog_s"] - 1
        for name in ("capture", "streaming", "supervisor"):
            before, after = (m["children"][name]["rss_mb"] for m in (calm, over))
            print(f"{name}: {before} MB before, {after} MB after {OUTAGE_S} s")
            assert after - before < 3
        sent_s, taken_s = connection.samples / 16000, frames[-1].at - frames[0].at
        assert sent_s <= CATCH_UP * taken_s + 1.2  # a second of credit at the start
        assert running.bus.of_type("gap") == []
        assert running.stop() == 0
        finals = running.bus.finals()
        assert finals[0]["start_s"] == pytest.approx(0, abs=0.001)
        for before, after in itertools.pairwise(finals):
            assert after["start_s"] == pytest.approx(before["end_s"], abs=0.002)
    finally:
        running.close()
        server.close()
