"""Notices to systemd, on real datagram sockets: what is in them, and that nothing blocks or raises."""

import os
import shutil
import subprocess
import sys

import pytest

from mpengine.shared import messages
from mpengine.shared.config import Config
from mpengine.supervisor.decide.coordinator import Coordinator
from mpengine.supervisor.host.systemd import Notifier, SystemdNotices
from tests.pure.support import within
from tests.rig.manager import Manager
from tests.rig.processes import descriptors_here


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    made = Manager(str(tmp_path / "notify") if request.param == "path" else "")
    yield made
    made.close()


@pytest.fixture
def at_path(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_a_life_is_told_from_ready_to_stopping(manager):
    notifier = Notifier(manager.environment | {"WATCHDOG_USEC": "3000000"})
    notifier.ready()
    notifier.status("running")
    notifier.watchdog()
    notifier.watchdog()
    notifier.stopping(30)
    assert manager.received() == [
        {"READY": "1"},
        {"STATUS": "running"},
        {"WATCHDOG": "1"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "30000000"},
    ]


def test_what_has_not_changed_is_not_told_again(manager):
    notifier = Notifier(manager.environment)
    for _ in range(3):
        notifier.ready()
        notifier.status("running")
    notifier.status("degraded")
    notifier.status("running")
    notifier.stopping(30)
    notifier.stopping(30)
    assert [notice.get("STATUS") for notice in manager.received()] == [None, "running", "degraded", "running", None]


def test_a_status_is_one_line_that_says_nothing_else(manager):
    notifier = Notifier(manager.environment)
    notifier.status("no such device\nWATCHDOG=1\r\nREADY=1")
    assert manager.received() == [{"STATUS": "no such device WATCHDOG=1 READY=1"}]


@pytest.mark.parametrize("text", ["é" * 4000, "a" + "é" * 4000, "\udcff" * 4000])
def test_a_long_status_is_cut_between_letters(at_path, text):
    Notifier(at_path.environment).status(text)
    (notice,) = at_path.received()
    assert 490 <= len(notice["STATUS"].encode()) <= 500


def test_the_variables_are_taken_away_from_the_children(monkeypatch, at_path):
    monkeypatch.setenv("NOTIFY_SOCKET", at_path.address)
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notifier = Notifier(os.environ)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    notifier.ready()
    assert at_path.received() == [{"READY": "1"}]


# The watchdog


@pytest.mark.parametrize("pid", [{}, {"WATCHDOG_PID": str(os.getpid())}])
def test_the_watchdog_is_fed_twice_in_its_time(at_path, pid):
    assert Notifier(at_path.environment | {"WATCHDOG_USEC": "3000000"} | pid).watchdog_s == 1.5


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "9" * 5000},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "me"},
    ],
)
def test_a_watchdog_that_is_off_or_of_another_process_is_not_fed(at_path, variables):
    notifier = Notifier(at_path.environment | variables)
    notifier.watchdog()
    assert notifier.watchdog_s is None
    assert at_path.received() == []


def test_the_watchdog_is_not_fed_while_nobody_can_reach_the_engine(at_path, monkeypatch):
    for key, value in (at_path.environment | {"WATCHDOG_USEC": "2000000"}).items():
        monkeypatch.setenv(key, value)
    notices = SystemdNotices(stop_limit_s=30.0)
    coordinator = Coordinator(Config.parse({"remote": {"mode": "local"}}), chance=lambda: 0.5, now=0.0)
    fed = []
    for now, is_reachable in enumerate([True, True, False, False, True]):
        notices.update(messages.Status(state="running"), coordinator, float(now), is_reachable=is_reachable)
        fed.append(at_path.count("WATCHDOG=1"))
    assert fed == [1, 2, 2, 2, 3]


# Without anybody who listens


@pytest.mark.slow
@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1234", "/nowhere/notify", "/" + "x" * 200])
def test_nothing_happens_without_systemd(address, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    before = descriptors_here()
    variables = {} if address is None else {"NOTIFY_SOCKET": address}
    notifier = Notifier(variables | {"WATCHDOG_USEC": "3000000"})
    notifier.ready()
    notifier.status("running")
    notifier.watchdog()
    notifier.stopping(30)
    assert os.listdir(tmp_path) == []
    assert descriptors_here() == before
    assert not caplog.records


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1234"])
def test_there_is_no_watchdog_without_a_socket(address):
    variables = {} if address is None else {"NOTIFY_SOCKET": address}
    assert Notifier(variables | {"WATCHDOG_USEC": "3000000"}).watchdog_s is None


def fill(notifier):
    """Say more than the other end's queue holds."""
    with within(5):
        for number in range(3000):
            notifier.status(f"status {number}")


def test_a_full_queue_does_not_block_and_the_newest_is_told_once_there_is_room(manager):
    notifier = Notifier(manager.environment)
    fill(notifier)
    notifier.ready()
    assert 0 < len(manager.received()) < 3000
    notifier.stopping(30)
    (notice,) = manager.received()
    assert (notice["STATUS"], notice["READY"], notice["STOPPING"]) == ("status 2999", "1", "1")


def test_a_sign_of_life_that_could_not_be_sent_is_not_sent_later(manager):
    notifier = Notifier(manager.environment | {"WATCHDOG_USEC": "3000000"})
    fill(notifier)
    notifier.watchdog()
    manager.received()
    notifier.status("degraded")
    assert manager.received() == [{"STATUS": "degraded"}]


def test_a_socket_that_vanished_is_found_again(at_path):
    notifier = Notifier(at_path.environment | {"WATCHDOG_USEC": "3000000"})
    at_path.vanish()
    notifier.ready()
    notifier.status("running")
    at_path.listen()
    notifier.watchdog()
    notifier.watchdog()
    assert at_path.received() == [{"READY": "1", "STATUS": "running", "WATCHDOG": "1"}, {"WATCHDOG": "1"}]


def test_no_descriptor_stays_open(manager):
    notifier = Notifier(manager.environment | {"WATCHDOG_USEC": "3000000"})
    before = descriptors_here()
    notifier.ready()
    notifier.watchdog()
    assert descriptors_here() == before


# The unit


def complaints(path, unit, manager):
    """What systemd's own reader says of `unit`; of the machine it runs on it may say what it likes."""
    path.write_text(unit, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", manager, "verify", str(path)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(path.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("manager", ["--system", "--user"])
@pytest.mark.parametrize("arguments", [[], ["--name", "kitchen", "--config", "/x y/100%/mic.toml"]])
def test_systemd_finds_no_fault_in_the_unit(tmp_path, manager, arguments):
    printed = subprocess.run(
        [sys.executable, "-m", "mpengine", "service", manager, *arguments], capture_output=True, text=True, check=True
    )
    path = tmp_path / "mpengine.service"
    if not complaints(path, f"{printed.stdout}\n[Service]\nNonsense=1\n", manager):
        pytest.skip("systemd-analyze does not get as far as units here")
    assert complaints(path, printed.stdout, manager) == []
