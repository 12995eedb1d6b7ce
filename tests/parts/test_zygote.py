"""The zygote: real forks of the real capture process, how their ends are told, and what goes wrong with a zygote."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from mpengine.processes import zygote_messages
from mpengine.processes.beginning import CaptureSettings
from mpengine.shared.config_tables import AudioConfig, BufferConfig
from mpengine.supervisor.children import zygote_client as zygote_module
from mpengine.supervisor.children.process import Spawned
from mpengine.supervisor.children.spawner import Spawner
from mpengine.supervisor.children.zygote_client import Forked
from tests.pure.support import ENVIRONMENT
from tests.rig.configs import write_wav
from tests.rig.processes import process_info
from tests.rig.waiting import scaled, wait_until


@pytest.fixture
def settings(tmp_path):
    """Makes settings with which capture plays a file, for as long as it is let; a missing one ends it (exit code 2)."""
    path = write_wav(tmp_path / "silence.wav", bytes(32000 * 60))

    def make(source=path):
        return CaptureSettings(
            identity="capture.test-1",
            control=f"ipc://{tmp_path}/control",
            frames=f"ipc://{tmp_path}/frames",
            log_level="info",
            parent_pid=os.getpid(),
            run="00" * 8,
            audio=AudioConfig(source=str(source)),
            window_path=str(tmp_path / "window"),
            buffer=BufferConfig(seconds=60),
            open_device=True,
        )

    return make


@pytest.fixture
def spawner():
    made = Spawner(forks=True)
    yield made
    made.close()


def works(process):
    """Wait until capture is at work: the last thing it opens is its file."""
    wait_until(lambda: any(path.endswith("silence.wav") for path in open_files(process.pid)), 30, "capture at work")


def open_files(pid):
    """What the descriptors of `pid` stand for."""
    found = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


def comm(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def thread_count(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))


def end_of(process):
    statuses = []

    def has_ended():
        status = process.reap()
        if status is not None:
            statuses.append(status)
        return bool(statuses)

    wait_until(has_ended, 30, f"the end of {process.pid}")
    return statuses[0]


@pytest.fixture(params=[True, False], ids=["forked", "spawned"])
def either(request):
    made = Spawner(forks=request.param)
    yield made
    made.close()


def test_a_child_runs_and_can_be_asked_to_end(either, settings):
    process = either.start("capture", settings())
    works(process)
    assert process.reap() is None
    process.terminate()
    assert end_of(process) == 0


def test_a_core_file_would_have_no_secret(either, settings):
    process = either.start("capture", settings())
    works(process)
    home = pathlib.Path(f"/proc/{process.pid}")
    limit = next(line for line in (home / "limits").read_text().splitlines() if line.startswith("Max core file size"))
    assert limit.split()[4:6] == ["0", "0"]
    assert int((home / "coredump_filter").read_text(), 16) == 0
    process.kill()
    end_of(process)


def test_its_exit_code_is_told(either, settings):
    assert end_of(either.start("capture", settings("/no/such.wav"))) == 2


def test_the_signal_that_killed_it_is_told(either, settings):
    process = either.start("capture", settings())
    works(process)
    process.kill()
    assert end_of(process) == -signal.SIGKILL


def test_one_that_hangs_writes_its_stacks(either, settings, capfd):
    process = either.start("capture", settings())
    works(process)
    process.abort()
    assert end_of(process) == -signal.SIGABRT
    stacks = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in stacks
    assert "mpengine/capture" in stacks  # where it was


def test_one_that_is_collected_is_signalled_no_more(either, settings, monkeypatch):
    process = either.start("capture", settings("/no/such.wav"))
    assert end_of(process) == 2
    # Neither its pid nor the numbers of its descriptors need be its own any more.
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    sent = []
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *what: sent.append(what))
    for end in (process.terminate, process.abort, process.kill):
        end()
    assert sent == []
    for descriptor in taken:
        os.close(descriptor)


def test_waiting_for_a_killed_one_is_bounded(either, settings):
    process = either.start("capture", settings())
    works(process)
    os.kill(process.pid, signal.SIGSTOP)  # as one that cannot die
    process.wait(0.05)
    assert process_info(process.pid).running
    os.kill(process.pid, signal.SIGKILL)


def test_the_descriptor_tells_of_an_end(spawner, settings):
    process = spawner.start("capture", settings("/no/such.wav"))
    ready = zygote_module.select.poll()
    ready.register(process.fileno(), zygote_module.select.POLLIN)
    assert ready.poll(20_000)
    assert process.reap() == 2
    assert process.fileno() is None


def test_the_descriptor_tells_of_an_end_that_the_zygote_does_not(spawner, settings):
    process = spawner.start("capture", settings())
    works(process)
    ready = zygote_module.select.poll()
    ready.register(process.fileno(), zygote_module.select.POLLIN)
    assert not ready.poll(0)
    os.kill(spawner.zygote_pid, signal.SIGKILL)
    assert ready.poll(20_000)
    assert process.reap() == -signal.SIGKILL


def test_the_zygote_has_one_thread_and_only_what_all_share(spawner, settings):
    process = spawner.start("capture", settings())
    works(process)
    assert thread_count(spawner.zygote_pid) == 1
    loaded = pathlib.Path(f"/proc/{spawner.zygote_pid}/maps").read_text()
    assert "libzmq" in loaded or "_zmq" in loaded
    assert not [name for name in ("libportaudio", "_ssl.", "libssl", "numpy") if name in loaded]
    assert comm(spawner.zygote_pid) == "mpe-zygote"
    process.kill()
    end_of(process)


def test_a_child_has_the_zygote_as_parent_a_group_of_its_own_and_no_descriptor_too_many(spawner, settings):
    first = spawner.start("capture", settings())
    works(first)
    assert process_info(first.pid).parent == spawner.zygote_pid
    assert os.getpgid(first.pid) == first.pid
    before = len(open_files(first.pid))
    for _ in range(5):
        first.kill()
        end_of(first)
        first = spawner.start("capture", settings())
        works(first)
    assert len(open_files(first.pid)) == before
    assert len(open_files(spawner.zygote_pid)) < 12
    first.kill()
    end_of(first)


def test_children_go_with_their_zygote_and_the_next_has_another(spawner, settings):
    process = spawner.start("capture", settings())
    works(process)
    before = spawner.zygote_pid
    os.kill(before, signal.SIGKILL)
    assert end_of(process) == -signal.SIGKILL
    after = spawner.start("capture", settings())
    assert isinstance(after, Forked)
    assert spawner.zygote_pid != before
    works(after)
    after.kill()
    end_of(after)


def test_a_zygote_that_does_not_answer_is_done_without(spawner, settings, monkeypatch):
    monkeypatch.setattr(zygote_module, "_FORK_LIMIT_S", 0.2)
    first = spawner.start("capture", settings())
    works(first)
    os.kill(spawner.zygote_pid, signal.SIGSTOP)
    second = spawner.start("recogniser", settings())  # of the wrong kind: it ends by itself
    assert isinstance(second, Spawned)
    assert end_of(first) == -signal.SIGKILL
    assert end_of(second) != 0


def test_an_end_that_the_zygote_does_not_tell_is_seen_all_the_same(spawner, settings, monkeypatch):
    monkeypatch.setattr(zygote_module, "_END_LIMIT_S", 0.1)
    process = spawner.start("capture", settings())
    works(process)
    os.kill(spawner.zygote_pid, signal.SIGSTOP)
    process.kill()
    assert end_of(process) == -signal.SIGKILL


@pytest.mark.slow
def test_where_zygotes_fail_again_and_again_children_are_started_without(spawner, settings, monkeypatch):
    tries = []

    def fails():
        tries.append(1)
        raise TimeoutError("the zygote did not answer")

    monkeypatch.setattr("mpengine.supervisor.children.spawner.Zygote.spawned", fails)
    for _ in range(5):
        process = spawner.start("capture", settings("/no/such.wav"))
        assert isinstance(process, Spawned)
        assert end_of(process) == 2
    assert len(tries) == 3


def test_a_signal_to_all_processes_of_a_session_leaves_the_zygote_to_the_supervisor(spawner, settings):
    process = spawner.start("capture", settings())
    works(process)
    os.kill(spawner.zygote_pid, signal.SIGTERM)
    process.terminate()  # the child obeys it all the same
    assert end_of(process) == 0
    assert isinstance(spawner.start("capture", settings("/no/such.wav")), Forked)


FORKED = """
import os, sys
import mpengine.processes.zygote
early = mpengine.processes.zygote.fork()
from mpengine.processes import zygote_messages
from mpengine.processes.beginning import CaptureSettings
from mpengine.shared.config_tables import AudioConfig, BufferConfig
from mpengine.supervisor.children.spawner import Spawner
from tests.rig.waiting import wait_until
source, directory, what = sys.argv[1:]
spawner = Spawner(forks=what != "none", zygote=early)
def start():
    settings = CaptureSettings(
        identity="capture.test-1", control=f"ipc://{directory}/control", frames=f"ipc://{directory}/frames",
        log_level="info", parent_pid=os.getpid(), run="00" * 8, audio=AudioConfig(source=source),
        window_path=f"{directory}/window", buffer=BufferConfig(seconds=60), open_device=True,
    )
    return spawner.start("capture", settings)
def end_of(process):
    statuses = []
    wait_until(lambda: statuses.append(process.reap()) or statuses[-1] is not None, 30, "the end")
    return statuses[-1]
if what == "killed":
    os.kill(early.pid, 9)
    os.waitid(os.P_PID, early.pid, os.WEXITED | os.WNOWAIT)
first = end_of(start())
print(first, spawner.zygote_pid == early.pid, spawner.zygote_pid is not None)
if what == "used":
    with open(f"/proc/{early.pid}/cmdline") as file:
        print(file.read().split("\\0")[0])
spawner.close()
"""


def forked(source, directory, what):
    """What the script above printed, with a zygote that was forked off it; nothing else may say a word."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, str(source), str(directory), what],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=True,
    )
    return done.stdout.splitlines(), done.stderr


def test_a_zygote_that_was_forked_off_the_supervisor_forks_and_tells_like_any_other(tmp_path):
    lines, said = forked("/no/such.wav", tmp_path, "used")
    assert lines == ["2 True True", "mpengine.processes.zygote"]
    assert said == ""


@pytest.mark.slow
def test_a_forked_zygote_that_died_is_replaced_by_a_spawned_one(tmp_path):
    lines, said = forked("/no/such.wav", tmp_path, "killed")
    assert lines == ["2 False True"]
    assert said.count("zygote_failed") == 1


@pytest.mark.slow
def test_a_forked_zygote_that_is_not_wanted_goes_without_a_word(tmp_path):
    lines, said = forked("/no/such.wav", tmp_path, "none")
    assert lines == ["2 False False"]
    assert said == ""


EARLY = """
import os, signal, socket, sys
from mpengine.processes import zygote

usual = zygote._become_child

def become(descriptors):
    os.kill(os.getpid(), signal.SIGTERM)
    usual(descriptors)

zygote._become_child = become
zygote.serve(socket.socket(fileno=int(sys.argv[1])))
os._exit(0)
"""


def test_a_request_to_end_that_comes_before_the_child_is_one_is_not_lost():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    with ours, theirs:
        number = theirs.fileno()
        command = [sys.executable, "-c", EARLY, str(number)]
        with subprocess.Popen(command, pass_fds=[number], env=ENVIRONMENT) as process:
            theirs.close()
            ours.settimeout(scaled(30))

            def told():
                return zygote_messages.decode_told.decode(ours.recv(zygote_messages.MAX_BYTES))

            assert isinstance(told(), zygote_messages.Ready)
            socket.send_fds(ours, [zygote_messages.encode(zygote_messages.Fork(name="capture"))], [reader])
            forked, ended = told(), told()
            ours.close()
            process.wait(scaled(30))
    os.close(reader)
    os.close(writer)
    assert ended == zygote_messages.Ended(pid=forked.pid, status=-signal.SIGTERM)
