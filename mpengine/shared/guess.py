"""What somebody may have meant: the nearest of the known words, for an error that suggests it. Pure."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable

_FOLDED = re.compile(r"[\W_]+")
# Below this, difflib's ratio suggests words that only share some letters.
_LEAST_RATIO = 0.6
_SHORTEST_PART = 3
# The error is one line, and comparing takes time by the product of the lengths.
_LONGEST = 80


def nearest(word: str, known: Collection[str]) -> str | None:
    """The one of `known` that `word` is most like; None if it is like none of them.

    Case, accents, hyphens and underscores do not count. A part of one known word alone stands for that word.
    """
    wanted = _plain(word[:_LONGEST])
    if not wanted:
        return None
    by_plain: dict[str, str] = {}
    for one in known:
        by_plain.setdefault(_plain(one), one)
    if wanted in by_plain:
        return by_plain[wanted]
    if len(wanted) >= _SHORTEST_PART:
        around = [plain for plain in by_plain if wanted in plain]
        if len(around) == 1:
            return by_plain[around[0]]
    close = difflib.get_close_matches(wanted, by_plain, 1, _LEAST_RATIO)
    return by_plain[close[0]] if close else None


def nearest_name(text: str, names: Iterable[str]) -> str | None:
    """The one of `names` that has the words, one after the other, most like `text`; None if none is like it.

    For names of things that people cut: "Yetti" is like "Blue Yeti Stereo Microphone".
    """
    count = len(text.split()) or 1
    rows: dict[str, str] = {}
    for name in names:
        rows.setdefault(name, name)
        words = re.findall(r"\w+", name)
        for first in range(len(words)):
            rows.setdefault(" ".join(words[first : first + count]), name)
    found = nearest(text, rows)
    return None if found is None else rows[found]


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of an error about an unknown `word`: ``; did you mean "block_ms"?``. Empty if none is like it."""
    found = nearest(word, known)
    return suggestion(found) if found is not None and found != word else ""


def suggestion(found: str) -> str:
    """The end of an error that suggests `found`."""
    return f'; did you mean "{found}"?'


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("ø", "o"))
    return _FOLDED.sub("", "".join(character for character in decomposed if not unicodedata.combining(character)))
