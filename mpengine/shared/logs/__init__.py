"""Logging: one line an event on standard error, UTC time, process, event name, then its fields as key=value or JSON.

Nothing that is logged blocks or ends the process: see `LogOutput`. Lines for which there was no room are counted, and
`lines_dropped` says how many once there is room again. Warnings and errors that repeat are counted too: see `Repeats`.
"""

import faulthandler
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from mpengine.shared.logs.lines import Entry, Event, as_bytes, as_json, as_text, entry_of, kind_of
from mpengine.shared.logs.output import LogOutput
from mpengine.shared.logs.repeats import Due, Repeats

__all__ = ["Event", "setup"]


class _Stderr(logging.Handler):
    """A line goes to `output`, or nowhere: neither a stopped reader nor a closed pipe may end what runs for months."""

    def __init__(self, output: LogOutput, layout: Callable[[Entry], str]) -> None:
        super().__init__()
        self._output = output
        self._layout = layout
        self._repeats: Repeats[Entry] = Repeats()
        self._dropped_lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record` and what it makes due, or count it."""
        try:
            entry, now = entry_of(record), time.monotonic()
            if entry.level >= logging.WARNING:
                self._write(self._repeats.came(kind_of(entry), entry, now))
            else:
                # Said first what is held back: "connected" must not follow "connected" when it was down in between.
                self._write([*self._repeats.rest(now), Due(entry, 0)])
        except Exception:  # noqa: BLE001  whatever the values of an event do when they are made text
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Say nothing: there is nowhere left to say it."""

    def close(self) -> None:
        """Write what is held back; logging calls this when the process ends."""
        self._write(self._repeats.rest(time.monotonic()))
        self._tell_of_dropped()
        super().close()

    def _write(self, lines: list[Due[Entry]]) -> None:
        for entry, repeated in lines:
            told = entry._replace(fields={**entry.fields, "repeated": repeated}) if repeated else entry
            self._tell_of_dropped()
            if self._dropped_lines or not self._output.write(as_bytes(self._layout(told))):
                self._dropped_lines += 1

    def _tell_of_dropped(self) -> None:
        if self._dropped_lines:
            entry = Entry(time.time(), logging.WARNING, "lines_dropped", {"lines": self._dropped_lines})
            if self._output.write(as_bytes(self._layout(entry))):
                self._dropped_lines = 0


def setup(process: str, level: str = "info", log_format: str = "text") -> None:
    """Log `process` to standard error from `level` (debug, info, warning, error) on, as `log_format`: text or json.

    Exceptions that nobody caught, in any thread, are lines as well.
    """
    layout = as_json if log_format == "json" else as_text
    output = LogOutput(sys.stderr)
    logger = logging.getLogger("mpengine")
    for before in logger.handlers:
        before.close()
    logger.handlers = [_Stderr(output, lambda entry: layout(entry, process))]
    logger.propagate = False
    logger.setLevel(level.upper())
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    if output.descriptor is not None and faulthandler.is_enabled():
        faulthandler.enable(output.descriptor)  # a process that crashes must not hang over saying so


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("mpengine").critical(Event("uncaught_exception"), exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        event = Event("uncaught_exception", thread=args.thread.name if args.thread else None)
        logging.getLogger("mpengine").critical(event, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))
