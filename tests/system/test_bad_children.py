"""Children that misbehave, as real processes: what the supervisor does and publishes, and when.

Lower bounds of times are exact: they run from what the bad child noted before it went bad, or from the start, to what
was published. Upper bounds are generous.
"""

import contextlib
import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.rig.bad_child import EXIT_CODE
from tests.rig.bad_engine import ALL, command
from tests.rig.configs import byok
from tests.rig.deepgram import FakeDeepgram
from tests.rig.processes import process_info
from tests.rig.waiting import promised, scaled, wait_until

ROOT = Path(__file__).parents[2]
# Short, but long enough for real children on a busy machine.
HANG_LIMIT_S, FIRST_FRAME_LIMIT_S = 3.0, scaled(4.0)
FOUND_S = 3.0  # without a limit of silence, on a machine that has time for it
ABORT_S = 1.0  # between SIGABRT and SIGKILL
LEAVE_LIMIT_S = 3.0  # between SIGTERM and SIGKILL
BUSY_S = scaled(10.0)
BACKOFF_S, BACKOFF_CEILING_S = 0.1, 0.15
SUPERVISOR = {
    "hang_limit_s": HANG_LIMIT_S,
    "first_frame_limit_s": FIRST_FRAME_LIMIT_S,
    "backoff_s": BACKOFF_S,
    "backoff_ceiling_s": BACKOFF_CEILING_S,
    "stop_limit_s": 6.0,
}
OTHER = {"capture": "streaming", "streaming": "capture"}


class BadEngine:
    """An engine in which `child` is bad in its first `lives`; `supervisor` is its table of that name."""

    def __init__(self, start, microphone, server, child, kind, lives=ALL, supervisor=SUPERVISOR):
        self.child = child
        self.started_ns = time.time_ns()
        self.running = start(
            byok(server) | {"supervisor": supervisor, "buffer": {"catch_up": 20.0}},
            microphone,
            command=command(child, kind, lives),
            environment={"PYTHONPATH": str(ROOT)},
        )

    @property
    def bus(self):
        return self.running.bus

    def noted_ns(self, what):
        """When the bad children were `born`, or went `bad`, in order."""
        found = re.findall(rf"^rig: {what} \d+ (\d+)$", self.running.log_text(), re.MULTILINE)
        return [int(time_ns) for time_ns in found]

    def statuses(self, child):
        """What was published of a child, with the message's time; 0 for the answer to the rig's own question."""
        return [(m["time_ns"], m["children"][child]) for m in self.bus.of_type("status")]

    def errors(self):
        """What was published, but for the remark that the microphone is silent, which it is."""
        return [m for m in self.bus.of_type("error") if m["code"] != "digital_silence"]

    def pids(self, child):
        """The pids of its lives, in order."""
        return list(dict.fromkeys(status["pid"] for _, status in self.statuses(child) if status["pid"]))

    def wait_for_error(self, code):
        return self.bus.wait_for(lambda m: m["type"] == "error" and m["code"] == code, 30, f"error {code}")

    def wait_for_life(self, number):
        """Wait for the life after `number` restarts; when it was published, and its status."""

        def begun(_):
            lives = [(at_ns, status) for at_ns, status in self.statuses(self.child) if at_ns and status["pid"]]
            return next((life for life in lives if life[1]["restarts"] == number), None)

        return self.bus.wait_until(begun, 30, f"restart {number} of {self.child}")

    def assert_other_untouched(self):
        other = OTHER[self.child]
        (pid,) = self.pids(other)
        assert process_info(pid).running
        assert {status["restarts"] for _, status in self.statuses(other)} == {0}
        assert not [m for m in self.errors() if m["source"] == other]

    def stop(self):
        """It ends cleanly, and nothing is left; how long that took in seconds."""
        assert self.running.stop() == 0
        self.running.assert_nothing_left()
        statuses = self.bus.of_type("status")
        assert statuses[-1]["state"] == "stopped"
        stopping = next(m for m in statuses if m["state"] in {"stopping", "stopped"})
        return seconds(stopping["time_ns"], statuses[-1]["time_ns"])


def seconds(first_ns, last_ns):
    return (last_ns - first_ns) / 1e9


# Those that end


@pytest.mark.parametrize(
    ("child", "kind", "how"),
    [("capture", "exits_at_once", f"exit code {EXIT_CODE}"), ("streaming", "dies", "killed by SIGSEGV")],
)
def test_one_that_dies_again_and_again_is_started_again_for_ever_but_ever_later(microphone, engine, child, kind, how):
    with FakeDeepgram() as server:
        bad = BadEngine(engine, microphone, server, child, kind)
        waits_s = [0.0, BACKOFF_S, BACKOFF_CEILING_S]  # twice the second is above the ceiling
        _, last = bad.wait_for_life(len(waits_s))
        assert last["reason"] == how
        died_ns = bad.noted_ns("bad")
        wait_until(lambda: len(bad.noted_ns("born")) > len(waits_s), 30, "the last life")
        for dead_ns, born_ns, wait_s in zip(died_ns, bad.noted_ns("born")[1:], waits_s, strict=False):
            assert wait_s <= seconds(dead_ns, born_ns) <= wait_s + BUSY_S
        waiting = [status for _, status in bad.statuses(child) if status["state"] == "backoff"]
        assert waiting
        for status in waiting:
            assert 0 <= status["next_try_in_s"] <= waits_s[min(status["restarts"], len(waits_s) - 1)]
            assert status["reason"] == how
        errors = [m for m in bad.errors() if m["source"] == child]
        assert {(m["code"], m["fatal"]) for m in errors} == {("crash", False)}
        for message in errors:
            assert how in message["message"]
            assert message["message"].endswith("; restarting")
            assert any(0 <= seconds(dead_ns, message["time_ns"]) <= BUSY_S for dead_ns in bad.noted_ns("bad"))
        assert any(f"{child}: {how}" in m["reason"] for m in bad.bus.of_type("status"))
        bad.assert_other_untouched()
        bad.stop()


# Those that hang


class Hang(NamedTuple):
    """One that is found out after `limit_s`."""

    child: str
    kind: str
    limit_s: float
    why: str
    is_deaf: bool = False  # to SIGABRT


SILENT_AT_START = f"no sign of life for {FIRST_FRAME_LIMIT_S:g} s"
SILENT = f"no sign of life for {HANG_LIMIT_S:g} s"
IDLE = f"it gives signs of life, but its work has stood still for {HANG_LIMIT_S:g} s"


@pytest.mark.parametrize(
    "hangs",
    [
        (
            Hang("capture", "never_ready", FIRST_FRAME_LIMIT_S, SILENT_AT_START),
            Hang("streaming", "hangs_at_start", FIRST_FRAME_LIMIT_S, SILENT_AT_START, is_deaf=True),
        ),
        (
            Hang("capture", "hangs_later", HANG_LIMIT_S, SILENT),
            Hang("capture", "stands_still", HANG_LIMIT_S, IDLE),
            Hang("streaming", "stands_still", HANG_LIMIT_S, IDLE),
        ),
    ],
    ids=["at_start", "later"],
)
def test_one_that_hangs_says_where_and_is_replaced(microphone, engine, hangs):
    with contextlib.ExitStack() as stack:
        # Engines of their own, but at the same time: they wait most of it.
        servers = [stack.enter_context(FakeDeepgram(echoing=True)) for _ in hangs]
        engines = [
            BadEngine(engine, microphone, server, hang.child, hang.kind, lives=1)
            for hang, server in zip(hangs, servers, strict=True)
        ]
        for bad in engines:
            bad.bus.sync()
        for hang, server, bad in zip(hangs, servers, engines, strict=True):
            print(hang)
            assert_replaced(hang, bad)
            server.wait_for_audio(32000)
        for bad in engines:
            bad.stop()


def assert_replaced(hang, bad):
    """It was found out in time, asked where it hangs, and killed if it could not tell; its successor works."""
    hung = bad.wait_for_error("hung")
    assert hung["source"] == hang.child
    assert hung["message"].startswith(f"{hang.child} hangs: {hang.why}; restarting")
    assert not hung["fatal"]
    noted_ns = next(iter(bad.noted_ns("bad")), bad.started_ns)
    assert hang.limit_s <= seconds(noted_ns, hung["time_ns"]) <= hang.limit_s + BUSY_S
    begun_ns, status = bad.wait_for_life(1)
    assert status["reason"] == hung["message"]
    least_s = hang.limit_s + (ABORT_S if hang.is_deaf else 0.0)
    assert least_s <= seconds(noted_ns, begun_ns) <= least_s + 2 * BUSY_S
    log = bad.running.log_text()
    assert (" killing child=" in log) == hang.is_deaf
    assert ("Fatal Python error: Aborted" in log and f" in {hang.kind}\n" in log) != hang.is_deaf
    bad.running.wait_for_state("running")
    assert [m["code"] for m in bad.errors()] == ["hung"]
    assert len(bad.pids(hang.child)) == 2
    bad.assert_other_untouched()


def test_one_whose_main_thread_is_blocked_is_found_long_before_the_hang_limit(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        bad = BadEngine(engine, microphone, server, "capture", "hangs_later", lives=1, supervisor={})
        limit_s = promised(FOUND_S + 0.5)
        hung = bad.wait_for_error("hung")
        bad.wait_for_life(1)
        bad.running.wait_for_state("running")
        log = bad.running.log_text()
        took_s, was_loaded = seconds(bad.noted_ns("bad")[0], hung["time_ns"]), " silent child=" in log
        print(f"found after {took_s:.3f} s{', on a loaded machine' if was_loaded else ''}")
        assert took_s >= FOUND_S
        assert took_s <= limit_s or was_loaded
        assert "a call of its main thread does not come back" in hung["message"] or was_loaded
        assert "Fatal Python error: Aborted" in log
        assert " in hangs_later\n" in log
        bad.assert_other_untouched()
        bad.stop()


# One that does not leave


def test_one_that_ignores_sigterm_is_killed_within_the_limit_of_a_stop(microphone, engine):
    with FakeDeepgram() as server:
        bad = BadEngine(engine, microphone, server, "streaming", "ignores_term")
        bad.running.wait_for_state("running")
        bad.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > 0)
        bad.assert_other_untouched()
        took_s = bad.stop()
        assert LEAVE_LIMIT_S <= took_s <= SUPERVISOR["stop_limit_s"]
        assert bad.errors() == []
        assert bad.bus.of_type("status")[-1]["unacknowledged_s"] > 0
        assert bad.statuses("streaming")[-1][1]["restarts"] == 0
