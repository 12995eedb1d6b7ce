"""Any of the processes killed or stopped: what comes back, what is lost, and that nothing is left.

MPENGINE_STOPPED_SECONDS is how long the supervisor, or everything, is stopped. MPENGINE_LOAD_SECONDS is how long eight
busy processes leave little of the machine. The defaults are short.
"""

import itertools
import os
import signal
import time

import pytest

from tests.bench.restarts import MISSED_S
from tests.rig.configs import byok, noise
from tests.rig.deepgram import FakeDeepgram
from tests.rig.processes import PROCESSORS, busy_processes, runnable_tasks
from tests.rig.waiting import promised, scaled, wait_until

STOPPED_S = int(os.environ.get("MPENGINE_STOPPED_SECONDS", "5"))
LOAD_S = int(os.environ.get("MPENGINE_LOAD_SECONDS", "5"))
CHILDREN = ("capture", "streaming")
FOUND_S = 3.0  # a stopped child, on a machine that has time for it
HANG_LIMIT_S = 3.0
QUICK = {"supervisor": {"hang_limit_s": HANG_LIMIT_S}, "buffer": {"catch_up": 20.0}}


def test_streaming_killed_costs_no_sample(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        killed = running.signal_child("streaming")
        running.child_pid("streaming", other_than=killed)
        second = server.wait_for_connection(2)
        server.wait_for_audio(64000, connection=second)
        running.wait_for_state("running")
        error = running.bus.wait_for(lambda m: m["type"] == "error" and m["source"] == "streaming")
        assert error["message"] == "streaming was killed by SIGKILL; restarting"
        assert running.stop() == 0
        assert running.bus.of_type("gap") == []
        # What both connections heard overlaps, and together it has no hole.
        heard = [connection.audio for connection in server.connections]
        assert heard[0]
        finals = running.bus.finals()
        for before, after in itertools.pairwise(finals):
            assert after["start_s"] >= before["end_s"] - 0.001
            assert after["start_s"] <= before["end_s"] + 0.001
        assert {final["connection"] for final in finals} == {1, 2} or finals[0]["connection"] == 2
    running.assert_nothing_left()


def test_capture_killed_comes_back_and_the_gap_is_told(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(32000)
        killed = running.signal_child("capture")
        gap = running.bus.wait_for(lambda m: m["type"] == "gap", 30)
        assert gap["reason"] == "capture_restart"
        assert gap["samples"] == round((gap["end_s"] - gap["start_s"]) * 16000)
        assert 0 < gap["samples"] < 20 * 16000
        assert running.child_pid("capture", other_than=killed)
        played = noise(2)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in server.audio, 30, "what was played afterwards")
        assert len(server.connections) == 1  # the connection was not touched
        running.wait_for_state("running")
        assert running.stop() == 0
    running.assert_nothing_left()


def test_a_killed_supervisor_takes_everything_with_it(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        assert running.zygote_pid() in {each.pid for each in running.process_tree()}
        limit_s = promised(1)
        running.kill()
        running.assert_nothing_left(timeout=limit_s)
        assert microphone.wait_for_recording(0, timeout=limit_s) == []
        # And nothing of it is in the way of the next one.
        running.start()
        running.wait_for_state("running")
        assert running.stop() == 0


def test_with_its_zygote_killed_everything_comes_back(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | QUICK, microphone)
        running.wait_for_state("running")
        server.wait_for_audio(32000)
        zygote = running.zygote_pid()
        before = {name: running.child_pid(name) for name in ("capture", "streaming")}
        os.kill(zygote, signal.SIGKILL)
        for name, pid in before.items():
            running.child_pid(name, other_than=pid)
        gap = running.bus.wait_for(lambda m: m["type"] == "gap", 30)
        assert gap["reason"] == "capture_restart"
        second = server.wait_for_connection(2)
        running.wait_for_state("running")
        assert running.zygote_pid() != zygote
        played = noise(1)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in second.audio, 30, "what was played afterwards")
        calm = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["reconnects"] == 1)
        later = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] >= calm["uptime_s"] + 2)
        assert later["restarts"] == 2
        # A descriptor that stays readable would keep the loop busy: all of the time.
        used_s = later["children"]["supervisor"]["cpu_s"] - calm["children"]["supervisor"]["cpu_s"]
        assert used_s < 0.2 * (later["uptime_s"] - calm["uptime_s"])
        assert running.stop() == 0
        errors = {m["message"] for m in running.bus.of_type("error") if m["code"] == "crash"}
        assert errors == {f"{name} was killed by SIGKILL; restarting" for name in before}
        assert_no_hole(running)
    running.assert_nothing_left()


def assert_no_hole(running):
    """Finals follow one another without a hole, but for the gaps that were told."""
    told = [(gap["start_s"], gap["end_s"]) for gap in running.bus.of_type("gap")]
    for before, after in itertools.pairwise(running.bus.finals()):
        hole_s = after["start_s"] - before["end_s"]
        assert hole_s > -0.002
        assert hole_s < 0.002 or any(
            start <= before["end_s"] + 0.002 and end >= after["start_s"] - 0.002 for start, end in told
        )


@pytest.mark.parametrize("child", ["capture", "streaming"])
def test_a_stopped_child_is_found_out_and_replaced(microphone, engine, child):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | QUICK, microphone)
        running.wait_for_state("running")
        server.wait_for_audio(16000)
        others = {name: running.child_pid(name) for name in ("capture", "streaming") if name != child}
        at_ns = time.time_ns()
        stopped = running.signal_child(child, signal.SIGSTOP)
        hung = running.bus.wait_for(lambda m: m["type"] == "error" and m["code"] == "hung", 30)
        assert hung["source"] == child
        assert (hung["time_ns"] - at_ns) / 1e9 < HANG_LIMIT_S + scaled(promised(10))
        running.child_pid(child, other_than=stopped)
        if child == "streaming":
            server.wait_for_connection(2)
        else:
            gap = running.bus.wait_for(lambda m: m["type"] == "gap", 30)
            assert gap["reason"] == "capture_restart"
        running.wait_for_state("running")
        server.wait_for_audio(server.current.audio_bytes + 32000, connection=server.current)
        assert {name: running.child_pid(name) for name in others} == others
        assert running.stop() == 0
        assert len(running.bus.of_type("gap")) == (child == "capture")
        assert " killing child=" in running.log_text()  # one that is stopped cannot say where it hangs
        assert_no_hole(running)
    running.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("child", CHILDREN)
def test_a_stopped_child_is_replaced_within_seconds_long_before_the_hang_limit(microphone, engine, child):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        server.wait_for_audio(32000)
        limit_s = promised(FOUND_S + 0.5)
        missed_s = MISSED_S[child](running, server, signal.SIGSTOP)
        log = running.log_text()
        was_loaded = "silent child=" in log  # by other tests: then it gets more time
        print(f"audio again after {missed_s:.3f} s{', on a loaded machine' if was_loaded else ''}")
        assert missed_s <= limit_s or was_loaded
        hung = running.bus.wait_for(lambda m: m["type"] == "error" and m["code"] == "hung")
        assert hung["source"] == child
        assert "it is stopped, as by SIGSTOP" in hung["message"] or was_loaded
        assert " killing child=" in log
        assert "Fatal Python error" not in log  # it was not asked where it hangs
        running.wait_for_state("running")
        assert running.stop() == 0
        # A final that spans the gap stands after it. So only streaming's finals can show that there is no hole.
        assert [gap["reason"] for gap in running.bus.of_type("gap")] == ["capture_restart"] * (child == "capture")
        if child == "streaming":
            assert_no_hole(running)
    running.assert_nothing_left()


@pytest.mark.slow
def test_on_a_loaded_machine_three_seconds_of_silence_kill_nobody(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        before = {name: running.child_pid(name) for name in CHILDREN}
        with busy_processes(2 * PROCESSORS + 2):
            stopped = [running.signal_child(name, signal.SIGSTOP) for name in CHILDREN]
            for name in CHILDREN:
                spared = f" silent child={name} seen=STOPPED"
                wait_until(lambda text=spared: text in running.log_text(), 30, spared)
            assert runnable_tasks() >= 2 * PROCESSORS
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            at_s = running.bus.of_type("metrics")[-1]["captured_s"]
            running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > at_s + FOUND_S)
        assert {name: running.child_pid(name) for name in CHILDREN} == before
        assert running.stop() == 0
        assert not {"hung", "crash"} & {message["code"] for message in running.bus.of_type("error")}
        assert_no_hole(running)
    running.assert_nothing_left()


@pytest.mark.slow
def test_while_eight_busy_processes_leave_little_of_the_machine_nobody_is_killed(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        before = {name: running.child_pid(name) for name in CHILDREN}
        with busy_processes(8):
            until_s = running.bus.wait_for(lambda m: m["type"] == "metrics")["uptime_s"] + LOAD_S
            running.bus.wait_for(lambda m: m["type"] == "metrics" and m["uptime_s"] > until_s, LOAD_S + 30)
        silences = running.log_text().count(" silent child=")
        print(f"{LOAD_S} s of load, {silences} silences of more than {FOUND_S:g} s")
        assert {name: running.child_pid(name) for name in CHILDREN} == before
        assert running.stop() == 0
        assert not {"hung", "crash"} & {message["code"] for message in running.bus.of_type("error")}
        assert running.bus.of_type("metrics")[-1]["restarts"] == 0
    running.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("who", ["the supervisor", "everything"])
def test_a_supervisor_that_is_stopped_and_goes_on_blames_nobody(microphone, engine, who):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server) | QUICK, microphone)
        running.wait_for_state("running")
        before = {name: running.child_pid(name) for name in ("capture", "streaming")}
        server.wait_for_audio(16000)
        others = [each.pid for each in running.process_tree() if each.pid != running.pid and who == "everything"]
        running.send_signal(signal.SIGSTOP)
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        playing = microphone.play(played := noise(STOPPED_S))
        if who == "the supervisor":  # the others work on meanwhile
            server.wait_for(lambda: played in server.audio, STOPPED_S + 20, "what was played")
        playing.wait(STOPPED_S + 20)
        seen = len(running.bus.of_type("metrics"))
        running.send_signal(signal.SIGCONT)
        running.bus.wait_until(lambda _: running.bus.of_type("metrics")[seen:], what="a turn of the loop")
        for pid in others:  # later than the supervisor, which could judge them by now
            os.kill(pid, signal.SIGCONT)
        server.wait_for(lambda: played in server.audio, 30, "what was played")
        running.bus.wait_for(lambda m: m["type"] == "metrics" and m["captured_s"] > STOPPED_S, 30)
        assert {name: running.child_pid(name) for name in before} == before
        assert len(server.connections) == 1
        assert running.stop() == 0
        assert running.bus.of_type("gap") == []
        assert {m["code"] for m in running.bus.of_type("error")} <= {"digital_silence"}  # nothing is played for long
        assert_no_hole(running)
        finals = running.bus.finals()
        assert finals[0]["start_s"] == pytest.approx(0, abs=0.002)
        assert finals[-1]["end_s"] == pytest.approx(server.connections[0].samples / 16000, abs=0.002)
    running.assert_nothing_left()


def test_a_lost_connection_is_replaced_and_its_unfinished_audio_sent_again(microphone, engine):
    with FakeDeepgram(echoing=True) as server:
        running = engine(byok(server), microphone)
        running.wait_for_state("running")
        played = noise(1.5)
        microphone.play_and_wait(played)
        server.wait_for(lambda: played in server.audio, 30, "what was played")
        server.connections[0].reset()
        second = server.wait_for_connection(2)
        server.wait_for(lambda: played in second.audio, 30, "the unfinished audio once more")
        final = running.bus.wait_for(lambda m: m["type"] == "transcript" and m["is_final"] and m["connection"] == 2)
        assert final["replayed"]
        metrics = running.bus.wait_for(lambda m: m["type"] == "metrics" and m["replayed_s"] > 1)
        assert metrics["reconnects"] == 1
        assert running.stop() == 0
