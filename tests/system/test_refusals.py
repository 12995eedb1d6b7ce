"""Refusals: what has worked is never given up, what never worked ends soon, and with --wait nothing ends.

MPENGINE_ALL_REFUSALS=1 tries every status and close code on an engine that has worked, two minutes long.
"""

import itertools
import os
import time

import pytest

from tests.rig.configs import byok, managed, silent_file
from tests.rig.deepgram import FakeDeepgram
from tests.rig.engine import listen_first
from tests.rig.manager import Manager
from tests.rig.proxy import FakeProxy
from tests.rig.waiting import promised

WAIT = ("--wait",)


@pytest.fixture
def of_a_file(tmp_path):
    """Ten minutes of a file instead of the microphone."""
    return silent_file(tmp_path / "long.wav", 600)


def wait_for_finals(running, count):
    running.bus.wait_until(lambda _: len(running.bus.finals()) >= count, 40, f"{count} finals")


def assert_nothing_lost(running):
    """Finals cover all audio from the start, without a hole."""
    finals = running.bus.finals()
    assert finals[0]["start_s"] == pytest.approx(0, abs=0.001)
    for before, after in itertools.pairwise(finals):
        assert after["start_s"] == pytest.approx(before["end_s"], abs=0.002)
    assert running.bus.of_type("gap") == []


def test_what_has_worked_is_not_given_up(engine, of_a_file):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | of_a_file)
        wait_for_finals(running, 2)
        server.refuse_in_turn(401, 404, 503, headers={"retry-after": "1"})
        server.current.close(1001)
        refused = running.bus.wait_for(lambda m: m["type"] == "status" and "HTTP 404" in m["reason"])
        assert refused["state"] == "degraded"
        assert refused["reason"].startswith("refused by the service: HTTP 404")
        running.wait_for_state("running")
        before = len(server.connections)
        for code in (1008, 4400):
            server.current.send({"type": "Error", "description": "no"})
            server.current.close(code, "DATA-0000")
            before += 1
            server.wait_for_connection(before)
            running.wait_for_state("running")
        wait_for_finals(running, len(running.bus.finals()) + 1)
        assert running.stop() == 0
        assert not any(error["fatal"] for error in running.bus.of_type("error"))
        assert [error["code"] for error in running.bus.of_type("error")].count("unauthorized") == 1
    assert_nothing_lost(running)
    running.assert_nothing_left()


STATUSES = (400, 401, 402, 403, 404, 405, 408, 429, 500, 503)
CLOSES = (1002, 1003, 1007, 1008, 1011, 4400)


@pytest.mark.parametrize("make", [FakeDeepgram, FakeProxy])
def test_after_two_finals_an_engine_outlives_each_answer(engine, of_a_file, make):
    """The service signs its statuses, the proxy does not. Each close comes bare, and after an error."""
    every = 1 if "MPENGINE_ALL_REFUSALS" in os.environ else 9
    answers = [*STATUSES, *CLOSES, *(-code for code in CLOSES)][::every]
    with make(echoing=True) as server:
        running = engine((byok if make is FakeDeepgram else managed)(server) | of_a_file)
        wait_for_finals(running, 2)
        for answer in answers:
            before, connection = len(server.connections), server.current
            degraded = len(running.bus.of_type("status"))
            if answer in STATUSES:
                server.refuse(answer, {"retry-after": "1"} if answer == 429 else None)
                connection.close(1001)
            elif answer < 0:
                connection.send({"type": "error" if make is FakeProxy else "Error", "code": "no", "message": "no"})
                connection.close(-answer, "no")
            else:
                connection.close(answer)
            server.wait_for_connection(before + 1, timeout=60)
            wait_for_finals(running, len(running.bus.finals()) + 1)
            states = [status["state"] for status in running.bus.of_type("status")[degraded:]]
            assert "degraded" in states, answer
            running.wait_for_state("running")
        assert running.stop() == 0
        assert not any(error["fatal"] for error in running.bus.of_type("error"))
    if make is FakeDeepgram:
        assert_nothing_lost(running)
    else:
        words = [word for final in running.bus.finals() for word in final["text"].split() if word != "words"]
        assert words == [str(number) for number in range(1, len(words) + 1)]
    running.assert_nothing_left()


def test_a_supervisor_that_is_started_again_knows_what_has_worked(engine, of_a_file):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | of_a_file)
        wait_for_finals(running, 1)
        running.kill()
        server.refuse_in_turn(401, 403)
        running.start()
        running.bus.wait_for(lambda m: m["type"] == "status" and "HTTP 403" in m["reason"])
        running.wait_for_state("running")
        assert running.stop() == 0
    running.assert_nothing_left()


@pytest.mark.parametrize(("status", "exit_code"), [(404, 2), (403, 4)])
def test_bare_refusals_end_an_engine_that_never_worked_within_five_seconds(engine, of_a_file, status, exit_code):
    with FakeProxy(holds_upgrades=True) as server:
        server.refuse(status, times=100)
        running = engine(managed(server) | of_a_file)
        listen_first(running, server)
        began, limit_s = time.monotonic(), promised(5)
        assert running.wait() == exit_code
        assert time.monotonic() - began < limit_s
        assert len(server.attempts) == 3
        last = running.bus.of_type("error")[-1]
        assert last["fatal"]
        assert last["message"] == f"refused by somebody on the way (a proxy?): HTTP {status}: {HINTS[status]}"
    running.assert_nothing_left()


HINTS = {403: "Forbidden", 404: "Not Found"}


def test_a_recogniser_that_refuses_the_audio_after_the_upgrade_ends_it_in_its_words(engine, of_a_file):
    def refuse(connection, _samples):
        connection.send({"type": "Error", "description": "only 8 kHz"})
        connection.close(4400, "")
        return []

    with FakeDeepgram(responder=refuse, holds_upgrades=True) as server:
        running = engine(byok(server) | of_a_file)
        listen_first(running, server)
        assert running.wait() == 2
        assert len(server.connections) == 3
        told = [(error["message"], error["fatal"]) for error in running.bus.of_type("error")]
    assert told == [("only 8 kHz", False), ("refused by the service: only 8 kHz (closed: 4400)", True)]


def test_a_key_that_is_mended_brings_a_waiting_engine_to_life(engine, of_a_file, tmp_path):
    key = tmp_path / "deepgram.key"
    key.write_text("the-wrong-one\n")
    remote = {"byok_api_key": None, "byok_api_key_file": str(key)}
    with FakeDeepgram(echoing=True, api_key="the-right-one") as server:
        server.refuse(401, {"retry-after": "200"})
        running = engine(byok(server, **remote) | of_a_file, arguments=WAIT)
        refused = running.wait_for_state("degraded")
        assert "HTTP 401" in refused["reason"]
        assert refused["children"]["streaming"]["next_try_in_s"] > 100
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["refused_s"] > 0 and m["backlog_s"] > 0)
        limit_s = promised(2)
        key.write_text("the-right-one\n")
        running.wait_for_state("running", timeout=limit_s)
        wait_for_finals(running, 2)
        assert running.stop() == 0
    assert_nothing_lost(running)
    assert "the-right-one" not in running.log_text()
    running.assert_nothing_left()


@pytest.mark.long
@pytest.mark.parametrize("make", [FakeDeepgram, FakeProxy])
def test_an_engine_that_waits_outlives_all_refusals(engine, of_a_file, make):
    with make(echoing=True, holds_upgrades=True) as server:
        server.refuse_in_turn(404, 404, 404, 403)
        tables = byok(server) if make is FakeDeepgram else managed(server)
        running = engine(tables | of_a_file, arguments=WAIT)
        listen_first(running, server)
        running.wait_for_state("degraded")
        running.wait_for_state("running", timeout=60)
        assert len(server.attempts) == 5
        errors = [error["code"] for error in running.bus.of_type("error") if error["source"] == "streaming"]
        assert errors == ["not_found"]
        assert running.stop() == 0
    running.assert_nothing_left()


def test_an_engine_that_waits_for_its_device_is_ready_for_systemd(microphone, engine):
    manager = Manager()
    try:
        with FakeDeepgram() as server:
            running = engine(byok(server) | {"audio": {"device": "Røde"}}, microphone, manager, arguments=WAIT)
            missing = running.wait_for_state("degraded")
            # It tries again and again, and no process is started for that.
            running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] > 4.0)
            assert running.query({"type": "status"})["children"]["capture"]["restarts"] == 0
            assert "no audio input device 'Røde'" in missing["reason"]
            manager.wait_for("READY=1")
            assert running.stop() == 0
            assert not any(error["fatal"] for error in running.bus.of_type("error"))
    finally:
        manager.close()
    running.assert_nothing_left()


def test_a_wrong_configuration_ends_an_engine_that_waits(engine, tmp_path):
    with FakeDeepgram() as server:
        running = engine(byok(server) | {"audio": {"source": str(tmp_path / "none.wav")}}, arguments=WAIT)
        assert running.wait() == 2
    running.assert_nothing_left()
