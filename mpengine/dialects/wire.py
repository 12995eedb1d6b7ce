"""Reads recognisers' JSON for all dialects, within bounds that make a hostile message harmless. Pure.

Every result fits the control channel, where msgpack has integers of 64 bits. It can be encoded again, although nesting
costs stack. It takes no longer to handle than to read.
"""

from collections.abc import Container, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from mpengine.dialects.base import Ignored, Malformed, Said
from mpengine.shared import messages
from mpengine.shared.messages import UNREADABLE

_FAR_S = 1e9  # thirty years
_DEEP = 32

Seconds = Annotated[float, Meta(ge=-_FAR_S, le=_FAR_S)]
Number = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Channels = Annotated[list[Annotated[int, Meta(ge=0, le=64)]], Meta(max_length=64)]


class Word(msgspec.Struct):
    """A word of either protocol."""

    word: str
    start: Seconds
    end: Seconds
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: Number | None = None


Words = Annotated[list[Word], Meta(max_length=10_000)]


class Other(NamedTuple):
    """A message of a type that the decoder does not know."""

    kind: str


class _Typed(msgspec.Struct):
    type: str


Known = TypeVar("Known")

_typed = msgspec.json.Decoder(_Typed)
_anything = msgspec.json.Decoder()


def read(text: str, decoder: msgspec.json.Decoder[Known], known: Container[str]) -> Known | Other | Ignored | Malformed:
    """Decode `text` with `decoder`, which knows the types `known`. Never raises."""
    try:
        return decoder.decode(text)
    except UNREADABLE as error:
        try:
            kind = _typed.decode(text).type
        except UNREADABLE:
            return Ignored("no JSON object with a type")
        return Malformed(f"{kind}: {error}") if kind in known else Other(kind)


def spoken(words: Sequence[Word]) -> tuple[messages.Word, ...]:
    """The words of a transcript, with times of the connection."""
    spoken_words = [
        messages.Word(
            word=word.word,
            start_s=word.start,
            end_s=word.end,
            confidence=word.confidence,
            punctuated_word=word.punctuated_word,
            speaker=word.speaker,
        )
        for word in words
    ]
    return tuple(spoken_words)


def passed_on(kind: str, text: str, *, is_last: bool) -> Said | Malformed:
    """The message `text` of the type `kind`, to be published unchanged."""
    try:
        data = _anything.decode(text)
    except UNREADABLE as error:
        return Malformed(f"{kind}: {error}")
    misfit = _misfit(data, "$", _DEEP)
    return Said(messages.Metadata(data=data), is_last) if misfit is None else Malformed(f"{kind}: {misfit}")


def _misfit(value: Any, path: str, levels: int) -> str | None:
    """Which part of `value` cannot be published, and its path; None if all of it can."""
    if not levels:
        return f"nested too deep - at `{path}`"
    match value:
        case int() if not -(2**63) <= value < 2**63:
            return f"number out of range - at `{path}`"
        case dict():
            inner = ((f"{path}.{key}", item) for key, item in value.items())
        case list():
            inner = ((f"{path}[{index}]", item) for index, item in enumerate(value))
        case _:
            return None
    return next((found for where, item in inner if (found := _misfit(item, where, levels - 1))), None)
