"""The block of arguments and environment that the kernel laid into this process's memory, and shows to others.

/proc/PID/cmdline and /proc/PID/environ read that memory. What a process that was forked shows there is its parent's:
our own memory file lets us write over it. Linux only; elsewhere, and where a sandbox hides /proc, nothing is done.
"""

import os
from collections.abc import Iterable

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick

# Of /proc/PID/stat, proc(5), counted from behind the name, which is field 2.
_ARGUMENTS, _ENVIRONMENT = 48 - 3, 50 - 3


def hide(names: Iterable[str]) -> bool:
    """Take the variables `names` out of /proc/PID/environ; `os.environ` keeps them. False if they may still be read."""
    if not tricks.is_used(Trick.PROC_TITLE):
        return False
    wanted = {name.encode() for name in names}
    try:
        start, end = _bounds(_ENVIRONMENT)
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            at = start
            for entry in os.pread(memory, end - start, start).split(b"\0"):
                if entry.partition(b"=")[0] in wanted and os.pwrite(memory, bytes(len(entry)), at) != len(entry):
                    return False
                at += len(entry) + 1
        finally:
            os.close(memory)
    except (OSError, ValueError, IndexError):
        return False
    return True


def show_as(title: str) -> None:
    """Be `title` in /proc/PID/cmdline, and with it in `ps`, as far as the arguments leave room for it."""
    if not tricks.is_used(Trick.PROC_TITLE):
        return
    try:
        start, end = _bounds(_ARGUMENTS)
        memory = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            # The last byte must stay zero: from one that is not, the kernel concludes that the text goes on behind it.
            os.pwrite(memory, title.encode()[: end - start - 1].ljust(end - start, b"\0"), start)
        finally:
            os.close(memory)
    except (OSError, ValueError, IndexError):
        pass


def _bounds(field: int) -> tuple[int, int]:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[field]), int(fields[field + 1])
