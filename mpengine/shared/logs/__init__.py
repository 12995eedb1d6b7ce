"""Logging: each event is one line on standard error, with time (UTC), level, process, event name and fields.

For a person at a terminal each event is a sentence instead: see `person`.

Logging never blocks or ends the process: see `LogOutput`. Lines without room are counted: `lines_dropped` reports their
number as soon as there is room again. Repeated warnings and errors are counted too: see `Repeats`. Secrets that are
made known to `strike_out` stand in no line.
"""

import faulthandler
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO

from mpengine.shared.logs.lines import Entry, Event, as_bytes, as_json, as_text, entry_of, kind_of
from mpengine.shared.logs.output import LogOutput
from mpengine.shared.logs.repeats import Due, Repeats
from mpengine.shared.secret import StrikeOut

__all__ = ["Event", "format_for", "setup", "strike_out"]

# No faults, but a recogniser can cause them as often as it likes.
_OF_PEERS = frozenset({"withheld"})


class _Layout(Protocol):
    """Makes lines of entries, without their line ends."""

    def lines(self, entry: Entry, strike_out: Callable[[str], str], /) -> list[str]:
        """What to write for `entry`."""

    def rest(self, strike_out: Callable[[str], str], /) -> list[str]:
        """What was held back until the end."""


class _OneLine:
    """A line an entry."""

    def __init__(self, process: str, make: Callable[[Entry, str], str]) -> None:
        self._process = process
        self._make = make

    def lines(self, entry: Entry, strike_out: Callable[[str], str]) -> list[str]:
        """See _Layout."""
        return [strike_out(self._make(entry, self._process))]

    def rest(self, strike_out: Callable[[str], str]) -> list[str]:  # noqa: ARG002
        """See _Layout."""
        return []


class _Stderr(logging.Handler):
    """Writes lines to `output`, or drops them: no reader that stops, and no closed pipe, may stop the engine."""

    def __init__(self, output: LogOutput, layout: _Layout) -> None:
        super().__init__()
        self.strike_out = StrikeOut()
        self._output = output
        self._layout = layout
        self._repeats: Repeats[Entry] = Repeats()
        self._dropped_lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, and lines that are due with it; or count it as a repeat."""
        try:
            entry, now = entry_of(record), time.monotonic()
            if entry.level >= logging.WARNING or entry.event in _OF_PEERS:
                self._write(self._repeats.came(kind_of(entry), entry, now, event=entry.event))
            else:
                # Held lines come first: otherwise "connected" could follow "connected" without the failure in between.
                self._write([*self._repeats.rest(now), Due(entry, 0)])
        except Exception:  # noqa: BLE001  making text of a value may raise anything
            self.handleError(record)

    def draw(self, drawn: bytes) -> None:
        """See `LogOutput.draw`."""
        self.acquire()
        try:
            self._output.draw(drawn)
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Do nothing: there is no place left to report an error of logging."""

    def close(self) -> None:
        """Write the held lines; logging calls this when the process ends."""
        self._write(self._repeats.rest(time.monotonic()))
        self._write_lines(self._layout.rest(self.strike_out))
        self._report_dropped()
        super().close()

    def _write(self, lines: list[Due[Entry]]) -> None:
        for entry, repeated in lines:
            counted = entry._replace(fields={**entry.fields, "repeated": repeated}) if repeated else entry
            self._write_lines(self._layout.lines(counted, self.strike_out))

    def _write_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._report_dropped()
            if self._dropped_lines or not self._output.write(as_bytes(line)):
                self._dropped_lines += 1

    def _report_dropped(self) -> None:
        if self._dropped_lines:
            entry = Entry(time.time(), logging.WARNING, "lines_dropped", {"lines": self._dropped_lines})
            told = self._layout.lines(entry, self.strike_out)
            if all(self._output.write(as_bytes(line)) for line in told):
                self._dropped_lines = 0


def format_for(asked: str | None, stream: TextIO | None) -> str:
    """The format that was `asked` for; without one, `person` where `stream` is a terminal, otherwise `text`.

    The journal of systemd is no terminal, whatever terminal the service manager was started from.
    """
    if asked is not None:
        return asked
    try:
        return "person" if stream is not None and stream.isatty() else "text"
    except ValueError:  # it is closed
        return "text"


def setup(process: str, level: str = "info", log_format: str = "text") -> None:
    """Log the process called `process` to standard error, from `level` (debug, info, warning, error) on.

    `log_format`: person (sentences), text (lines of key=value) or json (an object a line). Uncaught exceptions of all
    threads are logged too.
    """
    output = LogOutput(sys.stderr)
    logger = logging.getLogger("mpengine")
    for before in logger.handlers:
        before.close()
    logger.handlers = [_Stderr(output, _layout(process, log_format, sys.stderr))]
    logger.propagate = False
    logger.setLevel(level.upper())
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    if output.descriptor is not None and faulthandler.is_enabled():
        faulthandler.enable(output.descriptor)  # a crashing process must not block on standard error


def _layout(process: str, log_format: str, stream: TextIO | None) -> _Layout:
    if log_format != "person":
        return _OneLine(process, as_json if log_format == "json" else as_text)
    from mpengine.shared.logs.person import Person  # noqa: PLC0415  other logs need none of its memory
    from mpengine.shared.standard_streams import columns_of, is_dumb, wants_colours  # noqa: PLC0415

    return Person(
        process,
        columns=lambda: columns_of(stream),
        has_codes=columns_of(stream) is not None and not is_dumb(),
        has_colours=wants_colours(),
    )


def strike_out(*secrets: str) -> None:
    """From now on, no line of this process has a piece of one of these `secrets`."""
    for handler in logging.getLogger("mpengine").handlers:
        if isinstance(handler, _Stderr):
            handler.strike_out = StrikeOut(*secrets, spares_short=True)


def draw(line: str) -> None:
    """Draw `line` below all log lines of this process, on a terminal; empty: no more. See `LogOutput.draw`."""
    for handler in logging.getLogger("mpengine").handlers:
        if isinstance(handler, _Stderr):
            handler.draw(line.encode(errors="replace"))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("mpengine").critical(Event("uncaught_exception"), exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        event = Event("uncaught_exception", thread=args.thread.name if args.thread else None)
        logging.getLogger("mpengine").critical(event, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))
