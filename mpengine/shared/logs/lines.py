"""Log lines: an event and its fields as text or JSON, always on one line."""

import json
import logging
import time
import traceback
from collections.abc import Hashable
from typing import Any, NamedTuple

from mpengine.shared.logs.output import LONGEST_LINE_BYTES

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+@%,")
_LONGEST_VALUE = LONGEST_LINE_BYTES  # in characters; a longer value would not fit on a line
_LONGEST_EXCEPTION = 2000
# A cut line would not be JSON any more. So the strings of a line that is too long are cut, to the first fitting length.
_SHORTER_VALUES = (_LONGEST_VALUE, 1000, 200, 40)
_CUT = "…"


class Event:
    """An event as a log message: ``log.info(Event("device_opened", rate_hz=16000))``."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str, /, **fields: Any) -> None:
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        name = self.name if self.name.isprintable() else json.dumps(self.name)
        pairs = (f"{key}={_quoted(value)}" for key, value in self.fields.items() if value is not None)
        return " ".join((name, *pairs))


def _quoted(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if text and _PLAIN.issuperset(text):
        return text
    # Besides line ends, this escapes characters that move a terminal's cursor or turn the direction of text.
    return json.dumps(text, ensure_ascii=not text.isprintable())


class Entry(NamedTuple):
    """The content of a line. It has only strings and numbers, because it may be kept for long."""

    utc_s: float
    level: int
    event: str
    fields: dict[str, str | float]


def entry_of(record: logging.LogRecord) -> Entry:
    """The entry for `record`: an `Event`, or a plain message as the event's name; an exception becomes a field.

    Raises any exception that making text of a value raises.
    """
    if isinstance(record.msg, Event):
        event, given = record.msg.name, record.msg.fields
    else:
        event, given = record.getMessage(), {}
    fields = {key: _plain(value) for key, value in given.items() if value is not None}
    if record.exc_info and record.exc_info[1]:
        text = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        fields["exception"] = _shortened("exception", text, _LONGEST_EXCEPTION)
    return Entry(record.created, record.levelno, _shortened("event", event, _LONGEST_VALUE), fields)


def _plain(value: Any) -> str | float:
    if isinstance(value, int) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    return _shortened("", str(value), _LONGEST_VALUE)  # inf and nan too: JSON does not have them


def _shortened(key: str, text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return _CUT + text[-longest:] if key == "exception" else text[:longest] + _CUT  # an exception's text is at its end


def kind_of(entry: Entry) -> Hashable:
    """A key that is equal for equal warnings and errors: the level, the event, and all fields except numbers and ids.

    Times, counts, durations, pids and request ids differ each time. The fields that distinguish them (child, reason,
    code, message, exception) are texts and booleans.
    """
    compared = (
        (key, value)
        for key, value in entry.fields.items()
        if isinstance(value, (str, bool)) and not key.endswith("_id")
    )
    return entry.level, entry.event, *compared


def as_text(entry: Entry, process: str) -> str:
    """A line for people, without its line end."""
    return f"{_utc(entry.utc_s)} {logging.getLevelName(entry.level)} {process} {Event(entry.event, **entry.fields)}"


def as_json(entry: Entry, process: str) -> str:
    """A line for programs, without its line end: ASCII, and short enough to be written whole."""
    head: dict[str, str | float] = {
        "time": _utc(entry.utc_s),
        "level": logging.getLevelName(entry.level).lower(),
        "process": process,
        "event": entry.event,
    }
    fields = {f"{key}_" if key in head else key: value for key, value in entry.fields.items()}
    for longest in _SHORTER_VALUES:
        line = json.dumps(
            {
                key: _shortened(key, value, longest) if isinstance(value, str) else value
                for key, value in (head | fields).items()
            }
        )
        if len(line) < LONGEST_LINE_BYTES:
            return line
    return json.dumps(head | {"event": _shortened("event", entry.event, _SHORTER_VALUES[-1]), "fields": _CUT})


def _utc(utc_s: float) -> str:
    ms = int(utc_s * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}Z"


def as_bytes(line: str) -> bytes:
    """`line` in UTF-8 with its line end, cut to `LONGEST_LINE_BYTES`."""
    data = line.encode("utf-8", "backslashreplace")
    if len(data) >= LONGEST_LINE_BYTES:
        room = LONGEST_LINE_BYTES - len(f"{_CUT}\n".encode())
        data = data[:room].decode("utf-8", "ignore").encode() + _CUT.encode()
    return data + b"\n"
