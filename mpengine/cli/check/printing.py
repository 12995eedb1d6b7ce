"""Prints the lines of `mpengine check` as they come: for a person at a terminal, for a pipe, or as JSON at the end."""

import json
import select
import sys

from mpengine.capture.tried import Level
from mpengine.cli.check.lines import LEAST_BESIDE, MARKS, NAME_COLUMNS, Line, Look, drawn, summary
from mpengine.shared.standard_streams import can_show, drop_output, is_dumb, terminal_size, wants_colours, write_text

# The terminal shows ^C behind the bar. In the last column it would begin a line that nobody clears.
_ROOM_BEHIND = 3
_CLEAR = "\r\x1b[K"


class Printer:
    """Prints one check after the other. It is the only one that writes to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._is_terminal = sys.stdout.isatty() and not as_json
        self._can_draw = self._is_terminal and not is_dumb()
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
        from mpengine.cli.terminal import drawing  # noqa: PLC0415  a pipe needs none

        to, columns = drawing.standard_output(), terminal_size().columns
        words = f" {level.rms_dbfs:.0f} dBFS, speak ({left_s:.0f} s)"
        begin = f"  {'level':{NAME_COLUMNS}}" if columns >= LEAST_BESIDE else "  "
        room = max(1, columns - len(begin) - _ROOM_BEHIND)
        length = drawing.level_columns(room - len(words))
        level_bar = drawing.level_bar(level.rms_dbfs, level.peak_dbfs, length, to)
        rows = drawing.lines(level_bar + words, to._replace(columns=room))
        self._has_bar = True
        write_text(f"{_CLEAR}{begin}{rows[0]}")

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
        return Look(
            columns=terminal_size().columns if self._is_terminal else None,
            has_colours=self._can_draw and wants_colours(),
            is_ascii=not can_show(MARKS, sys.stdout),
        )
