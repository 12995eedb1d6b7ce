"""Restarts by the hundred: nothing leaks, no successor is deaf, none is taken for the one before it.

MPENGINE_RESTARTS says how often each child is killed in the one test, MPENGINE_FAST_KILLS in the other (the defaults
are short).
"""

import itertools
import os
import signal
import time

import pytest

from tests.rig.configs import byok, noise
from tests.rig.deepgram import FakeDeepgram
from tests.rig.oracle import Oracle, speech, spoken_positions
from tests.rig.processes import all_processes, busy_processes, rss_mb
from tests.rig.waiting import promised, wait_until

RESTARTS = int(os.environ.get("MPENGINE_RESTARTS", "10"))
FAST_KILLS = int(os.environ.get("MPENGINE_FAST_KILLS", "5"))
CHILDREN = ("capture", "streaming")
# Every life counts as a good one, so that ten restarts a minute are at once and no later one waits long; what waits is
# sent quickly.
QUICK = {"supervisor": {"stable_after_s": 0.001, "backoff_ceiling_s": 0.5}, "buffer": {"catch_up": 20.0}}
KILLS_A_MINUTE = 10
WORKED_S = 2.3  # by the sample clock, which begins at the first sample: two seconds by the supervisor's
WARM_UP = min(20, RESTARTS // 3)  # restarts of each, until memory is what it will be
MOST_GROWTH_MB = 2.0
BLOCK_S = 0.02
# More than can be on its way between two processes: 25 frames in a queue.
NEWS_BYTES = 30 * 640

pytestmark = pytest.mark.slow


class Holdings:
    """What supervisor and zygote hold now."""

    def __init__(self, running):
        self.pids = {"supervisor": running.pid, "zygote": running.zygote_pid()}
        self.descriptors = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in self.pids.items()}
        self.rss_mb = {name: rss_mb(pid) for name, pid in self.pids.items()}
        self.files = sorted(os.listdir(running.runtime))
        self.zombies = [each for each in all_processes() if each.parent in self.pids.values() and not each.running]

    def __str__(self):
        return f"descriptors {self.descriptors}, MB {self.rss_mb}, {len(self.files)} files, zombies {self.zombies}"


def wait_until_it_works(running, child, dead):
    """Wait until the successor of the process `dead` has opened the device, or has a connection."""
    pid = running.child_pid(child, other_than=dead)

    def works(messages):
        status = next(message for message in reversed(messages) if message["type"] == "status")
        return status["state"] == "running" and status["children"][child]["pid"] == pid

    running.bus.wait_until(works, 30, f"work of {child}")


def test_after_many_restarts_under_load_nothing_has_leaked(microphone, engine):
    with FakeDeepgram(echoing=True) as server, busy_processes():
        running = engine(byok(server) | QUICK, microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        before = warm = Holdings(running)
        began = time.monotonic()
        for number in range(RESTARTS):
            if number == WARM_UP:
                warm = Holdings(running)
            for child in CHILDREN:
                wait_until_it_works(running, child, running.signal_child(child))
        took_s = time.monotonic() - began
        server.wait_for_audio(server.current.audio_bytes + NEWS_BYTES, connection=server.current)

        def has_settled():
            now = Holdings(running)
            is_clean = now.files == before.files and not now.zombies
            return is_clean and all(now.descriptors[name] <= before.descriptors[name] + 2 for name in now.pids)

        try:
            wait_until(has_settled, 30, "the end of all that the dead left")
        finally:
            after = Holdings(running)
            print(f"{RESTARTS} restarts of each in {took_s:.1f} s\nbefore {before}\nwarm   {warm}\nafter  {after}")
        for name in after.pids:
            assert after.rss_mb[name] - warm.rss_mb[name] < MOST_GROWTH_MB, name
        metrics = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["reconnects"] >= RESTARTS)
        assert (metrics["restarts"], metrics["reconnects"]) == (2 * RESTARTS, RESTARTS)
        assert running.stop() == 0
    running.assert_nothing_left()


def kill_when_it_has_worked(running, until_s):
    """Kill capture when it has captured so much; the time at which its successor begins."""
    running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > until_s)
    running.signal_child("capture")
    gap = running.bus.wait_for(lambda m: m["type"] == "gap" and m["end_s"] > until_s)
    return gap["end_s"]


@pytest.mark.long
def test_capture_that_is_killed_ten_times_in_a_minute_is_back_at_once_each_time(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        microphone.play(noise(100))  # in a quiet room up to `quiet_ms` of silence more has not been read at a kill
        limit_s, began, started_at_s = promised(0.5), time.monotonic(), 0.0
        for _ in range(KILLS_A_MINUTE):
            started_at_s = kill_when_it_has_worked(running, started_at_s + WORKED_S)
        took_s = time.monotonic() - began
        lengths_s = [gap["end_s"] - gap["start_s"] for gap in running.bus.of_type("gap")]
        print(f"{KILLS_A_MINUTE} kills in {took_s:.1f} s, gaps of {[round(each, 3) for each in lengths_s]}")
        assert len(lengths_s) == KILLS_A_MINUTE
        assert max(lengths_s) <= limit_s
        assert running.stop() == 0
        assert {gap["reason"] for gap in running.bus.of_type("gap")} == {"capture_restart"}
    running.assert_nothing_left()


def test_however_fast_children_are_killed_their_successors_are_heard(microphone, engine):
    with FakeDeepgram(responder=Oracle()) as server:
        running = engine(byok(server) | QUICK, microphone)
        running.wait_for_state("running")
        # Longer than it takes: it is cut off in the end.
        microphone.play(speech(100 + 50 * FAST_KILLS))
        running.bus.wait_until(lambda _: spoken_positions(running.bus.finals()), 30, "a first word")
        for child in CHILDREN:
            for _ in range(FAST_KILLS):
                # One that works, and its successor, which may not have said a word.
                dead = running.signal_child(child)
                hardly_begun = running.child_pid(child, other_than=dead)
                os.kill(hardly_begun, signal.SIGKILL)
                wait_until_it_works(running, child, hardly_begun)
                # Of a new connection anything is news, on an old one what cannot be the dead one's.
                connection = server.current
                known_bytes = connection.audio_bytes + NEWS_BYTES if child == "capture" else 0
                server.wait_for_audio(known_bytes + 1, connection=connection)
        server.wait_for_audio(server.current.audio_bytes + NEWS_BYTES, connection=server.current)
        assert running.stop() == 0
        assert running.bus.of_type("status")[-1]["unacknowledged_s"] == 0
        assert not server.violations
    running.assert_nothing_left()
    assert_spoken_once(running.bus)


def assert_spoken_once(bus):
    """Every position from the first to the last, in order, at its time; but for those in a gap that was told."""
    spoken = spoken_positions(bus.finals())
    positions = [position for position, _ in spoken]
    assert all(before < after for before, after in itertools.pairwise(positions))
    (first, first_at_s), (last, _) = spoken[0], spoken[-1]
    gaps = bus.of_type("gap")
    assert {gap["reason"] for gap in gaps} == {"capture_restart"}
    missing = set(range(first, last)) - set(positions)
    for position in missing:
        at_s = first_at_s + (position - first) * 0.1
        assert any(gap["start_s"] - BLOCK_S <= at_s <= gap["end_s"] + BLOCK_S for gap in gaps), position
    worst_s = max(abs(at_s - first_at_s - (position - first) * 0.1) for position, at_s in spoken)
    print(f"{len(spoken)} spoken, {len(missing)} in {len(gaps)} gaps, worst time {worst_s * 1000:.1f} ms")
    assert worst_s <= BLOCK_S
