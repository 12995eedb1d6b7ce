"""A program that this process starts, reads, and ends together with everything that it has started.

The program is the leader of a session of its own, and ends with this process: the kernel sees to that. The kernel means
the thread that started the program, so the main thread starts it.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence

from mpengine.shared.errors import DeviceError
from mpengine.shared.logs import Event
from mpengine.shared.signal_names import signal_name

log = logging.getLogger("mpengine.capture")

_TERMINATE_S = 0.5
_KILL_S = 1.0
_LOOK_S = 0.005
# Standard error is always read, for a full pipe would stop the program: so much at once, ten times a second.
_STDERR_BYTES = 1 << 16
_STDERR_NS = 100_000_000
_LINES_A_MINUTE = 5
_MINUTE_NS = 60_000_000_000
_MOST_OF_LINE = 300
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Program:
    """A running program. `stdout` is the descriptor of what it writes; `close` closes it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises DeviceError when that cannot be done."""
        self.name = os.path.basename(command[0])
        self.stdout, stdout = os.pipe()
        stderr_reader, stderr = os.pipe()
        self._stderr = _StandardError(stderr_reader, self.name)
        try:
            with warnings.catch_warnings():
                # Python warns of forks beside threads. Before the new program runs, this one only makes system calls.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process = subprocess.Popen(  # noqa: S603  the user's own program
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                    preexec_fn=_before_exec(),  # noqa: PLW1509  see above
                )
        except (OSError, ValueError) as error:
            self.close()
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise DeviceError(f"audio.command: cannot start {command[0]}: {why}") from None
        finally:
            os.close(stdout)
            os.close(stderr)

    def listen(self, now_ns: int) -> None:
        """Read its standard error, and put some lines of it into the log."""
        self._stderr.read(now_ns)

    def how_it_ended(self) -> str:
        """After the end of its audio: how it ended, with its last words."""
        if not self._has_ended(_TERMINATE_S):
            how = "has closed its standard output"
        else:
            code = self._reap()
            how = f"was ended by {signal_name(-code)}" if code < 0 else f"has ended with exit code {code}"
        last = self._stderr.last_line()
        return f"{self.name} {how}" + (f": {last}" if last else "")

    def end(self) -> None:
        """End it and all that it has started, if that is not done yet: SIGTERM, and SIGKILL half a second later.

        What it had written can still be read.
        """
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(self._process.pid, signal.SIGTERM)
                self._has_ended(_TERMINATE_S)
                # To the whole group, whether its leader has ended or not.
                os.killpg(self._process.pid, signal.SIGKILL)
            except PermissionError:
                log.warning(Event("command_not_ended", command=self.name, reason="it runs as another user"))
                return
        if self._has_ended(_KILL_S):
            self._reap()

    def close(self) -> None:
        """Close its pipes. What belongs to another user, and cannot be ended, then has no reader any more."""
        os.close(self.stdout)
        self._stderr.close()

    def _has_ended(self, limit_s: float) -> bool:
        """Wait at most so long for its end, and leave its pid in use: so nobody else can have the group's number."""
        give_up = time.monotonic() + limit_s
        while self._process.returncode is None:
            if self._has_ended_now():
                return True
            if time.monotonic() >= give_up:
                return False
            time.sleep(_LOOK_S)
        return True

    def _has_ended_now(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _reap(self) -> int:
        """Its exit code. The rest of its group is ended first."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


class _StandardError:
    """The program's standard error."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._next_ns = self._minute_ends_ns = 0
        self._lines_left = 0
        self._left_out = 0
        self._rest = b""  # the beginning of a line
        self._last = b""
        os.set_blocking(fd, False)

    def read(self, now_ns: int) -> None:
        """Read what waits, if it is time. Some lines a minute go into the log, the others are counted."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _STDERR_NS
        if now_ns >= self._minute_ends_ns:
            if self._left_out:
                log.info(Event("command_lines_left_out", command=self._name, lines=self._left_out))
            self._minute_ends_ns, self._lines_left, self._left_out = now_ns + _MINUTE_NS, _LINES_A_MINUTE, 0
        *lines, rest = self._take_lines()
        self._rest = rest[:_MOST_OF_LINE]
        lines = [line for line in lines if line.strip()]
        for line in lines[: self._lines_left]:
            log.info(Event("command_says", command=self._name, line=_text(line)))
        self._left_out += max(0, len(lines) - self._lines_left)
        self._lines_left -= min(self._lines_left, len(lines))
        self._last = lines[-1] if lines else self._last

    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = self._take_lines()
        self._rest = b""
        return _text(next((line for line in reversed(lines) if line.strip()), self._last))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def _take_lines(self) -> list[bytes]:
        """What has waited, by lines. The last line may go on."""
        try:
            more = os.read(self._fd, _STDERR_BYTES)
        except BlockingIOError:
            more = b""
        return (self._rest + more).replace(b"\r", b"\n").split(b"\n")


def _text(line: bytes) -> str:
    return line.strip()[:_MOST_OF_LINE].decode(errors="replace")


def _before_exec() -> Callable[[], None]:
    """What the new process does before it becomes the program."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def end_with_parent() -> None:
        for number in (signal.SIGINT, signal.SIGTTOU):  # this process ignores them, and that would be inherited
            signal.signal(number, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent
