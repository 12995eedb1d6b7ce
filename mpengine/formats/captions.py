"""Captions as text. A terminal shows the interim line in place; elsewhere every result is a line of its own.

A terminal breaks lines at words, and shows the names of engines and of speakers each in a colour that stays the same.
"""

import datetime as dt
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mpengine.client.position import Hole
from mpengine.formats.base import NOW, START, Ending, Format, Place, Style, whole_letters
from mpengine.formats.tokens import Turn, turns_of
from mpengine.shared import messages
from mpengine.shared.messages import FINALS, INTERIMS, Published, Transcript
from mpengine.shared.standard_streams import is_dumb, terminal_size, wants_colours
from mpengine.shared.text import fitting, harmless, width, wrapped

# The cursor stays at the beginning of the first interim line, also when a terminal that gets narrower wraps that line.
# So clearing from the cursor on clears all interims.
_CLEAR = "\r\x1b[J"
_NEXT = "\r\n"
# A terminal may find a letter wider than we do. Without wrapping it cuts such a line.
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
# Cyan, yellow, green, magenta, blue, red: legible on dark and on light.
_COLOURS = ("\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m")
# A beginning of a line that takes more than this part of it gets no hanging indentation.
_LARGEST_PART = 3
_MOST_ROWS = 8  # of interims: they have to fit the screen


class Text(Format):
    """Captions as lines; on a terminal that can do so, with the interim in place."""

    interims_in = frozenset({Place.PIPE, Place.TERMINAL})  # a file would keep each interim for ever
    topics = frozenset({FINALS, INTERIMS, "gap"})
    is_for_several = True

    def __init__(self, style: Style, place: Place) -> None:
        super().__init__(style, place)
        is_live = place is Place.TERMINAL and not is_dumb()
        self._captions = Captions(style, is_live=is_live)
        self.drawn = self._captions if is_live else None
        self._encoding = "utf-8" if place is Place.FILE else sys.stdout.encoding

    def show(self, body: bytes, message: Published | Hole | None, engine: str = "") -> bytes:  # noqa: ARG002
        """See Format."""
        return self._captions.show(message, engine).encode(self._encoding, errors="replace")

    def go_on(self, pieces: Iterable[bytes]) -> Ending:
        """See Format."""
        return end_of_text(next(iter(pieces), b""))


def end_of_text(last: bytes) -> Ending:
    """The end of a file of text with these `last` bytes, at least as many as the longest letter has."""
    kept = whole_letters(last)
    mend = b"" if not kept or kept.endswith(b"\n") else b"\n"
    return Ending(len(last) - len(kept), mend, NOW if kept else START)


class _Interim(NamedTuple):
    text: str
    channel: int


class Captions:
    """Turns messages into text for a terminal, a pipe or a file."""

    def __init__(self, style: Style, *, is_live: bool) -> None:
        self._style = style
        self._is_live = is_live
        self._interims: dict[str, _Interim] = {}  # the open one of each engine

    def show(self, message: Published | Hole | None, engine: str = "") -> str:
        """The text for `message` of `engine`; empty for a message that is not for readers."""
        interim = self._interims.get(engine)
        match message:
            case Transcript(is_final=True, channel=channel):
                lines = self._clear(engine) + self._lines(message, engine)
                if interim is not None and channel != interim.channel:
                    self._interims[engine] = interim
                return lines + self.again()
            case Transcript(interrupted=True, channel=channel) | Transcript(text="", channel=channel):
                is_shown = interim is not None and channel == interim.channel
                return self._clear(engine) + self.again() if is_shown else ""
            case Transcript() if self._is_live:
                self._interims[engine] = _Interim(self._text(message), message.channel)
                return self.again()
            case Transcript():
                return f"{self._engine(engine)}... {self._text(message)}\n"
            case messages.Gap(samples=samples, start_s=start_s, end_s=end_s) if samples:
                how = f"lost: {message.reason}" if message.is_loss else message.reason
                return self._note(f"{end_s - start_s:.1f} s {how}", engine)
            case messages.Error(message=text):
                return self._note(text, engine)
            case Hole(topic=topic, last_seq=last) if topic == FINALS:
                lost = "results lost" if last else "the last results of the previous engine may be lost"
                return self._note(lost, engine)
        return ""

    def again(self) -> str:
        """The interims, each on a line and cut to the terminal's present width."""
        rows = self._rows()
        if not rows:
            return ""
        back = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        return f"{_CLEAR}{_CUT}{_NEXT.join(rows)}{_WRAP}{back}\r"

    def finish(self) -> str:
        """Leave the interims as they are, and the cursor on the next line for other programs."""
        text, number = self.again(), len(self._rows())
        self._interims.clear()
        return text + "\n" * number

    def _rows(self) -> list[str]:
        """The interims, in the order in which the engines are named."""
        engines = [engine for engine in self._style.engines or self._interims if engine in self._interims]
        return [self._row(engine, self._interims[engine].text) for engine in engines[:_MOST_ROWS]]

    def _row(self, engine: str, text: str) -> str:
        name = self._engine(engine)
        words = _newest_words(text, _columns() - width(name))
        return self._coloured(name, self._colour_of_engine(engine)) + self._coloured(words, _DIM)

    def _clear(self, engine: str) -> str:
        """The text that removes all interims from the screen. That of `engine` is no more."""
        clear = _CLEAR if self._interims else ""
        self._interims.pop(engine, None)
        return clear

    def _note(self, text: str, engine: str) -> str:
        note = self._laid_out([(self._engine(engine), "")], f"[{harmless(text)}]")
        return self._clear(engine) + note + self.again()

    def _text(self, interim: Transcript) -> str:
        if not self._style.with_names:
            return harmless(interim.text)
        return " ".join(_named(turn.name, turn.text) for turn in turns_of(interim))

    def _lines(self, final: Transcript, engine: str) -> str:
        """One line; with names, one line for each speaker."""
        begin = [(self._when(final), _DIM), (self._engine(engine), self._colour_of_engine(engine))]
        if not self._style.with_names:
            return self._laid_out(begin, harmless(final.text))
        turns = turns_of(final)
        return "".join(self._laid_out([*begin, _name_of(turn)], turn.text) for turn in turns)

    def _laid_out(self, begin: Sequence[tuple[str, str]], text: str) -> str:
        """`text` behind the parts of `begin`, each a text and its colour; on a terminal broken at words."""
        plain = "".join(part for part, _ in begin)
        if not self._is_live:
            return f"{plain}{text}\n"
        indent, columns = width(plain), _columns()
        coloured = "".join(self._coloured(part, colour) for part, colour in begin)
        if indent * _LARGEST_PART > columns:
            first, *rest = wrapped(f"{plain}{text}", columns)
            if first.startswith(plain):
                first = coloured + first.removeprefix(plain)
            return "\n".join([first, *rest, ""])
        first, *rest = wrapped(text, columns - indent)
        return "\n".join([coloured + first, *(" " * indent + row for row in rest), ""])

    def _engine(self, engine: str) -> str:
        return f"{engine}: " if self._style.engines else ""

    def _colour_of_engine(self, engine: str) -> str:
        names = self._style.engines
        return _COLOURS[names.index(engine) % len(_COLOURS)] if engine in names else ""

    def _coloured(self, text: str, colour: str) -> str:
        if not (text and colour and self._is_live and wants_colours()):
            return text
        return f"{colour}{text}{_PLAIN}"

    def _when(self, final: Transcript) -> str:
        match self._style.clock:
            case "run":
                return f"{_run_time(final)} "
            case "utc":
                return f"{_utc_time(final)} "
            case "both":
                return f"{_run_time(final)} {_utc_time(final)} "
        return ""


def _name_of(turn: Turn) -> tuple[str, str]:
    """The name before the words of a speaker, and its colour, the same wherever the name is the same."""
    if not turn.name:
        return "", ""
    speaker = turn.tokens[0].speaker
    number = speaker if isinstance(speaker, int) else zlib.crc32(turn.name.encode(errors="replace"))
    return f"{turn.name}: ", _COLOURS[number % len(_COLOURS)]


def _newest_words(text: str, columns: int) -> str:
    """The end of `text` that fits `columns`, from a whole word on where there is one."""
    kept = fitting(text, columns)
    if len(kept) == len(text) or text[len(text) - len(kept) - 1 :][:1].isspace():
        return kept.lstrip()
    return kept.partition(" ")[2].lstrip() or kept


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
