"""Captions as text. A terminal shows the interim line in place; elsewhere every result is a line of its own."""

import datetime as dt
import os
import sys
from collections.abc import Iterable

from mpengine.client.position import Hole
from mpengine.formats.base import NOW, START, Ending, Format, Place, Style, whole_letters
from mpengine.formats.tokens import turns_of
from mpengine.shared import messages
from mpengine.shared.messages import FINALS, Published, Transcript
from mpengine.shared.standard_streams import terminal_size
from mpengine.shared.text import fitting, harmless

# The cursor stays at the beginning of the interim line, also when a terminal that gets narrower wraps that line. So
# clearing from the cursor on clears all of the interim.
_CLEAR = "\r\x1b[J"
# A terminal may find a letter wider than we do. Without wrapping it cuts such a line.
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Text(Format):
    """Captions as lines; on a terminal that can do so, with the interim in place."""

    interims_in = frozenset({Place.PIPE, Place.TERMINAL})  # a file would keep each interim for ever

    def __init__(self, style: Style, place: Place) -> None:
        super().__init__(style, place)
        is_live = place is Place.TERMINAL and os.environ.get("TERM") != "dumb"
        self._captions = Captions(style, is_live=is_live)
        self.drawn = self._captions if is_live else None
        self._encoding = "utf-8" if place is Place.FILE else sys.stdout.encoding

    def show(self, body: bytes, message: Published | Hole | None) -> bytes:  # noqa: ARG002
        """See Format."""
        return self._captions.show(message).encode(self._encoding, errors="replace")

    def go_on(self, pieces: Iterable[bytes]) -> Ending:
        """See Format."""
        return end_of_text(next(iter(pieces), b""))


def end_of_text(last: bytes) -> Ending:
    """The end of a file of text with these `last` bytes, at least as many as the longest letter has."""
    kept = whole_letters(last)
    mend = b"" if not kept or kept.endswith(b"\n") else b"\n"
    return Ending(len(last) - len(kept), mend, NOW if kept else START)


class Captions:
    """Turns messages into text for a terminal, a pipe or a file."""

    def __init__(self, style: Style, *, is_live: bool) -> None:
        self._style = style
        self._is_live = is_live
        self._interim = ""
        self._channel = 0  # of that interim

    def show(self, message: Published | Hole | None) -> str:
        """The text for `message`; empty for a message that is not for readers."""
        match message:
            case Transcript(is_final=True, channel=channel):
                other = self._interim if channel != self._channel else ""
                lines = self._clear() + "".join(f"{line}\n" for line in self._lines(message))
                self._interim = other
                return lines + self.again()
            case Transcript(interrupted=True, channel=channel) | Transcript(text="", channel=channel):
                return self._clear() if channel == self._channel else ""
            case Transcript() if self._is_live:
                self._interim, self._channel = self._text(message), message.channel
                return self.again()
            case Transcript():
                return f"... {self._text(message)}\n"
            case messages.Gap(samples=samples, start_s=start_s, end_s=end_s) if samples:
                how = f"lost: {message.reason}" if message.is_loss else message.reason
                return self._note(f"{end_s - start_s:.1f} s {how}")
            case messages.Error(message=text):
                return self._note(text)
            case Hole(topic=topic, last_seq=last) if topic == FINALS:
                return self._note("results lost" if last else "the last results of the previous engine may be lost")
        return ""

    def again(self) -> str:
        """The interim, cut to the terminal's present width."""
        if not self._interim:
            return ""
        style, plain = ("", "") if os.environ.get("NO_COLOR") else (_DIM, _PLAIN)
        return f"{_CLEAR}{_CUT}{style}{fitting(self._interim, _columns())}{plain}{_WRAP}\r"

    def finish(self) -> str:
        """Leave the interim as it is, and the cursor on the next line for other programs."""
        text, self._interim = self.again(), ""
        return text and f"{text}\n"

    def _clear(self) -> str:
        clear = _CLEAR if self._interim else ""
        self._interim = ""
        return clear

    def _note(self, text: str) -> str:
        return f"{self._clear()}[{harmless(text)}]\n"

    def _text(self, interim: Transcript) -> str:
        if not self._style.with_names:
            return harmless(interim.text)
        return " ".join(_named(turn.name, turn.text) for turn in turns_of(interim))

    def _lines(self, final: Transcript) -> list[str]:
        """One line; with names, one line for each speaker."""
        when = self._when(final)
        if not self._style.with_names:
            return [f"{when}{harmless(final.text)}"]
        return [f"{when}{_named(turn.name, turn.text)}" for turn in turns_of(final)]

    def _when(self, final: Transcript) -> str:
        match self._style.clock:
            case "run":
                return f"{_run_time(final)} "
            case "utc":
                return f"{_utc_time(final)} "
            case "both":
                return f"{_run_time(final)} {_utc_time(final)} "
        return ""


def _named(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def _run_time(final: Transcript) -> str:
    seconds, tenth = divmod(round(final.start_s * 10), 10)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{tenth}"


def _utc_time(final: Transcript) -> str:
    """When the final was said; when it was published, where the recogniser gives no times."""
    seconds = (final.start_time_ns or final.time_ns) // 10**9
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "-"  # outside of the calendar


def _columns() -> int:
    return terminal_size().columns
