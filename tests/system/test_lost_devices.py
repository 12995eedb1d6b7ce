"""Devices that are missing at the start, and that go away: what the engine says, and what it starts again (nothing)."""

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.manager import Manager
from tests.rig.microphone import VirtualMicrophone
from tests.rig.sound_card import Card

QUICK = {"buffer": {"catch_up": 20.0}}
USB = Card(3, "Device", "USB Microphone")
WANTED = {"audio": {"device": "USB Microphone"}}


@pytest.fixture
def manager():
    made = Manager()
    yield made
    made.close()


@pytest.fixture
def server():
    with FakeDeepgram(echoing=True) as made:
        yield made


def errors(running):
    return [(m["code"], m["fatal"]) for m in running.bus.of_type("error")]


def captures(running):
    """The pids of capture, and how often it was started again."""
    children = [m["children"]["capture"] for m in running.bus.of_type("status")]
    return {child["pid"] for child in children if child["pid"]}, children[-1]["restarts"]


def is_lost(message):
    return message["type"] == "status" and message["state"] == "degraded" and message["device"] is None


def is_hang(message):
    return "does not answer: restart it" in message["reason"]


def wait_until_lost(running):
    """The status that says so."""
    return running.bus.wait_for(is_lost, what="the loss")


def troubles(running):
    """The lines of the log that a person would look at."""
    return [line for line in running.log_text().splitlines() if " WARNING " in line or " ERROR " in line]


def test_on_a_terminal_a_missing_device_is_one_line_and_exit_code_3(cards, engine, server):
    running = engine(byok(server) | QUICK | WANTED, cards)
    assert running.wait() == 3
    (line,) = troubles(running)
    assert "code=device" in line
    assert server.connections == []
    running.assert_nothing_left()


@pytest.mark.slow
def test_a_device_that_hangs_while_portaudio_starts_is_one_line_and_exit_code_3(cards, engine, server):
    cards.add("mic", card=USB).set(open="HANG")
    running = engine(byok(server) | QUICK | WANTED, cards)
    assert running.wait() == 3
    (line,) = [line for line in troubles(running) if " silent " not in line]
    assert "code=device" in line
    assert "does not answer" in line
    running.assert_nothing_left()


@pytest.mark.long
@pytest.mark.slow
def test_a_device_that_hangs_while_portaudio_starts_is_waited_for(cards, engine, server, manager):
    mic = cards.add("mic", card=USB)
    mic.set(open="HANG")
    running = engine(byok(server) | QUICK | WANTED, cards, manager, arguments=("--wait",))
    status = wait_until_lost(running)
    assert "does not answer" in status["reason"]
    manager.wait_for("READY=1")
    mic.set(open="ok")
    running.wait_for_state("running")
    assert errors(running) == [("device", False)]
    assert running.stop() == 0


@pytest.mark.slow
def test_under_a_service_manager_it_is_waited_for_and_nothing_is_started_again(cards, engine, server, manager):
    mic = cards.add("mic", card=USB)
    cards.unplug("mic")
    running = engine(byok(server) | QUICK | WANTED, cards, manager, arguments=("--wait",))
    status = wait_until_lost(running)
    assert status["reason"].startswith("capture: ")
    manager.wait_for("READY=1")
    manager.wait_for(f"STATUS=degraded: {status['reason']}")
    answer = running.query({"type": "status"})
    assert (answer["device"], answer["level"]) == (None, None)
    assert answer["children"]["capture"]["state"] == "running"
    assert answer["children"]["capture"]["next_try_in_s"] is not None
    # By its own clock: it has tried for five seconds.
    running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] > 5.0)
    assert server.connections == []
    assert errors(running) == [("device", False)]
    assert len(troubles(running)) <= 2
    cards.plug("mic")
    running.wait_for_state("running")
    assert mic.events("start")
    (pid,), restarts = captures(running)
    assert restarts == 0
    assert running.child_pid("capture") == pid
    assert len(server.connections) == 1
    assert "away_s=" in running.log_text()
    assert manager.count("READY=1") == 1
    assert running.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_a_device_that_comes_back_is_one_error_one_gap_and_one_connection(cards, engine, server, how):
    mic = cards.add("mic", card=USB)
    running = engine(byok(server) | QUICK | WANTED, cards)
    running.wait_for_state("running")
    running.bus.wait_for(lambda m: m["type"] == "transcript")
    (pid,), _ = captures(running)
    cards.unplug("mic", how)
    wait_until_lost(running)
    answer = running.query({"type": "status"})
    assert (answer["device"], answer["level"]) == (None, None)
    assert mic.events("start")
    cards.plug("mic", number=5)
    gap = running.bus.wait_for(lambda m: m["type"] == "gap")
    assert gap["reason"] == "device"
    running.wait_for_state("running")
    assert errors(running) == [("device", False)]
    assert captures(running) == ({pid}, 0)
    assert len(server.connections) == 1
    assert running.stop() == 0
    assert len(running.bus.of_type("gap")) == 1


@pytest.mark.slow
def test_a_run_that_had_a_device_waits_for_it_after_a_kill_too(cards, engine, server):
    cards.add("mic", card=USB)
    running = engine(byok(server) | QUICK | WANTED, cards)
    running.wait_for_state("running")
    running.bus.wait_for(lambda m: m["type"] == "transcript")
    running.kill()
    cards.unplug("mic")
    running.start()
    lost = wait_until_lost(running)
    assert lost["seq"] > 0
    cards.plug("mic")
    running.wait_for_state("running")
    assert running.stop() == 0


# A sound server that hangs


@pytest.mark.long
@pytest.mark.slow
def test_a_sound_server_that_hangs_is_told_and_waited_for_inside(engine, server, manager):
    with VirtualMicrophone() as microphone:
        microphone.stop()
        running = engine(byok(server) | QUICK, microphone, manager, arguments=("--wait",))
        lost = wait_until_lost(running)
        assert is_hang(lost)
        manager.wait_for("READY=1")
        # By its own clock: it has tried more often than connections can wait at the server's socket.
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] > 20.0, 60)
        microphone.go_on()
        running.wait_for_state("running")
        reasons = {m["reason"] for m in running.bus.of_type("status") if m["reason"].startswith("capture: ")}
        assert reasons == {lost["reason"]}
        assert errors(running) == [("device", False)]
        assert len(troubles(running)) == 1
        (_,), restarts = captures(running)
        assert restarts == 0
        running.bus.wait_for(lambda m: m["type"] == "transcript")
        # Later: the process ends in a call that hangs, and the next one waits inside.
        microphone.stop()
        running.bus.wait_for(lambda m: is_lost(m) and "delivered nothing" in m["reason"])
        running.bus.wait_for(lambda m: is_lost(m) and is_hang(m) and m["children"]["capture"]["restarts"] == 1)
        microphone.go_on()
        assert running.bus.wait_for(lambda m: m["type"] == "gap")["reason"] == "device"
        running.wait_for_state("running")
        assert captures(running)[1] == 1
        assert len(errors(running)) == 2
        assert len(server.connections) == 1
        assert running.stop() == 0


# Levels


@pytest.mark.long
@pytest.mark.slow
def test_what_is_wrong_with_the_level_is_told_and_when_it_is_over(cards, engine, server):
    mic = cards.add("mic", card=USB)
    mic.set(signal="clip")
    running = engine(byok(server) | QUICK | WANTED, cards)
    for code, cure in (("clipping", {"signal": "code"}), ("dc_offset", {"dc": 0})):
        if code == "dc_offset":
            mic.set(dc=6000)
        running.bus.wait_for(lambda m, code=code: m["type"] == "error" and m["code"] == code)
        assert [m["code"] for m in running.bus.of_type("error")][-1] == code
        mic.set(**cure)
        running.bus.wait_for(lambda m, code=code: m["type"] == "error" and m["code"] == f"{code}_over")
    levels = running.bus.of_type("level")
    assert levels[0]["clipped"] == pytest.approx(1.0, abs=0.1)
    assert levels[-1]["clipped"] == 0.0
    assert [m["fatal"] for m in running.bus.of_type("error")] == [False] * 4
    assert running.stop() == 0
