"""`mpengine status --watch`: how an engine is, over and over; in place on a terminal, else one behind the other."""

import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from mpengine.cli.status import table
from mpengine.cli.target import Target, read_status
from mpengine.cli.terminal.screen import Screen
from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable
from mpengine.shared.standard_streams import write_bytes, write_text
from mpengine.shared.text import harmless

# A signal that comes when a sleep is about to begin is seen only when it is over.
_LONGEST_SLEEP_S = 0.5


def watch(target: Target, *, interval_s: float, as_json: bool) -> None:
    """Ask and show until Ctrl-C. An engine that does not answer may still come, or come back."""
    if as_json:
        for answer in _answers(target, interval_s):
            write_bytes(_line(answer))
    elif sys.stdout.isatty():
        with Screen() as screen:
            for answer in _answers(target, interval_s):
                screen.show(_text(answer).splitlines())
    else:
        separator = ""
        for answer in _answers(target, interval_s):
            write_text(f"{separator}{_text(answer)}\n")
            separator = "\n"


class _Answer(NamedTuple):
    body: bytes
    status: messages.StatusAnswer


def _answers(target: Target, interval_s: float) -> Iterator[_Answer | EngineUnreachable]:
    """What the engine answers, or why it does not, for ever. Raises ConfigError."""
    while True:
        next_at = time.monotonic() + interval_s
        try:
            body = target.ask(messages.StatusQuery())
            answer: _Answer | EngineUnreachable = _Answer(body, read_status(body))
        except EngineUnreachable as error:
            answer = error
        yield answer
        while (rest_s := next_at - time.monotonic()) > 0:
            time.sleep(min(rest_s, _LONGEST_SLEEP_S))


def _text(answer: _Answer | EngineUnreachable) -> str:
    if isinstance(answer, EngineUnreachable):
        return f"{harmless(str(answer))}\ntrying on"
    return table(answer.status)


def _line(answer: _Answer | EngineUnreachable) -> bytes:
    if isinstance(answer, EngineUnreachable):
        error = messages.Error(source="status", code="unreachable", message=str(answer))
        return messages.encode(error) + b"\n"
    return msgspec.json.format(answer.body, indent=-1) + b"\n"
