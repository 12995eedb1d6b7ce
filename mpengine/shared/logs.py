"""Logging: one line an event on standard error, UTC time, process, event name, then key=value."""

import json
import logging
import sys
import time
from typing import Any

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+@%,")


class Event:
    """What happened, as a log message: ``log.info(Event("device_opened", rate_hz=16000))``."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, /, **fields: Any) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        pairs = (f"{key}={_quoted(value)}" for key, value in self.fields.items() if value is not None)
        return " ".join((self.name, *pairs))


def _quoted(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text, ensure_ascii=False)


class _Lines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03dZ %(levelname)s {process} %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


class _Stderr(logging.StreamHandler[Any]):
    """A line goes to standard error, or nowhere: a closed pipe must not end a process that runs for months."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Say nothing: there is nowhere left to say it."""


def setup(process: str, level: str = "info") -> None:
    """Log of `process` to standard error from `level` (debug, info, warning, error) on."""
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_Lines(process))
    logger = logging.getLogger("mpengine")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
