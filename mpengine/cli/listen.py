"""`mpengine listen`: live captions. On a terminal the interim line is rewritten in place; piped, all are lines."""

import os
import sys
from typing import Any

import msgspec

from mpengine.cli.streams import terminal_size, write_bytes, write_text
from mpengine.cli.target import Target
from mpengine.cli.text import fitting, harmless
from mpengine.shared import messages
from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Published
from mpengine.subscriber import decode

# An engine that lives says something every second (its metrics).
_SILENCE_S = 5.0
_CLEAR_LINE = "\r\x1b[K"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"

_object = msgspec.json.Decoder(dict[str, Any])


def listen(target: Target, *, output_format: str, finals_only: bool, exit_on_stop: bool) -> int:
    """Print results until Ctrl-C. With `exit_on_stop` until the engine's end: 0 if it stopped, 1 if it failed or died.

    An engine that was not heard yet may still be started.
    """
    captions = Captions(is_live=sys.stdout.isatty() and output_format == "text", with_interims=not finals_only)
    was_heard = False
    with target.subscriber() as subscriber:
        try:
            while True:
                received = subscriber.receive_raw(_SILENCE_S if exit_on_stop else None)
                if received is None:
                    if was_heard and not target.answers():
                        return int(ExitCode.CRASH)
                    continue
                was_heard = True
                topic, body = received
                message = decode(body)
                if output_format == "text":
                    write_text(captions.show(message))
                elif not (finals_only and topic == "transcript.interim"):
                    write_bytes(line(body))
                if exit_on_stop and isinstance(message, messages.Status) and message.state in {"stopped", "failed"}:
                    return int(ExitCode.OK if message.state == "stopped" else ExitCode.CRASH)
        finally:
            if captions.is_open:
                write_text("\n")


def line(body: bytes) -> bytes:
    """A message as it came, of whatever type and with all its fields; nothing for what is no JSON object."""
    try:
        _object.decode(body)
    except UNREADABLE:
        return b""
    # In JSON a line end can only be white space.
    return b" ".join(body.splitlines()) + b"\n"


class Captions:
    """Turns messages into what is written to the terminal or the pipe."""

    def __init__(self, *, is_live: bool, with_interims: bool) -> None:
        self._is_live = is_live
        self._with_interims = with_interims
        self.is_open = False  # an interim line stands unfinished on the terminal

    def show(self, message: Published | None) -> str:
        """What to write for `message`; nothing for what is no concern of a reader."""
        match message:
            case messages.Transcript(is_final=True, text=text):
                return self._line(text)
            case messages.Transcript(interrupted=True):
                clear, self.is_open = (_CLEAR_LINE if self.is_open else ""), False
                return clear
            case messages.Transcript(text=text) if self._with_interims and self._is_live:
                self.is_open = True
                style, plain = ("", "") if os.environ.get("NO_COLOR") else (_DIM, _PLAIN)
                return f"{_CLEAR_LINE}{style}{fitting(harmless(text), _columns())}{plain}"
            case messages.Transcript(text=text) if self._with_interims:
                return f"... {harmless(text)}\n"
            case messages.Gap(samples=samples, start_s=start_s, end_s=end_s, reason=reason) if samples:
                return self._line(f"[{end_s - start_s:.1f} s lost: {reason}]")
            case messages.Error(message=text):
                return self._line(f"[{text}]")
        return ""

    def _line(self, text: str) -> str:
        clear = _CLEAR_LINE if self.is_open else ""
        self.is_open = False
        return f"{clear}{harmless(text)}\n"


def _columns() -> int:
    return terminal_size().columns
