"""Text from outside, made safe for a terminal and cut to its width. Pure."""

import unicodedata

# Control characters (an escape sequence begins with one), Unicode's line and paragraph ends, lone surrogates.
_REPLACED = frozenset({"Cc", "Zl", "Zp", "Cs"})
# Characters that turn the direction of the following text.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


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
