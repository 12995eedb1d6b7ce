"""Writes over this process's arguments and environment, as other processes see them.

/proc/PID/cmdline and /proc/PID/environ show a block of the process's memory, in which a forked process has the text of
its parent. A process can write over it in /proc/self/mem. These functions do nothing outside of Linux, and where a
sandbox hides /proc.
"""

import os
from collections.abc import Iterable

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick

# Fields of /proc/PID/stat, proc(5), counted from the end of the name, which is field 2.
_ARGUMENTS, _ENVIRONMENT = 48 - 3, 50 - 3


def hide(names: Iterable[str]) -> bool:
    """Remove the variables `names` from /proc/PID/environ, not from `os.environ`. False: they may still be there."""
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
    """Show `title` in /proc/PID/cmdline and so in `ps`, cut to the length of the arguments."""
    if not tricks.is_used(Trick.PROC_TITLE):
        return
    try:
        start, end = _bounds(_ARGUMENTS)
        memory = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            # The last byte must stay zero; otherwise the kernel shows the text after it, too.
            os.pwrite(memory, title.encode()[: end - start - 1].ljust(end - start, b"\0"), start)
        finally:
            os.close(memory)
    except (OSError, ValueError, IndexError):
        pass


def _bounds(field: int) -> tuple[int, int]:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[field]), int(fields[field + 1])
