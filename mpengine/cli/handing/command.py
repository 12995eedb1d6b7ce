"""The processes that get messages: a command, what it finds on its standard input, and the pipe of a long-lived one."""

import array
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import Sequence
from typing import IO

# How long a command may take to end after the end of its input, and after SIGTERM.
END_S, _TERMINATED_S = 5.0, 2.0
# Where the system does not announce an end, or that a pipe is empty, it is looked for so often.
_LOOK_S = 0.05
_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", None)
_PAGE_BYTES = 4096


class Command:
    """A process in a group of its own: the terminal's Ctrl-C is for the listener, which ends its command in order."""

    def __init__(self, words: Sequence[str], stdin: int, environment: dict[str, str] | None = None) -> None:
        """Raises OSError when it cannot be started."""
        self._process = subprocess.Popen(words, stdin=stdin, env=environment, process_group=0)  # noqa: S603  the user's
        self._exit_fd = -1
        with contextlib.suppress(AttributeError, OSError):  # not Linux, or no descriptor is left
            self._exit_fd = os.pidfd_open(self._process.pid)

    def watch(self, poller: "select.poll", limit_s: float) -> float:
        """Have `poller` wake at its end. Returns how long to wait at most."""
        if self._exit_fd < 0:
            return min(limit_s, _LOOK_S)
        poller.register(self._exit_fd, select.POLLIN)
        return limit_s

    @property
    def status(self) -> int | None:
        """Its exit status, as in `subprocess`; None while it runs."""
        return self._process.poll()

    def wait(self, limit_s: float) -> int | None:
        """Its exit status; None when it has not ended within `limit_s`."""
        give_up = time.monotonic() + limit_s
        while (status := self.status) is None and (rest_s := give_up - time.monotonic()) > 0:
            poller = select.poll()
            poller.poll(int(self.watch(poller, rest_s) * 1000) + 1)
        return status

    def end(self) -> int:
        """End it, and all of its group: SIGTERM, and SIGKILL after a while. Returns its exit status."""
        for number, limit_s in ((signal.SIGTERM, _TERMINATED_S), (signal.SIGKILL, _TERMINATED_S)):
            if self.status is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
                self.wait(limit_s)
        status = self.status
        return -int(signal.SIGKILL) if status is None else status  # in the kernel: it dies when it can

    def close(self) -> None:
        """Give up the descriptor; end it if it still runs."""
        if self.status is None:
            self.end()
        if self._exit_fd >= 0:
            os.close(self._exit_fd)
            self._exit_fd = -1


def with_content(data: bytes) -> IO[bytes]:
    """A file without a name that has `data`, and is read from its beginning."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        file.write(data)
        file.seek(0)
    except OSError:
        file.close()
        raise
    return file


class Pipe:
    """A command and its standard input. This process keeps the reading end too: so it knows what was left unread."""

    def __init__(self, words: Sequence[str]) -> None:
        """Raises OSError when the command cannot be started."""
        self._reader, self._writer = os.pipe()
        try:
            os.set_blocking(self._writer, False)
            # A pipe of one page is writable only when it is empty.
            self._is_exact = False
            if _F_SETPIPE_SZ is not None:
                with contextlib.suppress(OSError):
                    self._is_exact = fcntl.fcntl(self._writer, _F_SETPIPE_SZ, _PAGE_BYTES) == _PAGE_BYTES
            self.command = Command(words, self._reader)
        except BaseException:
            self._close_ends()
            raise
        self._rest = b""
        self.put_bytes = 0
        """The length of the line that was put in last."""

    def put(self, line: bytes) -> None:
        """Write `line`, as far as there is room; `push` writes the rest."""
        self._rest, self.put_bytes = line, len(line)
        self.push()

    def push(self) -> None:
        """Write what had no room before."""
        if self._rest and self._writer >= 0:
            with contextlib.suppress(BlockingIOError):
                self._rest = self._rest[os.write(self._writer, self._rest) :]

    @property
    def unread_bytes(self) -> int:
        """How much of the last line the command has not read."""
        count = array.array("i", [0])
        fcntl.ioctl(self._reader, termios.FIONREAD, count)
        return count[0] + len(self._rest)

    @property
    def is_read(self) -> bool:
        """Whether the command has read all that was put in."""
        return not self.unread_bytes

    def watch(self, poller: "select.poll", limit_s: float) -> float:
        """Have `poller` wake when the line is read, or has room for more. Returns how long to wait at most.

        That is not at all for a line that was read meanwhile: nothing would wake the poller.
        """
        if self.is_read:
            return 0.0
        if not self._is_exact and not self._rest:
            return min(limit_s, _LOOK_S)
        poller.register(self._writer, select.POLLOUT)
        return limit_s

    def finish(self) -> int:
        """End the input; the command ends by that, or is ended. Returns its exit status: 0 if it had to be ended."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
        status = self.command.wait(END_S)
        if status is None:
            self.command.end()
        return status or 0

    def close(self) -> None:
        """Close everything. A command that still runs gets the end of its input first."""
        if self.command.status is None:
            self.finish()
        self.command.close()
        self._close_ends()

    def _close_ends(self) -> None:
        for descriptor in (self._reader, self._writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self._writer = -1
