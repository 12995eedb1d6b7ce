"""The engine as one sees it from outside: status and metrics."""

import pytest

from mpengine.shared import control, messages
from mpengine.shared.config import Config
from mpengine.shared.config_tables import SupervisorConfig
from mpengine.supervisor.actions import Child
from mpengine.supervisor.life import Life
from mpengine.supervisor.picture import Picture
from mpengine.supervisor.results import Results

S = 16000


class View:
    """A picture, and two children's lives."""

    def __init__(self, now=100.0):
        config = Config.parse({"remote": {"mode": "byok", "byok_api_key": "k"}})
        self.results = Results(sample_rate=S, user_name="User")
        self.picture = Picture(config, self.results, now)
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
        self.hello().picture.connecting(1, "wss://service")
        return self

    def running(self):
        self.connecting().picture.connected()
        self.picture.device = "USB"
        assert self.state() == ("running", "")
        return self

    def status(self, phase="WORKING", now=100.0):
        return self.picture.status(self.lives, phase, now)

    def state(self, phase="WORKING"):
        status = self.status(phase)
        return status.state, status.reason

    def metrics(self, now=100.0):
        return self.picture.metrics(self.lives, {}, {}, now)


# States


def test_before_a_child_has_spoken_it_starts():
    assert View().state() == ("starting", "")
    assert View().spawn().state() == ("starting", "")


def test_without_a_connection_it_connects():
    assert View().connecting().state() == ("connecting", "")


def test_with_a_connection_and_without_a_device_it_is_not_running_yet():
    view = View().connecting()
    view.picture.connected()
    assert view.state() == ("connecting", "")


def test_with_a_device_and_without_a_connection_it_is_not_running_yet():
    view = View().connecting()
    view.picture.device = "USB"
    assert view.state()[0] == "connecting"


def test_with_both_it_is_running():
    assert View().running().state() == ("running", "")


def test_a_first_attempt_that_failed_is_told_while_it_connects_on():
    view = View().connecting()
    view.picture.disconnected("no route", 100.5)
    assert view.state() == ("connecting", "no route")


def test_after_the_limit_it_is_degraded_though_it_never_ran():
    view = View().connecting()
    view.picture.disconnected("no route", 100.5)
    view.picture.connect_timed_out = True
    assert view.state() == ("degraded", "no route")


def test_once_it_ran_a_lost_connection_degrades_it():
    view = View().running()
    view.picture.disconnected("reset", 100.5)
    assert view.state() == ("degraded", "reset")


def test_once_it_ran_a_lost_device_degrades_it():
    view = View().running()
    view.lives[Child.CAPTURE].exited(-9, 101.0, 1.0)
    view.picture.device = None
    assert view.state() == ("degraded", "capture: killed by SIGKILL")


def test_several_troubles_are_all_told():
    view = View().running()
    view.lives[Child.CAPTURE].exited(-9, 101.0, 1.0)
    view.picture.disconnected("reset", 100.5)
    assert view.state() == ("degraded", "capture: killed by SIGKILL; reset")


def test_the_end_of_streaming_is_told_once():
    view = View().running()
    view.lives[Child.STREAMING].exited(-9, 101.0, 1.0)
    view.picture.disconnected("the streaming process ended")
    assert view.state() == ("degraded", "streaming: killed by SIGKILL")


def test_a_pause_is_no_trouble():
    view = View().running()
    view.picture.is_paused, view.picture.device = True, None
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
    view.picture.stop_reason, view.picture.fatal_reason = stop_reason, fatal_reason
    assert view.state(phase) == state


# The rest of the status


def test_unacknowledged_is_what_was_captured_and_not_covered():
    view = View()
    view.picture.beat(control.CaptureBeat(captured=5 * S, pushed=5 * S, dropped=0))
    view.results.ledger.acknowledged = 3 * S
    assert view.status().unacknowledged_s == 2.0


def test_unacknowledged_is_never_negative():
    view = View()
    view.results.ledger.acknowledged = 3 * S
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
    view.picture.disconnected("reset", 105.0)
    child = view.status(now=104.0).children["streaming"]
    assert (child.state, child.next_try_in_s, child.reason) == ("RUNNING", 1.0, "reset")


def test_a_try_that_is_overdue_comes_in_no_negative_time():
    view = View().running()
    view.picture.disconnected("reset", 105.0)
    assert view.status(now=106.0).children["streaming"].next_try_in_s == 0.0


# Metrics


def test_cursors_are_in_seconds():
    view = View()
    view.picture.beat(control.CaptureBeat(captured=5 * S, pushed=5 * S, dropped=0))
    view.picture.beat(control.StreamBeat(sent=4 * S, replayed=S))
    view.results.ledger.transcribed, view.results.ledger.acknowledged = 3 * S, 2 * S
    metrics = view.metrics()
    assert (metrics.captured_s, metrics.sent_s, metrics.transcribed_s, metrics.acknowledged_s) == (5.0, 4.0, 3.0, 2.0)
    assert (metrics.backlog_s, metrics.lag_s, metrics.replayed_s) == (1.0, 1.0, 1.0)


def test_a_backlog_takes_four_times_its_length_at_the_default_pace():
    view = View()
    view.picture.beat(control.CaptureBeat(captured=5 * S, pushed=5 * S, dropped=0))
    assert (view.metrics().backlog_s, view.metrics().catch_up_s) == (5.0, 20.0)


def test_backlog_and_lag_are_never_negative():
    view = View()
    view.picture.beat(control.StreamBeat(sent=4 * S, replayed=0))
    view.results.ledger.transcribed = 5 * S
    assert (view.metrics().backlog_s, view.metrics().lag_s) == (0.0, 0.0)


def test_cursors_do_not_go_back_when_a_child_begins_anew():
    view = View()
    for captured, sent in ((5 * S, 4 * S), (3 * S, 2 * S)):
        view.picture.beat(control.CaptureBeat(captured=captured, pushed=0, dropped=0))
        view.picture.beat(control.StreamBeat(sent=sent, replayed=0))
    assert (view.metrics().captured_s, view.metrics().sent_s) == (5.0, 4.0)


def test_what_was_replayed_is_added_up_over_all_lives_of_streaming():
    view = View()
    for replayed in (S, 2 * S, 0, S):  # the third is a new process
        view.picture.beat(control.StreamBeat(sent=0, replayed=replayed))
    assert view.metrics().replayed_s == 3.0


def test_what_is_missing_is_added_up():
    view = View()
    for first, end in ((0, S), (3 * S, 4 * S)):
        view.picture.missing(control.SamplesMissing(first=first, end=end, reason="overflow"))
    assert view.metrics().dropped_s == 2.0


@pytest.mark.parametrize(("connections", "reconnects"), [(0, 0), (1, 0), (3, 2)])
def test_the_first_connection_is_no_reconnect(connections, reconnects):
    view = View()
    for _ in range(connections):
        view.picture.connected()
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
    metrics = view.picture.metrics(view.lives, usage, {"n.gap": 7}, 107.25)
    assert (metrics.uptime_s, metrics.last, metrics.children) == (7.2, {"n.gap": 7}, usage)
