"""The words of a transcript as a reader wants them: spelled as in its text, each with its time. Pure.

The text binds. A recogniser may spell it otherwise than its words ("twenty five", "25"), or give no words at all. Then
the transcript's time is spread evenly over the letters of the text.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mpengine.shared.messages import Transcript, Word
from mpengine.shared.text import harmless

# No recording is longer (30 years).
_LATEST_S = 1e9


class Token(NamedTuple):
    """A word. `is_glued`: no space stands before it, as between words of Chinese."""

    text: str
    start_ms: int
    end_ms: int
    is_glued: bool = False
    speaker: int | str | None = None


class Turn(NamedTuple):
    """The words of one speaker. `name` is empty for an unknown one."""

    name: str
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """All words on one line."""
        return joined(self.tokens)


def tokens_of(transcript: Transcript) -> list[Token]:
    """The tokens in order of time; together they are the transcript's text."""
    text = harmless(transcript.text)
    found = (
        _aligned(text, [(word.punctuated_word or word.word, word) for word in transcript.words])
        or _aligned(text, [(word.word, word) for word in transcript.words])
        or _paired(text.split(), transcript.words)
        or _spread(text.split(), _ms(transcript.start_s), _ms(transcript.end_s))
    )
    return list(_in_order(found))


def turns_of(transcript: Transcript) -> list[Turn]:
    """The tokens of `transcript`, as one turn after another."""
    parts = itertools.groupby(tokens_of(transcript), key=lambda token: token.speaker)
    return [Turn(_name(transcript.user_name, speaker), tuple(tokens)) for speaker, tokens in parts]


def joined(tokens: Sequence[Token]) -> str:
    """The text of `tokens`, with a space before each that is not glued."""
    rest = "".join(f"{'' if token.is_glued else ' '}{token.text}" for token in tokens[1:])
    return f"{tokens[0].text}{rest}" if tokens else ""


def shares(start_ms: int, end_ms: int, weights: Sequence[int]) -> list[tuple[int, int]]:
    """The time from `start_ms` to `end_ms` in consecutive pieces, in proportion to `weights`."""
    edges = [0, *itertools.accumulate(weights)]
    places = [start_ms + (end_ms - start_ms) * edge // max(1, edges[-1]) for edge in edges]
    return list(itertools.pairwise(places))


def _name(user_name: str, speaker: int | str | None) -> str:
    if isinstance(speaker, str):
        return harmless(speaker).strip()
    name = harmless(user_name).strip()
    return name if speaker is None else f"{name or 'Speaker'} #{speaker}"


def _aligned(text: str, words: Sequence[tuple[str, Word]]) -> list[Token]:
    """The tokens, if `text` consists of `words` and spaces only; otherwise none."""
    found: list[Token] = []
    position = 0
    for spelling, word in words:
        letters = harmless(spelling).strip()
        begin = _after_spaces(text, position)
        if not letters or not text.startswith(letters, begin):
            return []
        is_glued = bool(found) and begin == position
        found.append(Token(letters, _ms(word.start_s), _ms(word.end_s), is_glued, word.speaker))
        position = begin + len(letters)
    return found if _after_spaces(text, position) == len(text) else []


def _after_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _paired(spellings: Sequence[str], words: Sequence[Word]) -> list[Token]:
    """The tokens in the spelling of the text, if it has as many words as `words`; otherwise none."""
    if len(spellings) != len(words):
        return []
    pairs = zip(spellings, words, strict=True)
    return [Token(text, _ms(word.start_s), _ms(word.end_s), speaker=word.speaker) for text, word in pairs]


def _spread(spellings: Sequence[str], start_ms: int, end_ms: int) -> list[Token]:
    places = shares(start_ms, max(start_ms, end_ms), [len(text) + 1 for text in spellings])
    return [Token(text, *place) for text, place in zip(spellings, places, strict=True)]


def _in_order(tokens: Iterable[Token]) -> Iterator[Token]:
    """No token begins before the one before it, whatever the recogniser says."""
    latest_ms = 0
    for token in tokens:
        latest_ms = max(latest_ms, token.start_ms)
        yield token._replace(start_ms=latest_ms, end_ms=max(latest_ms, token.end_ms))


def _ms(seconds: float) -> int:
    return round(1000 * min(max(seconds, 0.0), _LATEST_S))
