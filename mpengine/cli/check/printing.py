"""Prints the lines of `mpengine check` as they come: for a person at a terminal, for a pipe, or as JSON at the end."""

import contextlib
import json
import os
import select
import sys

from mpengine.capture.tried import Level
from mpengine.cli.check.lines import LEAST_BESIDE, MARKS, NAME_COLUMNS, Line, Look, drawn, summary
from mpengine.shared.standard_streams import drop_output, terminal_size, write_text
from mpengine.shared.text import beginning

_LEAST_BAR, _BAR = 10, 40
_LOWEST_DBFS = -60.0
_CLEAR = "\r\x1b[K"


class Printer:
    """Prints one check after the other. It is the only one that writes to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._is_terminal = sys.stdout.isatty() and not as_json
        self._can_draw = self._is_terminal and os.environ.get("TERM", "dumb") != "dumb"
        self._has_bar = False
        self.lines: list[Line] = []

    def add(self, line: Line) -> None:
        """The next check."""
        self.lines.append(line)
        if not self._as_json:
            self.clear()
            write_text(drawn(line, self._look()) + "\n")

    def show(self, level: Level, left_s: float) -> None:
        """The level of now, as a bar on a terminal. The next check takes its place."""
        if not self._can_draw:
            return
        columns = terminal_size().columns
        words = f" {level.rms_dbfs:.0f} dBFS, speak ({left_s:.0f} s)"
        begin = f"  {'level':{NAME_COLUMNS}}" if columns >= LEAST_BESIDE else "  "
        length = max(_LEAST_BAR, min(_BAR, columns - len(begin) - len(words) - 4))
        text = f"{begin}[{_bar(level, length)}]{words}"
        self._has_bar = True
        write_text(f"{_CLEAR}{beginning(text, columns)}")

    def finish(self) -> None:
        """All checks are made."""
        if self._as_json:
            write_text(json.dumps([line.entry() for line in self.lines], indent=2) + "\n")
        else:
            write_text(f"{summary(self.lines)}\n")

    def interrupted(self) -> None:
        """Ctrl-C: a terminal that is stopped (Ctrl-S) must not keep the process."""
        if select.select([], [sys.stdout.fileno()], [], 0)[1]:
            self.clear()
        drop_output()

    def clear(self) -> None:
        """Remove the bar."""
        if self._has_bar:
            self._has_bar = False
            write_text(_CLEAR)

    def _look(self) -> Look:
        is_ascii = True
        with contextlib.suppress(UnicodeEncodeError, LookupError):
            MARKS.encode(sys.stdout.encoding or "ascii")
            is_ascii = False
        return Look(
            columns=terminal_size().columns if self._is_terminal else None,
            has_colours=self._can_draw and not os.environ.get("NO_COLOR"),
            is_ascii=is_ascii,
        )


def _bar(level: Level, length: int) -> str:
    """The RMS, and a mark at the peak."""
    cells = ["#" if place < _cell(level.rms_dbfs, length) else " " for place in range(length)]
    if peak := _cell(level.peak_dbfs, length):
        cells[peak - 1] = "|"
    return "".join(cells)


def _cell(dbfs: float, length: int) -> int:
    return max(0, min(length, round((1 - dbfs / _LOWEST_DBFS) * length)))
