"""What a process has used, from /proc; other systems have nothing as cheap, and tell nothing."""

import os

from mpengine.shared.messages import ChildMetrics

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
# Fields of /proc/PID/stat behind the name in parentheses, proc_pid_stat(5).
_UTIME, _STIME, _RSS = 11, 12, 21
_MOST_BYTES = 1024


def usage_of(pid: int) -> ChildMetrics:
    """CPU seconds and resident megabytes of `pid`."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return ChildMetrics()
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return ChildMetrics(cpu_s=round(ticks / _TICKS_PER_S, 2), rss_mb=round(int(fields[_RSS]) * _PAGE_MB, 1))


def _read(path: str) -> bytes:
    """Three system calls, where a file object takes nine."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MOST_BYTES)
    finally:
        os.close(fd)
