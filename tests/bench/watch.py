"""When files are written to, told by inotify(7): how a benchmark knows what passes inside a process that it does not
touch.
"""

import ctypes
import os
import select
import threading
import time
from pathlib import Path
from typing import Self

IN_MODIFY = 2
_libc = ctypes.CDLL(None, use_errno=True)


class WriteTimes:
    """Context manager: the times (monotonic ns) of writes to one file. Writes that follow each other within
    `apart_s` are one.
    """

    def __init__(self, path: Path, apart_s: float = 0.005) -> None:
        self._apart_ns = int(apart_s * 1e9)
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(path), IN_MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "inotify does not work here")
        self.times_ns: list[int] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read, name="write-times", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.set()
        self._thread.join(5)
        os.close(self._fd)

    def _read(self) -> None:
        last_ns = 0
        while not self._ends.is_set():
            if select.select([self._fd], [], [], 0.2)[0]:
                now_ns = time.monotonic_ns()
                os.read(self._fd, 1 << 16)
                if now_ns - last_ns > self._apart_ns:
                    self.times_ns.append(now_ns)
                last_ns = now_ns
