"""The engine as one sees it from outside: status and metrics."""

import msgspec
import pytest

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.config_tables import SupervisorConfig
from mpengine.supervisor.decide.actions import Child
from mpengine.supervisor.decide.child_life import Life
from mpengine.supervisor.decide.reports import Reports
from mpengine.supervisor.decide.results import Results
from mpengine.supervisor.decide.status import Situation

S = 16000


class View:
    """A situation, and two children's lives."""

    def __init__(self, now=100.0):
        config = Config.parse({"remote": {"mode": "byok", "byok_api_key": "k"}})
        self.results = Results(sample_rate=S, user_name="User")
        self.situation = Situation(config, self.results, now)
        self.lives = {child: Life(SupervisorConfig(), now) for child in (Child.CAPTURE, Child.STREAMING)}

    def spawn(self):
        for life in self.lives.values():
            life.spawned(7, 100.0)
        return self

    def hello(self):
        self.spawn()
        for life in self.lives.values():
            life.heard(100.0)
        return self

    def connecting(self):
        self.hello().situation.connecting(1, "wss://service")
        return self

    def running(self):
        self.connecting().situation.connected(100.0)
        self.situation.device = "USB"
        assert self.state() == ("running", "")
        return self

    def status(self, phase="WORKING", now=100.0):
        return self.situation.status(self.lives, phase, now)

    def state(self, phase="WORKING"):
        status = self.status(phase)
        return status.state, status.reason

    def child(self, name, now=100.0):
        return self.situation.children(self.lives, now)[name]

    def report(self, *several):
        for message in several:
            Reports(self.results, self.situation).from_capture(message, 100.0)
        return self

    def metrics(self, now=100.0):
        return self.situation.metrics(self.lives, {}, {}, now)


# States


def test_before_a_child_has_spoken_it_starts():
    assert View().state() == ("starting", "")
    assert View().spawn().state() == ("starting", "")


def test_without_a_connection_it_connects():
    assert View().connecting().state() == ("connecting", "")


def test_with_a_connection_and_without_a_device_it_is_not_running_yet():
    view = View().connecting()
    view.situation.connected(100.0)
    assert view.state() == ("connecting", "")


def test_with_a_device_and_without_a_connection_it_is_not_running_yet():
    view = View().connecting()
    view.situation.device = "USB"
    assert view.state()[0] == "connecting"


def test_with_both_it_is_running():
    assert View().running().state() == ("running", "")


def test_a_first_attempt_that_failed_is_told_while_it_connects_on():
    view = View().connecting()
    view.situation.disconnected("no route", 100.5)
    assert view.state() == ("connecting", "no route")


def test_after_the_limit_it_is_degraded_though_it_never_ran():
    view = View().connecting()
    view.situation.disconnected("no route", 100.5)
    view.situation.connect_timed_out = True
    assert view.state() == ("degraded", "no route")


def test_once_it_ran_a_lost_connection_degrades_it():
    view = View().running()
    view.situation.disconnected("reset", 100.5)
    assert view.state() == ("degraded", "reset")


def test_once_it_ran_a_lost_device_degrades_it():
    view = View().running()
    view.lives[Child.CAPTURE].exited(-9, 101.0, 1.0)
    view.situation.device = None
    assert view.state() == ("degraded", "capture: killed by SIGKILL")


def test_several_troubles_are_all_told():
    view = View().running()
    view.lives[Child.CAPTURE].exited(-9, 101.0, 1.0)
    view.situation.disconnected("reset", 100.5)
    assert view.state() == ("degraded", "capture: killed by SIGKILL; reset")


def test_the_end_of_streaming_is_told_once():
    view = View().running()
    view.lives[Child.STREAMING].exited(-9, 101.0, 1.0)
    view.situation.disconnected("the streaming process ended")
    assert view.state() == ("degraded", "streaming: killed by SIGKILL")


def test_a_pause_is_no_trouble():
    view = View().running()
    view.situation.is_paused, view.situation.device = True, None
    assert view.state() == ("running", "paused")


@pytest.mark.parametrize(
    ("phase", "stop_reason", "fatal_reason", "state"),
    [
        ("DRAINING", "SIGTERM", "", ("stopping", "SIGTERM")),
        ("LEAVING", "SIGTERM", "", ("stopping", "SIGTERM")),
        ("LEAVING", "", "HTTP 401", ("stopping", "HTTP 401")),
        ("DONE", "SIGTERM", "", ("stopped", "SIGTERM")),
        ("DONE", "", "HTTP 401", ("failed", "HTTP 401")),
        ("DONE", "SIGTERM", "HTTP 401", ("failed", "HTTP 401")),
    ],
)
def test_an_end_has_its_state_and_reason(phase, stop_reason, fatal_reason, state):
    view = View().running()
    view.situation.stop_reason, view.situation.fatal_reason = stop_reason, fatal_reason
    assert view.state(phase) == state


# The rest of the status


def test_unacknowledged_is_what_was_captured_and_not_covered():
    view = View()
    view.situation.beat(control.CaptureBeat(captured=5 * S))
    view.results.ledger.acknowledge(3 * S)
    assert view.status().unacknowledged_s == 2.0


def test_unacknowledged_is_never_negative():
    view = View()
    view.results.ledger.acknowledge(3 * S)
    assert view.status().unacknowledged_s == 0.0


def test_device_endpoint_and_connection_are_told():
    status = View().running().status()
    assert (status.device, status.endpoint, status.connection) == ("USB", "wss://service", 1)


def test_a_child_has_its_state_pid_and_restarts():
    view = View().running()
    assert view.status().children["capture"] == messages.ChildStatus(state="RUNNING", pid=7)


def test_a_child_in_backoff_tells_when_it_is_tried_again():
    view = View().running()
    view.lives[Child.CAPTURE].exited(1, 100.0, 1.0)
    view.lives[Child.CAPTURE].failed(100.0, 1.0)
    child = view.status(now=100.2).children["capture"]
    assert (child.state, child.pid, child.next_try_in_s) == ("BACKOFF", None, 0.3)


def test_streaming_tells_when_it_connects_again():
    view = View().running()
    view.situation.disconnected("reset", 105.0)
    child = view.status(now=104.0).children["streaming"]
    assert (child.state, child.next_try_in_s, child.reason) == ("RUNNING", 1.0, "reset")


def test_a_try_that_is_overdue_comes_in_no_negative_time():
    view = View().running()
    view.situation.disconnected("reset", 105.0)
    assert view.status(now=106.0).children["streaming"].next_try_in_s == 0.0


# What only who asks is told


def test_a_child_answers_with_all_of_its_status():
    view = View().running()
    view.situation.disconnected("reset", 105.0)
    child, published = view.child("streaming", 104.0), view.status(now=104.0).children["streaming"]
    assert {name: getattr(child, name) for name in published.__struct_fields__} == msgspec.structs.asdict(published)


def test_a_child_that_never_ended_has_no_last_end():
    child = View().running().child("capture", 163.0)
    assert (child.up_s, child.last_end, child.last_end_ago_s) == (63.0, "", None)


def test_without_a_process_a_child_is_not_up():
    assert View().child("capture").up_s is None


def test_the_last_end_of_a_child_stays_known_when_it_works_again():
    view = View().running()
    life = view.lives[Child.CAPTURE]
    life.exited(-9, 110.0, 1.0)
    assert (view.child("capture", 111.0).up_s, view.child("capture", 111.0).last_end) == (None, "killed by SIGKILL")
    life.spawned(8, 112.0)
    life.heard(112.5)
    life.worked(100.0)
    child = view.child("capture", 115.0)
    assert (child.state, child.reason, child.up_s) == ("RUNNING", "", 3.0)
    assert (child.last_end, child.last_end_ago_s) == ("killed by SIGKILL", 5.0)


def test_the_last_end_is_in_the_words_of_the_child():
    view = View().running()
    view.lives[Child.CAPTURE].complained("the device is busy")
    view.lives[Child.CAPTURE].exited(3, 110.0, 1.0)
    assert view.child("capture").last_end == "the device is busy"


def test_a_stop_is_no_end_that_needs_a_reason():
    view = View().running()
    view.lives[Child.CAPTURE].stopping()
    view.lives[Child.CAPTURE].exited(0, 110.0, 1.0)
    child = view.child("capture", 111.0)
    assert (child.up_s, child.last_end, child.last_end_ago_s) == (None, "", None)


def test_why_the_connection_was_lost_stays_known_when_there_is_another():
    view = View().running()
    assert (view.situation.last_disconnect, view.situation.last_disconnect_ago_s(100.0)) == ("", None)
    view.situation.disconnected("reset", 101.0)
    view.status(now=101.0)
    view.situation.connecting(2, "wss://service")
    view.situation.disconnected("no route", 103.0)  # a try that failed is not what was lost
    view.status(now=103.0)
    view.situation.connected(100.0)
    view.status(now=104.0)
    assert (view.situation.last_disconnect, view.situation.last_disconnect_ago_s(106.0)) == ("reset", 5.0)


def test_a_second_loss_takes_the_place_of_the_first():
    view = View().running()
    for now, reason in ((101.0, "reset"), (102.0, "no answer to a ping")):
        view.situation.disconnected(reason, now)
        view.status(now=now)
        view.situation.connected(100.0)
    assert (view.situation.last_disconnect, view.situation.last_disconnect_ago_s(104.0)) == ("no answer to a ping", 2.0)


def test_the_last_level_is_that_of_the_open_device():
    quiet, loud = (
        control.LevelHeard(first=0, end=4000, rms_dbfs=rms, peak_dbfs=0.0, digital_silence=False)
        for rms in (-60.0, -20.0)
    )
    opened = control.DeviceOpened(name="USB", sample_rate=S, channels=1, latency_s=0.1)
    view = View().report(opened)
    assert view.situation.level(100.0) is None
    assert view.report(quiet, loud).situation.level(100.0).rms_dbfs == -20.0
    assert view.report(control.DeviceClosed()).situation.level(100.0) is None
    assert view.report(opened).situation.level(100.0) is None


def test_a_level_is_that_of_now_or_none():
    level = control.LevelHeard(first=0, end=4000, rms_dbfs=-20.0, peak_dbfs=0.0, digital_silence=False)
    view = View().report(level)
    assert view.situation.level(101.4) is not None
    assert view.situation.level(101.5) is None


# Metrics


def test_a_file_has_a_length_also_when_it_is_closed_and_a_microphone_has_none():
    opened = control.DeviceOpened(name="talk.wav", sample_rate=S, channels=1, latency_s=0.0, samples=90 * S)
    view = View().report(opened, control.DeviceClosed())
    assert view.metrics().source_s == 90.0
    microphone = msgspec.structs.replace(opened, name="USB", samples=0)
    assert view.report(microphone).metrics().source_s is None


def test_cursors_are_in_seconds():
    view = View().running()
    view.situation.beat(control.CaptureBeat(captured=5 * S))
    view.situation.beat(control.StreamBeat(sent=4 * S, highest_sent=4 * S, replayed=S))
    view.results.ledger.transcribed = 3 * S
    view.results.ledger.acknowledge(2 * S)
    metrics = view.metrics()
    assert (metrics.captured_s, metrics.sent_s, metrics.transcribed_s, metrics.acknowledged_s) == (5.0, 4.0, 3.0, 2.0)
    assert (metrics.backlog_s, metrics.lag_s, metrics.replayed_s) == (1.0, 1.0, 1.0)


def test_a_backlog_takes_four_times_its_length_at_the_default_pace():
    view = View()
    view.situation.beat(control.CaptureBeat(captured=5 * S))
    assert (view.metrics().backlog_s, view.metrics().catch_up_s) == (5.0, 20.0)


def test_backlog_and_lag_are_never_negative():
    view = View().running()
    view.situation.beat(control.StreamBeat(sent=4 * S, highest_sent=4 * S, replayed=0))
    view.results.ledger.transcribed = 5 * S
    assert (view.metrics().backlog_s, view.metrics().lag_s) == (0.0, 0.0)


def test_what_was_captured_and_the_highest_sent_do_not_go_back_when_a_child_begins_anew():
    view = View().running()
    for captured, sent in ((5 * S, 4 * S), (3 * S, 2 * S)):
        view.situation.beat(control.CaptureBeat(captured=captured))
        view.situation.beat(control.StreamBeat(sent=sent, highest_sent=sent, replayed=0))
    assert (view.situation.captured, view.situation.highest_sent) == (5 * S, 4 * S)


def test_what_a_lost_connection_was_sent_waits_again_until_the_next_one_has_it():
    view = View().running()
    metrics = []

    def look():
        cursors = view.metrics()
        metrics.append((cursors.sent_s, cursors.backlog_s, cursors.catch_up_s))

    view.situation.beat(control.CaptureBeat(captured=30 * S))
    view.results.ledger.acknowledge(10 * S)
    view.situation.beat(control.StreamBeat(sent=30 * S, highest_sent=30 * S, replayed=0))
    look()
    view.situation.disconnected("reset", 100.5)
    look()
    view.situation.beat(control.StreamBeat(sent=30 * S, highest_sent=30 * S, replayed=0))  # of the lost one still
    look()
    view.situation.connecting(2, "wss://service")
    view.situation.connected(100.0)
    view.situation.beat(control.StreamBeat(sent=0, highest_sent=30 * S, replayed=0))
    look()
    view.situation.beat(control.StreamBeat(sent=15 * S, highest_sent=30 * S, replayed=5 * S))
    look()
    assert metrics == [(30.0, 0.0, 0.0), (10.0, 20.0, 80.0), (10.0, 20.0, 80.0), (10.0, 20.0, 80.0), (15.0, 15.0, 60.0)]


def test_the_end_of_streaming_leaves_all_without_a_result_to_be_sent_again():
    view = View().running()
    view.situation.beat(control.CaptureBeat(captured=5 * S))
    view.situation.beat(control.StreamBeat(sent=5 * S, highest_sent=5 * S, replayed=0))
    view.situation.disconnected("the streaming process ended")
    assert (view.metrics().backlog_s, view.metrics().sent_s) == (5.0, 0.0)


def test_what_was_replayed_is_added_up_over_all_lives_of_streaming():
    view = View()
    for replayed in (S, 2 * S, 0, S):  # the third is a new process
        view.situation.beat(control.StreamBeat(sent=0, highest_sent=0, replayed=replayed))
    assert view.metrics().replayed_s == 3.0


def test_what_is_missing_is_added_up():
    view = View()
    for first, end in ((0, S), (3 * S, 4 * S)):
        view.situation.missing(control.SamplesMissing(first=first, end=end, reason="overflow"))
    assert view.metrics().dropped_s == 2.0


@pytest.mark.parametrize(("connections", "reconnects"), [(0, 0), (1, 0), (3, 2)])
def test_the_first_connection_is_no_reconnect(connections, reconnects):
    view = View()
    for _ in range(connections):
        view.situation.connected(100.0)
    assert view.metrics().reconnects == reconnects


def test_restarts_are_those_of_all_children():
    view = View().running()
    for life in view.lives.values():
        life.exited(-9, 101.0, 1.0)
        life.spawned(8, 101.0)
    assert view.metrics().restarts == 2


def test_uptime_last_and_usage_are_passed_on():
    usage = {"capture": messages.ChildMetrics(cpu_s=1.0)}
    view = View(now=100.0)
    metrics = view.situation.metrics(view.lives, usage, {"n.gap": 7}, 107.25)
    assert (metrics.uptime_s, metrics.last, metrics.children) == (7.2, {"n.gap": 7}, usage)
