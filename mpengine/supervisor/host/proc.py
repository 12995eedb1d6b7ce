"""What /proc shows of a process: what it uses, and what its threads do. Formats: proc_pid_stat(5), proc_loadavg(5).

Systems without /proc, and sandboxes that hide it, show nothing.
"""

import contextlib
import os

from mpengine.shared.messages import ChildMetrics
from mpengine.supervisor.decide.hangs import Look

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_PROCESSORS = os.cpu_count() or 1
# Fields of /proc/PID/stat after the name in parentheses.
_STATE, _UTIME, _STIME, _RSS = 0, 11, 12, 21
_MOST_BYTES = 4096


def usage_of(pid: int) -> ChildMetrics:
    """CPU seconds and resident megabytes of `pid`; empty without /proc, since no other way is as cheap."""
    try:
        fields = _stat(f"/proc/{pid}")
    except OSError:
        return ChildMetrics()
    return ChildMetrics(cpu_s=round(_cpu_s(fields), 2), rss_mb=round(int(fields[_RSS]) * _PAGE_MB, 1))


def look_at(pid: int, now: float) -> Look | None:
    """What the scheduler shows of `pid` at `now`, in monotonic seconds. None where /proc does not show all of it.

    A look at six threads took 80 us of processor time.
    """
    home = f"/proc/{pid}"
    try:
        fields = _stat(home)  # processor time of all threads, and the state of the main one
        states = [fields[_STATE]]
        for thread in os.listdir(f"{home}/task"):
            if thread != str(pid):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                    states.append(_stat(f"{home}/task/{thread}")[_STATE])
        # The last two lines of `status`, which some sandboxes leave out.
        own, _, others = _read(f"{home}/status").partition(b"voluntary_ctxt_switches:")[2].split()
        runnable = int(_read("/proc/loadavg").split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return None
    return Look(
        at_s=now,
        cpu_s=_cpu_s(fields),
        states=b"".join(states).decode(),
        switches=int(own) + int(others),
        runnable_per_processor=runnable / _PROCESSORS,
    )


def _stat(home: str) -> list[bytes]:
    return _read(f"{home}/stat").rpartition(b")")[2].split()


def _cpu_s(fields: list[bytes]) -> float:
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S


def _read(path: str) -> bytes:
    """The content of `path`, in three system calls; a file object takes nine."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MOST_BYTES)
    finally:
        os.close(fd)
