"""Processes as the kernel sees them, and how the rig starts its own so that none survives it."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.rig.waiting import wait_until


class ProcessInfo(NamedTuple):
    """One line of /proc: enough to tell who it is and whether it still counts."""

    pid: int
    parent: int
    state: str
    command: str

    @property
    def running(self) -> bool:
        """Whether it is more than an entry that nobody has collected yet."""
        return self.state not in "ZX"


def process_info(pid: int) -> ProcessInfo | None:
    """What /proc says about `pid`, None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    state, parent = rest.split()[:2]
    return ProcessInfo(pid, int(parent), state, command.strip() or name)


def descriptors_here() -> int:
    """How many descriptors this process has open, without those that only wait to be collected."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def rss_mb(pid: int) -> float:
    """The memory that `pid` has in use."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def all_processes() -> list[ProcessInfo]:
    """Every process of the machine."""
    found = (process_info(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [info for info in found if info is not None]


def marked(mark: str) -> set[int]:
    """Pids of the processes with `mark` in the environment they were started with: also orphans are found."""
    wanted = mark.encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.add(int(entry.name))
    return found


def descendants(roots: Iterable[int], processes: Sequence[ProcessInfo]) -> set[int]:
    """`roots` and everything that descends from them."""
    tree = set(roots)
    while more := {p.pid for p in processes if p.parent in tree and p.pid not in tree}:
        tree |= more
    return tree


def kill_all(pids: Iterable[int], timeout: float = 5) -> None:
    """SIGKILL and wait until the kernel has let go of them."""
    pids = list(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not any(_running(pid) for pid in pids), timeout, f"the end of {pids} after SIGKILL")


def _running(pid: int) -> bool:
    info = process_info(pid)
    return info is not None and info.running


def heed_signals() -> None:
    """Give what is started from here the usual signals, also where this process was told to ignore some.

    `nohup`, `sh -c '... &'` and some CI systems have a test run ignore them, and so would every program that it starts.
    A handler that does nothing ignores a signal as well, but for this process alone."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def spawn(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """Start `command` so that it does not outlive a test run that was itself killed.

    The kernel's death signal follows the starting *thread*, hence only from the main one."""
    if (setpriv := shutil.which("setpriv")) and threading.current_thread() is threading.main_thread():
        command = [setpriv, "--pdeathsig", "KILL", *command]
    return subprocess.Popen([str(part) for part in command], **options)


@contextmanager
def spawned(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `command`, and no longer than what is inside: a test that fails does not wait for its end.

    Nothing is buffered here: `communicate()` has all that `stdout.readline()` has left."""
    with spawn(command, bufsize=0, **options) as process:
        try:
            yield process
        finally:
            process.kill()


PROCESSORS = os.cpu_count() or 1


def runnable_tasks() -> int:
    """How many tasks of the whole machine run or wait for a processor now, this one included."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])


@contextmanager
def busy_processes(count: int = 1) -> Iterator[None]:
    """So many processes that take all they can get; they are at it when the block begins."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(spawned([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL))
        wait_until(lambda: runnable_tasks() > count, 30, f"{count} busy processes")
        yield
