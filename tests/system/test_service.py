"""The engine under a service manager: its notices on a real socket, from the start to the end."""

import os
import signal

import pytest

from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.manager import Manager

WATCHDOG_S = 3.0  # fed twice in that time
pytestmark = pytest.mark.slow


@pytest.fixture
def manager():
    made = Manager(WATCHDOG_USEC=str(round(WATCHDOG_S * 1e6)))
    yield made
    made.close()


def environment_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def test_the_watchdog_is_fed_while_the_work_gets_on_and_only_then(microphone, engine, manager):
    with FakeDeepgram(echoing=True) as server:
        # So patient that nobody is killed meanwhile.
        running = engine(byok(server) | {"supervisor": {"patience": 10.0}}, microphone, manager)
        manager.wait_for("READY=1")
        running.wait_for_state("running")
        manager.wait_for("STATUS=running")
        assert manager.count("STOPPING=1") == 0
        tree = {each.pid for each in running.process_tree()}
        assert tree == {running.pid, running.zygote_pid(), *map(running.child_pid, ("capture", "streaming"))}
        for pid in tree - {running.pid}:
            assert b"NOTIFY_SOCKET" not in environment_of(pid)
            assert b"WATCHDOG" not in environment_of(pid)
        assert b"NOTIFY_SOCKET" in environment_of(running.pid)

        manager.wait_for("WATCHDOG=1", manager.count("WATCHDOG=1") + 2)
        stopped = running.signal_child("capture", signal.SIGSTOP)
        # By the engine's own clock: its loop must have run for so long.
        seen = len(running.bus.of_type("metrics"))
        since_s = running.bus.wait_until(lambda _: running.bus.of_type("metrics")[seen:])[0]["uptime_s"]
        late_s = since_s + WATCHDOG_S / 2 + 0.5  # half of the time it may be late
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] >= late_s, 30)
        fed = manager.count("WATCHDOG=1")
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] >= late_s + WATCHDOG_S / 2 + 0.5, 30)
        assert manager.count("WATCHDOG=1") == fed
        os.kill(stopped, signal.SIGCONT)
        manager.wait_for("WATCHDOG=1", fed + 1)
        assert running.stop() == 0
        manager.wait_for("STOPPING=1")
        assert manager.count("READY=1") == 1
        # Nobody was restarted for it: that is for the limits of silence, which are longer here.
        assert "hung" not in {message["code"] for message in running.bus.of_type("error")}
        assert running.bus.of_type("status")[-1]["children"]["capture"]["restarts"] == 0
    running.assert_nothing_left()
