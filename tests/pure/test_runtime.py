"""The runtime directory: ours alone, held by one engine."""

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest

from mpengine.shared import one_writer, runtime
from mpengine.shared.errors import AlreadyRunning, RuntimeDirError
from mpengine.shared.runtime import RuntimeDir
from tests.pure.support import ENVIRONMENT

HOLDER = """
import sys
from mpengine.shared.runtime import RuntimeDir
RuntimeDir("mic").lock()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder():
    """Another process that holds the engine called mic."""
    environment = {**ENVIRONMENT, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, **pipes)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_it_lies_below_the_users_runtime_directory(base):
    assert RuntimeDir("mic").path == f"{base}/mpengine/mic"


@pytest.mark.parametrize("base", [None, "", "relative"])
def test_without_one_it_lies_below_the_temporary_directory(monkeypatch, tmp_path, base):
    monkeypatch.setenv("XDG_RUNTIME_DIR", base or "")
    if base is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert runtime.runtime_path("mic") == f"{tmp_path}/mpengine-{os.getuid()}/mic"


@pytest.mark.parametrize("place", ["/nowhere", "relative", "."])
def test_without_a_place_to_write_to_it_never_lies_in_the_working_directory(monkeypatch, tmp_path, place):
    monkeypatch.chdir(tmp_path)
    os.mkdir("relative")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    for variable in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(variable, place)
    monkeypatch.setattr("os.path.isdir", lambda path: not path.startswith(("/tmp", "/var/tmp")))
    monkeypatch.setattr("os.access", lambda path, _mode: not path.startswith("/nowhere"))
    with pytest.raises(RuntimeDirError, match=r"no place for the engine's sockets .*/var/tmp\): set XDG_RUNTIME_DIR"):
        runtime.runtime_path("mic")


def test_an_endpoint_is_a_socket_in_it(base):
    assert runtime.endpoint(runtime.runtime_path("mic"), "results") == f"ipc://{base}/mpengine/mic/results"


def test_nobody_else_may_enter(base):
    before = os.umask(0)
    try:
        RuntimeDir("mic")
    finally:
        os.umask(before)
    assert (mode_of(base / "mpengine"), mode_of(base / "mpengine/mic")) == (0o700, 0o700)


def test_a_directory_that_was_open_to_others_is_closed(base):
    (base / "mpengine/mic").mkdir(parents=True, mode=0o777)
    (base / "mpengine/mic").chmod(0o777)
    RuntimeDir("mic")
    assert mode_of(base / "mpengine/mic") == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("path", ["mpengine", "mpengine/mic"])
def test_a_directory_of_somebody_else_is_refused(base, path):
    (base / path).mkdir(parents=True)
    os.chown(base / path, 12345, 12345)
    with pytest.raises(RuntimeDirError, match="is not a directory of this user"):
        RuntimeDir("mic")


@pytest.mark.parametrize("path", ["mpengine", "mpengine/mic"])
def test_a_symlink_in_its_place_is_refused(base, path):
    (base / path).parent.mkdir(exist_ok=True)
    (base / "elsewhere").mkdir()
    (base / path).symlink_to(base / "elsewhere")
    with pytest.raises(RuntimeDirError, match="is not a directory of this user"):
        RuntimeDir("mic")


def test_a_file_in_its_place_is_refused(base):
    (base / "mpengine").touch()
    with pytest.raises(RuntimeDirError, match="cannot make the runtime directory"):
        RuntimeDir("mic")


def test_a_path_too_long_for_a_socket_is_refused_with_what_to_do(monkeypatch, base):
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{base}/{'x' * 100}")
    with pytest.raises(RuntimeDirError, match="too long for a socket; set XDG_RUNTIME_DIR to a shorter path"):
        RuntimeDir("mic")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of Linux")
@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
def test_the_longest_socket_path_has_107_bytes(monkeypatch, base, length, fits):
    rest = length - len(f"{base}//mpengine/mic/control")
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{base}/{'x' * rest}")
    if fits:
        path = f"{RuntimeDir('mic').path}/control"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
        assert len(path) == length
    else:
        with pytest.raises(RuntimeDirError):
            RuntimeDir("mic")


# The lock


def pid_in_lock(base, name):
    return int((base / "mpengine" / name / "lock").read_text())


def is_lock(descriptor):
    with contextlib.suppress(FileNotFoundError):  # the one that lists them
        return os.readlink(descriptor).endswith("/mpengine/mic/lock")


def test_the_lock_holds_the_pid():
    directory = RuntimeDir("mic")
    directory.lock()
    with open(f"{directory.path}/lock", encoding="ascii") as file:
        assert file.read() == f"{os.getpid()}\n"
    directory.unlock()


def test_a_second_engine_of_that_name_is_told_who_holds_it(holder):
    with pytest.raises(AlreadyRunning, match=rf'"mic" is running already \(pid {holder.pid}\)'):
        RuntimeDir("mic").lock()


def test_the_refusal_says_how_to_stop_the_first(holder):
    with pytest.raises(AlreadyRunning, match=re.escape("mpengine stop --name mic")):
        RuntimeDir("mic").lock()


def test_the_refused_engine_changes_nothing(holder, base):
    with pytest.raises(AlreadyRunning):
        RuntimeDir("mic").lock()
    assert (base / "mpengine/mic/lock").read_text() == f"{holder.pid}\n"


def test_an_engine_of_another_name_is_not_held_up(holder, base):
    other = RuntimeDir("other")
    other.lock()
    assert pid_in_lock(base, "other") == os.getpid()
    assert pid_in_lock(base, "mic") == holder.pid
    other.unlock()


def test_a_killed_holder_holds_nothing(holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    directory = RuntimeDir("mic")
    directory.lock()
    with open(f"{directory.path}/lock", encoding="ascii") as file:
        assert file.read() == f"{os.getpid()}\n"
    directory.unlock()


def test_a_shorter_pid_leaves_nothing_of_a_longer_one(base):
    directory = RuntimeDir("mic")
    (base / "mpengine/mic/lock").write_text("123456789012\n")
    directory.lock()
    assert (base / "mpengine/mic/lock").read_text() == f"{os.getpid()}\n"
    directory.unlock()


def test_a_lock_that_was_let_go_can_be_taken_again():
    first, second = RuntimeDir("mic"), RuntimeDir("mic")
    first.lock()
    first.unlock()
    second.lock()
    with pytest.raises(AlreadyRunning):
        first.lock()
    second.unlock()


def test_a_lock_is_not_inherited_by_children():
    directory = RuntimeDir("mic")
    directory.lock()
    held = [int(fd) for fd in os.listdir("/proc/self/fd") if is_lock(f"/proc/self/fd/{fd}")]
    assert [os.get_inheritable(fd) for fd in held] == [False]
    directory.unlock()


def test_sockets_that_a_killed_engine_left_are_removed(base):
    directory = RuntimeDir("mic")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{directory.path}/results")
    directory.lock()
    assert not (base / "mpengine/mic/results").exists()
    directory.unlock()


def test_files_in_it_stay(base):
    directory = RuntimeDir("mic")
    (base / "mpengine/mic/mic.window").write_bytes(b"audio")
    directory.lock()
    directory.unlock()
    assert (base / "mpengine/mic/mic.window").read_bytes() == b"audio"


def test_the_refused_engine_removes_no_socket_of_the_first(holder, base):
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(base / "mpengine/mic/results"))
        with pytest.raises(AlreadyRunning):
            RuntimeDir("mic").lock()
    assert (base / "mpengine/mic/results").exists()


@pytest.mark.parametrize(
    ("endpoint", "is_inside"),
    [
        ("ipc://{}/query", True),
        ("ipc://{}/./query", True),
        ("ipc://{}/../query", False),
        ("ipc://{}/deeper/query", False),
        ("ipc://query", False),
        ("ipc://@{}/query", False),
        ("tcp://127.0.0.1:5555", False),
    ],
)
def test_an_endpoint_is_inside_only_as_a_socket_of_the_directory_itself(tmp_path, endpoint, is_inside):
    assert runtime.is_inside(str(tmp_path), endpoint.format(tmp_path)) is is_inside


# Names that vanish, and what stands in their place


def clean_up(path, hold_s):
    """As systemd-tmpfiles does: lock the directory for a moment, in another process."""
    script = f"import fcntl, os, sys, time; fd = os.open({path!r}, os.O_RDONLY); fcntl.flock(fd, fcntl.LOCK_EX)\n"
    script += f"print(flush=True); time.sleep({hold_s})"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_the_directory_is_locked_too_so_that_nobody_cleans_it_up(base):
    directory = RuntimeDir("mic")
    directory.lock()
    assert one_writer.is_held(directory.path)
    directory.unlock()
    assert not one_writer.is_held(directory.path)


def test_who_cleans_up_is_waited_for():
    directory = RuntimeDir("mic")
    with clean_up(directory.path, 0.3):
        directory.lock()
    directory.unlock()


def test_a_directory_that_stays_locked_is_in_use(monkeypatch):
    monkeypatch.setattr(runtime, "_CLEANER_S", 0.1)
    directory = RuntimeDir("mic")
    with clean_up(directory.path, 600) as process:
        with pytest.raises(AlreadyRunning, match=r"running already \(pid unknown\)"):
            directory.lock()
        process.kill()


def test_an_engine_whose_lock_was_removed_is_still_running(base, monkeypatch, holder):
    monkeypatch.setattr(runtime, "_CLEANER_S", 0.1)
    os.unlink(base / "mpengine/mic/lock")
    with pytest.raises(AlreadyRunning):
        RuntimeDir("mic").lock()
    assert os.listdir(base / "mpengine/mic") == []


@pytest.mark.parametrize("what", ["lock", "directory", "both"])
def test_what_vanished_is_made_and_held_again(base, what):
    directory = RuntimeDir("mic")
    directory.lock()
    before = directory.held()
    if what == "lock":
        os.unlink(directory.lock_path)
    else:
        shutil.rmtree(base / "mpengine" if what == "both" else directory.path)
    directory.lock_again()
    assert pid_in_lock(base, "mic") == os.getpid()
    assert one_writer.is_held(directory.path)
    assert one_writer.is_held(directory.lock_path)
    assert (directory.held()[0] == before[0]) is (what == "lock")
    with pytest.raises(AlreadyRunning):
        RuntimeDir("mic").lock()
    directory.unlock()


def test_where_nothing_vanished_nothing_changes(base):
    directory = RuntimeDir("mic")
    directory.lock()
    before = directory.held()
    directory.lock_again()
    assert directory.held() == before
    directory.unlock()


def test_sockets_live_on_where_the_lock_alone_vanished(base):
    directory = RuntimeDir("mic")
    directory.lock()
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(f"{directory.path}/results")
        os.unlink(directory.lock_path)
        directory.lock_again()
        assert (base / "mpengine/mic/results").exists()
    directory.unlock()


def test_a_directory_that_another_engine_has_by_now_is_not_touched(base):
    first, second = RuntimeDir("mic"), None
    first.lock()
    shutil.rmtree(first.path)
    second = RuntimeDir("mic")
    second.lock()
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(f"{second.path}/results")
        with pytest.raises(AlreadyRunning):
            first.lock_again()
        first.unlock()
        assert sorted(os.listdir(second.path)) == ["lock", "results"]
    second.unlock()


def test_without_a_place_for_the_directory_it_is_one_line(base):
    directory = RuntimeDir("mic")
    directory.lock()
    shutil.rmtree(base / "mpengine")
    (base / "mpengine").touch()
    with pytest.raises(RuntimeDirError, match=r"cannot make .*/mpengine: File exists; set XDG_RUNTIME_DIR"):
        directory.lock_again()
    directory.unlock()


def put_link(path):
    (path.parent / "target").write_text("precious")
    path.symlink_to(path.parent / "target")


@pytest.mark.parametrize(
    "put",
    [put_link, os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")],
    ids=["link", "directory", "fifo", "device"],
)
def test_anything_but_a_file_in_place_of_the_lock_is_refused_and_left_as_it_is(base, put):
    directory = RuntimeDir("mic")
    put(base / "mpengine/mic/lock")
    with pytest.raises(
        RuntimeDirError,
        match=r"cannot lock .*/lock: (not a regular file; name another one, or remove it|Is a directory)",
    ):
        directory.lock()
    if put is put_link:
        assert (base / "mpengine/mic/target").read_text() == "precious"
