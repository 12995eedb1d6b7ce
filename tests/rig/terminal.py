"""A command on a terminal of its own, and what a person would see there."""

import contextlib
import os
import pty
import select
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte

from tests.rig.processes import spawn
from tests.rig.waiting import PATIENCE_S, scaled, wait_until

# No process has memory below it (vm.mmap_min_addr), and the numbers of other calls are smaller.
_LEAST_ADDRESS = 0x10000


class Terminal:
    """Runs `command`; Ctrl-C and the like send it signals. The screen is that of an emulator."""

    def __init__(self, command: Sequence[str], *, rows: int = 24, columns: int = 80, **environment: str) -> None:
        self._outer, inner = pty.openpty()
        termios.tcsetwinsize(self._outer, (rows, columns))
        self.screen: Any = pyte.HistoryScreen(columns, rows)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.written = b""
        # Test runners set these for themselves, and programs believe them more than the terminal.
        inherited = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
        whole = {**inherited, "TERM": "xterm-256color", "PYTHONWARNINGS": "error", **environment}
        words = ["setsid", "--ctty", *command]
        self.process = spawn(words, env=whole, stdin=inner, stdout=inner, stderr=inner)
        self._inner_name = os.ttyname(inner)
        os.close(inner)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without empty lines at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def stop_output(self) -> None:
        """Ctrl-S: from now on it takes nothing."""
        self.press(b"\x13")
        inner = os.open(self._inner_name, os.O_RDWR | os.O_NOCTTY)
        wait_until(lambda: not select.select([], [inner], [], 0)[1], 5, "the terminal to stop")
        os.close(inner)

    def wait_for_write(self) -> None:
        """Wait until the command stands in a write to its standard output: the kernel holds it there."""
        call = Path(f"/proc/{self.process.pid}/syscall")

        def stands() -> bool:
            _, *arguments = call.read_text().split()  # the number of the call; "running" alone where it is in none
            # In a sleep the first argument may be 1 as well: it names a clock, and no address is behind it.
            return arguments[:1] == ["0x1"] and int(arguments[1], 16) >= _LEAST_ADDRESS

        wait_until(stands, PATIENCE_S, "the command to stand in a write")

    def resize(self, rows: int, columns: int) -> None:
        """Give it another size, of which the command is told."""
        termios.tcsetwinsize(self._outer, (rows, columns))
        self.screen.resize(rows, columns)

    def press(self, key: bytes) -> None:
        """As on a keyboard."""
        os.write(self._outer, key)

    def wait_for(self, probe: Callable[[list[str]], object], timeout: float = PATIENCE_S) -> list[str]:
        """Read on until `probe(lines)` is true; returns the lines."""
        deadline = time.monotonic() + scaled(timeout)
        while not probe(self.lines):
            assert self._read(deadline), f"waited in vain; on the screen: {self.lines}; there came {self.written!r}"
        return self.lines

    def wait_for_end(self, timeout: float = PATIENCE_S) -> int:
        """Read all that comes; the exit code."""
        deadline = time.monotonic() + scaled(timeout)
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        """Kill the command, if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._outer)

    def _read(self, deadline: float) -> bool:
        """Whether more came; not when nobody has the terminal open any more."""
        if not select.select([self._outer], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        piece = b""
        with contextlib.suppress(OSError):
            piece = os.read(self._outer, 65536)
        self.written += piece
        self._stream.feed(piece)
        return bool(piece)
