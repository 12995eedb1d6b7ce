"""`mpengine listen`: live captions. On a terminal the interim line is rewritten in place; piped, all are lines."""

import os
import sys
import unicodedata

from mpengine.shared import messages
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Published
from mpengine.subscriber import Subscriber

_USUAL_COLUMNS = 80
_CLEAR_LINE = "\r\x1b[K"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def listen(name: str, publish: str | None, *, output_format: str, finals_only: bool, exit_on_stop: bool) -> int:
    """Print results until Ctrl-C, or, if asked to, until the engine has stopped."""
    captions = Captions(is_live=sys.stdout.isatty() and output_format == "text", with_interims=not finals_only)
    with Subscriber(name, publish=publish) as subscriber:
        try:
            for message in subscriber:
                if output_format == "jsonl":
                    if not (finals_only and isinstance(message, messages.Transcript) and not message.is_final):
                        _write(messages.encode(message).decode() + "\n")
                else:
                    _write(captions.show(message))
                if exit_on_stop and isinstance(message, messages.Status) and message.state in {"stopped", "failed"}:
                    return int(ExitCode.OK if message.state == "stopped" else ExitCode.CRASH)
        finally:
            if captions.is_open:
                _write("\n")
    return int(ExitCode.OK)


class Captions:
    """Turns messages into what is written to the terminal or the pipe."""

    def __init__(self, *, is_live: bool, with_interims: bool) -> None:
        self._is_live = is_live
        self._with_interims = with_interims
        self.is_open = False  # an interim line stands unfinished on the terminal

    def show(self, message: Published) -> str:
        """What to write for `message`; nothing for what is no concern of a reader."""
        match message:
            case messages.Transcript(is_final=True, text=text):
                return self._line(text)
            case messages.Transcript(text=text) if self._with_interims and self._is_live:
                self.is_open = True
                style, plain = ("", "") if os.environ.get("NO_COLOR") else (_DIM, _PLAIN)
                return f"{_CLEAR_LINE}{style}{fitting(text, _columns())}{plain}"
            case messages.Transcript(text=text) if self._with_interims:
                return f"... {text}\n"
            case messages.Gap(samples=samples, start_s=start_s, end_s=end_s, reason=reason) if samples:
                return self._line(f"[{end_s - start_s:.1f} s lost: {reason}]")
            case messages.Error(message=text):
                return self._line(f"[{text}]")
        return ""

    def _line(self, text: str) -> str:
        clear = _CLEAR_LINE if self.is_open else ""
        self.is_open = False
        return f"{clear}{text}\n"


def fitting(text: str, columns: int) -> str:
    """The end of `text` that fits on a line of `columns`: the newest words are the interesting ones."""
    width, kept = 0, len(text)
    while kept and width + _width(text[kept - 1]) < columns:
        kept -= 1
        width += _width(text[kept])
    return text[kept:]


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _columns() -> int:
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        columns = 0
    return columns or _USUAL_COLUMNS  # some terminals do not know


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
