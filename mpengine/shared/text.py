"""Text from outside: made safe for a terminal, cut to its width, or cut at words. Pure."""

import itertools
import re
import unicodedata
from collections.abc import Sequence

# Control characters (an escape sequence begins with one), Unicode's line and paragraph ends, lone surrogates.
_REPLACED = frozenset({"Cc", "Zl", "Zp", "Cs"})
# Characters that turn the direction of the following text.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# A number and its unit stay on one line, and so does "(peak" with its number.
_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:s|ms|min|h|MB|GB|Hz|kHz|dB|dBFS|%|x)(?!\w))|(?<=\(peak) ")
GLUE = "\ue000"
"""Stands for a space where no line may be broken; a character of private use, which is no space to any program."""

_LEAST_SECOND = 24  # columns: in less, hardly two words stand beside each other
_SHALLOW = 6  # columns: of a deeper margin only so much is kept where the text has little room
_STEP = 4 * " "  # by which what stands below is indented


def harmless(text: str) -> str:
    """`text` on one line, with a replacement character for each character on which a terminal would act."""
    if text.isprintable():
        return text
    return "".join(_harmless(character) for character in text)


def _harmless(character: str) -> str:
    if character in "\t\n\r":
        return " "
    return "\ufffd" if unicodedata.category(character) in _REPLACED or character in _TURNING else character


def fitting(text: str, columns: int) -> str:
    """The end of `text` that fits on a line of `columns`: the newest words are the interesting ones."""
    width, kept = 0, len(text)
    for position in reversed(range(len(text))):
        width += _width(text[position])
        if width >= columns:
            break
        if not _goes_with_its_base(text[position]):
            kept = position
    return text[kept:]


def beginning(text: str, columns: int) -> str:
    """The beginning of `text` that fits on a line of `columns`; the last column stays free, as in `fitting`."""
    width = end = 0
    for position, character in enumerate(text):
        width += _width(character)
        if not _goes_with_its_base(character):
            end = position
        if width >= columns:
            return text[:end]
    return text


def wrapped(text: str, columns: int) -> list[str]:
    """`text` as lines that fit `columns`, broken between words; a word that is too long for a line is broken inside.

    The last column stays free, as in `fitting`. Spaces between words count as one. There is always one line or more. A
    number and its unit are one word.
    """
    lines = [""]
    for word in glued(text).split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if width(joined) < columns:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        rest = word
        while width(rest) >= columns:
            piece = beginning(rest, columns) or rest[:1]
            if piece == rest:
                break
            lines[-1:] = [piece, ""]
            rest = rest[len(piece) :]
        lines[-1] = rest
    return [line.replace(GLUE, " ") for line in lines]


def glued(text: str) -> str:
    """`text` with GLUE between each number and its unit."""
    return _NUMBER_AND_UNIT.sub(GLUE, text)


def hanging(line: str, columns: int) -> list[str]:
    """`line` as lines that fit `columns`. After two spaces a second column begins, which keeps its place.

    Where the second column has little room there, it stands below. A line that fits stays as it is.
    """
    if width(line) < columns:
        return [line]
    words = line.lstrip(" ")
    margin = line[: len(line) - len(words)]
    first, gap, second = words.partition("  ")
    head = f"{margin}{first}{gap}{second[: len(second) - len(second.lstrip(' '))]}" if gap else margin
    rest = line[len(head) :]
    indent = width(head)
    if columns - indent >= _LEAST_SECOND:
        begun, *others = wrapped(rest, columns - indent)
        return [head + begun, *(" " * indent + other for other in others)]
    margin = margin[:_SHALLOW]
    above = wrapped(first, max(2, columns - len(margin))) if gap else []
    below = margin + _STEP if gap else margin
    return [
        *(margin + each for each in above),
        *(below + each for each in wrapped(rest, max(2, columns - len(below)))),
    ]


def width(text: str) -> int:
    """The columns that `text` takes."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _goes_with_its_base(character: str) -> bool:
    """Whether it is a mark on the character before it; on its own it would sit on whatever stands there."""
    return unicodedata.category(character).startswith("M")


def counted(number: int, what: str) -> str:
    """A number of things: ``1 gap``, ``2 gaps``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def of_words(text: str, words: Sequence[str], keeps: Sequence[bool]) -> str:
    """The part of `text` that belongs to the words with a true value in `keeps`, spaced and punctuated as in `text`.

    A text that does not have `words` in their order is replaced by the kept words.
    """
    places = _places(text, words)
    if places is None:
        return " ".join(itertools.compress(words, keeps))
    places[0], ends = 0, [*places[1:], len(text)]
    runs: list[tuple[int, int]] = []
    for first, end, is_kept in zip(places, ends, keeps, strict=True):
        if not is_kept:
            continue
        if runs and runs[-1][1] == first:
            first = runs.pop()[0]  # noqa: PLW2901  the run goes on
        runs.append((first, end))
    space = " " if any(character.isspace() for character in text.strip()) else ""
    return space.join(text[first:end].strip() for first, end in runs)


def spells(text: str, words: Sequence[str]) -> bool:
    """Whether `words` have all letters and digits of `text`, and no others."""
    return _letters(text) == _letters("".join(words))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _places(text: str, words: Sequence[str]) -> list[int] | None:
    """Where each of `words` begins in `text`, in any case; None if they do not stand there in this order."""
    places, end = [], 0
    if len(lower := text.lower()) == len(text):
        text, words = lower, [word.lower() for word in words]
    for word in words:
        place = text.find(word, end)
        if place < 0:
            return None
        places.append(place)
        end = place + len(word)
    return places
