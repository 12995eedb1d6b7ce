"""The log for a person at a terminal: the local time of day and one sentence, broken at words, with a few colours.

What ends the engine comes last. An error that ends the engine is held back until the closing line (the event `ended`)
is written, or until the process ends. The hint where to listen waits until the recogniser is there, or does not come.
"""

import logging
import time
from collections.abc import Callable

from mpengine.shared.logs.lines import Entry, Event
from mpengine.shared.logs.sentences import is_late, sentence
from mpengine.shared.text import harmless, wrapped

_MOST_CHARS = 1000  # of one sentence: with its colours and its indentation it fits a write
_MOST_HELD = 4
_ENOUGH = 100  # characters that tell one reason from another: a long one is cut in the error
_INDENT = len("00:00:00  ")
_NARROW_COLUMNS = 40  # no room for an indentation
_LEAST_COLUMNS = 12
_UNLIMITED = 1 << 16
# The line may have begun already, with the ^C of a person or with a progress bar.
_FRESH = "\r\x1b[K"
_PLAIN, _DIM, _RED, _YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[33m"


class Person:
    """Turns entries into lines; one for each log, because it remembers what it holds back.

    `process` is told in lines of the level debug. `columns` gives the terminal's present width, None where there is no
    terminal. `has_codes`: whether the terminal knows escape sequences. `has_colours`: whether colours are wanted.
    """

    def __init__(self, process: str, *, columns: Callable[[], int | None], has_codes: bool, has_colours: bool) -> None:
        self._process = process
        self._columns = columns
        self._fresh = _FRESH if has_codes else ""
        self._has_colours = has_codes and has_colours
        self._hint: Entry | None = None
        self._last: list[Entry] = []
        self._told = ""  # the last error

    def lines(self, entry: Entry, strike_out: Callable[[str], str]) -> list[str]:
        """What to write now, each text without its line end. `strike_out` takes the secrets out of a sentence."""
        match entry.event:
            case "publishing":
                self._hint = entry
                return []
            case "fault" if entry.level >= logging.ERROR and len(self._last) < _MOST_HELD:
                self._last.append(entry)
                return []
            case "fault":
                self._told = str(entry.fields.get("message", ""))
            # Without a reason it was told by the line before.
            case "connection_down" if str(entry.fields.get("reason", "")) in self._told:
                if not is_late(entry.fields):
                    return []
                entry = entry._replace(fields={**entry.fields, "reason": ""})
            case "ended":
                return self._closing(entry, strike_out)
        due = [entry]
        if self._hint is not None and (entry.event == "connected" or entry.level >= logging.WARNING):
            due, self._hint = [*due, self._hint._replace(utc_s=entry.utc_s)], None
        return [self._line(each, strike_out) for each in due]

    def rest(self, strike_out: Callable[[str], str]) -> list[str]:
        """What was held back."""
        held, self._last = self._last, []
        return [self._line(each, strike_out) for each in held]

    def _closing(self, ended: Entry, strike_out: Callable[[str], str]) -> list[str]:
        why = ended.fields.get("reason")
        if why and not any(str(why)[:_ENOUGH] in str(held.fields.get("message", "")) for held in self._last):
            self._last.append(Entry(ended.utc_s, logging.ERROR, "fault", {"message": why}))
        return [self._line(ended, strike_out), *self.rest(strike_out)]

    def _line(self, entry: Entry, strike_out: Callable[[str], str]) -> str:
        if entry.level < logging.INFO:
            said = f"{self._process} {Event(entry.event, **entry.fields)}"
        else:
            said = sentence(entry.event, entry.fields)
        if entry.level >= logging.ERROR:
            said = f"error: {said}"
        said = strike_out(said)
        if len(said) > _MOST_CHARS:
            said = f"{said[:_MOST_CHARS]}…"
        # A traceback keeps its lines. Others may have a peer's words, which must not look like a line of their own.
        parts = said.splitlines() if "exception" in entry.fields else [said]
        columns = max(_LEAST_COLUMNS, self._columns() or _UNLIMITED)
        indent = _INDENT if columns >= _NARROW_COLUMNS else 0
        clock = time.strftime("%H:%M:%S", time.localtime(entry.utc_s))
        if not indent:
            parts[0] = f"{clock} {parts[0]}"
        first, *others = (row for part in parts for row in wrapped(harmless(part), columns - indent))
        if not indent:
            first = first.removeprefix(clock).removeprefix(" ")
        colour = self._colour(entry.level)
        rows = [self._coloured(row, colour) for row in (first, *others)]
        rows[0] = self._coloured(clock, _DIM) + ("  " if indent else " ") + rows[0]
        return self._fresh + f"\n{' ' * indent}".join(rows)

    def _colour(self, level: int) -> str:
        if level >= logging.ERROR:
            return _RED
        if level >= logging.WARNING:
            return _YELLOW
        return "" if level >= logging.INFO else _DIM

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if colour and self._has_colours else text
