"""Reads recognisers' JSON for all dialects, within bounds that make a hostile message harmless. Pure.

The text decides. A message that fits costs one decoding. Of any other message each part is taken that fits, and the
parts that do not fit are left out and named: a field beside the text never costs the text.

Every result fits the control channel, where msgpack has integers of 64 bits. It can be encoded again, although nesting
costs stack. It takes no longer to handle than to read.
"""

import contextlib
import functools
import itertools
import json
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, get_args, get_origin

import msgspec
from msgspec import Meta

from mpengine.dialects.base import (
    Dialect,
    Hypothesis,
    LeftOut,
    Malformed,
    Meaning,
    Said,
    ServiceError,
    Unknown,
)
from mpengine.shared import messages
from mpengine.shared.messages import UNREADABLE, UtteranceEnd

_FAR = 1e9  # in seconds thirty years
_DEEP = 32
_MOST_ITEMS = 10_000
# Ten minutes of speech in one final have some 1500 words; what is said without a pause is shorter. With more of them, a
# result could not be kept for programs that come late.
_MOST_WORDS = 1000
_MOST_ENTITIES, _MOST_ENTITY_BYTES = 100, 16 << 10
_LONGEST_ERROR = 1000
_MOST_NAMED = 6
_LONGEST_NAME = 100
_LONGEST_WORDS = 300

Figure = Annotated[float, Meta(ge=-_FAR, le=_FAR)]
Seconds = Figure
Number = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Channel = Annotated[int, Meta(ge=0, le=64)]
Channels = Channel | Annotated[list[Channel], Meta(max_length=64)] | None
"""The number of a channel, or a list of it and the count of channels."""


class Part(msgspec.Struct):
    """A message, or an object inside of one. Every field but the deciding one may be left out."""

    decides: ClassVar[str] = ""
    """The field that the part is about. Where it does not fit, or is required and missing, the part cannot be used."""
    plain: ClassVar[str] = ""
    """The field that a bare text stands for, in place of an object."""


class Word(Part):
    """A word of either protocol."""

    decides = plain = "word"

    word: str
    start: Seconds | None = None
    end: Seconds | None = None
    confidence: Figure | None = None
    punctuated_word: str | None = None
    speaker: Number | str | None = None
    language: str | None = None


Words = Annotated[tuple[Word, ...], Meta(max_length=_MOST_WORDS)]
Entities = Annotated[tuple[dict[str, Any], ...], Meta(max_length=_MOST_ENTITIES)]


class _Final(Part):
    """The place of a final, in the words of all dialects."""

    is_final: bool = False
    start: Seconds | None = None
    duration: Seconds | None = None


_Misfits = dict[Hashable, str]
"""For each field that was left out, where it stood first."""


class JsonDialect(Dialect):
    """A dialect whose messages are JSON objects that name their kind in `type`.

    `decoder` reads the messages that fit, each as one of `kinds`. These are found by their tags, in lower case and
    without `_`: some servers write `utterance_end` for `UtteranceEnd`.
    """

    decoder: msgspec.json.Decoder[Any]
    kinds: Mapping[str, type[Part]]

    def __init__(self) -> None:
        self._spoken_until: dict[int, float] = {}  # by channel: where the last words end
        self._told_ends: set[int] = set()  # the channels on which the end of that utterance was told

    def opened(self) -> None:
        """See Dialect."""
        self._spoken_until.clear()
        self._told_ends.clear()

    def decode(self, text: str) -> Sequence[Meaning]:
        """See Dialect."""
        try:
            message = self.decoder.decode(text)
        except UNREADABLE:
            return self._decoded_in_parts(text)
        return self.meanings(message)

    def meanings(self, message: Any) -> Sequence[Meaning]:
        """The meanings of a message, which is one of `kinds`."""
        raise NotImplementedError

    def other(self, kind: str, data: dict[str, Any]) -> Sequence[Meaning] | None:  # noqa: ARG002  not here
        """The meanings of a message that is none of `kinds`; `kind` is as in `kinds`. None if it is unknown."""
        return None

    def _decoded_in_parts(self, text: str) -> Sequence[Meaning]:
        try:
            data = _loaded(text)
        except UNREADABLE:
            return (Unknown("no JSON"),)
        name = data.get("type") if isinstance(data, dict) else None
        if isinstance(data, dict) and name is None and (data.get("error") or data.get("err_msg")):
            name = "error"
        if not isinstance(name, str):
            return (Unknown("no JSON object with a type"),)
        kind = self.kinds.get(_plain(name))
        if kind is None:
            return self.other(_plain(name), data) or (Unknown(name),)
        tag = data["type"] = str(kind.__struct_config__.tag)
        misfits: _Misfits = {}
        message = _fitted(data, kind, "$", misfits)
        if message is None:
            final = _fitted(data, _Final, "$", {})
            times = (final.start, final.start + final.duration) if None not in (final.start, final.duration) else None
            return (Malformed(_named(tag, misfits), final.is_final, times),)
        meanings = self.meanings(message)
        return [*meanings, LeftOut(_named(tag, misfits))] if misfits else meanings

    def heard(self, hypothesis: Hypothesis) -> Sequence[Meaning]:
        """`hypothesis`, and the end of the utterance if it is an empty final that tells one.

        Deepgram sends such a final where it hears the silence only after it has sent the final of the words. It repeats
        them in a long silence. The end of one utterance is told once.
        """
        transcript = hypothesis.transcript
        channel = transcript.channel
        if transcript.is_final and transcript.text.strip():
            self._told_ends.discard(channel)
            end_s = transcript.end_s if hypothesis.has_times else _FAR
            self._spoken_until[channel] = (transcript.words[-1].end_s if transcript.words else 0.0) or end_s
        elif transcript.is_final and transcript.speech_final and channel not in self._told_ends:
            start_s = transcript.start_s if hypothesis.has_times else _FAR
            return (hypothesis, self.utterance_end(self._spoken_until.get(channel, start_s), channel))
        return (hypothesis,)

    def utterance_end(self, at_s: float, channel: int) -> Said:
        """The recogniser says that an utterance ended at `at_s`. `_FAR` means the end of all audio sent."""
        self._told_ends.add(channel)
        return Said(UtteranceEnd(at_s=at_s, channel=channel))


def by_name(*kinds: type[Part]) -> Mapping[str, type[Part]]:
    """`JsonDialect.kinds` of these classes."""
    return {_plain(str(kind.__struct_config__.tag)): kind for kind in kinds}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def spoken(words: Sequence[Word], start_s: float | None, end_s: float) -> tuple[messages.Word, ...]:
    """The words of a transcript from `start_s` to `end_s` (None: unknown), with times of the connection.

    A word without times is placed between its neighbours, and if it has none, in the transcript. All times are 0 where
    neither the transcript nor any of its words has one.
    """
    found = []
    for word in words:
        if word.start is None or word.end is None:
            return spoken(_placed(words, start_s, end_s), start_s, end_s)
        found.append(
            messages.Word(
                word=word.word,
                start_s=word.start,
                end_s=word.end,
                confidence=word.confidence,
                punctuated_word=word.punctuated_word,
                speaker=word.speaker,
                language=word.language,
            )
        )
    return tuple(found)


def _placed(words: Sequence[Word], start_s: float | None, end_s: float) -> list[Word]:
    """`words`, each with both times: those without are spread evenly over the time between their neighbours."""
    if start_s is None:
        known = [time for word in words for time in (word.start, word.end) if time is not None]
        start_s, end_s = min(known, default=0.0), max(known, default=0.0)
    placed: list[Word] = []
    by_times = itertools.groupby(words, key=lambda word: None not in (word.start, word.end))
    runs = [(is_timed, list(run)) for is_timed, run in by_times]
    for number, (is_timed, run) in enumerate(runs):
        if not is_timed:
            begin_s = (placed[-1].end if placed else start_s) or 0.0
            until_s = (runs[number + 1][1][0].start if number + 1 < len(runs) else end_s) or 0.0
            step_s = max(0.0, until_s - begin_s) / len(run)
            for index, word in enumerate(run):
                word.start = begin_s + step_s * index if word.start is None else word.start
                word.end = max(word.start, begin_s + step_s * (index + 1)) if word.end is None else word.end
        placed += run
    return placed


def place_of(channels: Channels) -> tuple[int, int]:
    """The channel of a message, and how many channels there are. Without a sane count that is 1."""
    match channels:
        case [channel, count, *_] if channel < count:
            return channel, count
        case int() as channel:
            return channel, 1
        case [channel, *_]:
            return channel, 1
        case _:
            return 0, 1


def complaint(data: Mapping[str, Any], otherwise: str) -> ServiceError:
    """The error that the message `data` reports, in any of the shapes that servers use; `otherwise`: without words."""
    inner = data.get("error")
    data = {**data, **inner} if isinstance(inner, dict) else data
    codes = [data.get(name) for name in ("code", "error_code", "err_code", "variant")]
    code = next((str(each) for each in codes if each and isinstance(each, (str, int))), "")
    names = ("description", "message", "error_message", "err_msg", "error", "reason", "detail")
    given = [data[name] for name in names if data.get(name)]
    words = next((each for each in given if isinstance(each, str)), None)
    if words is None and given:
        words = json.dumps(given[0], ensure_ascii=False)[:_LONGEST_WORDS]
    return ServiceError(code[:_LONGEST_NAME], (words or otherwise)[:_LONGEST_ERROR])


def passed_on(data: dict[str, Any], *, is_last: bool) -> Sequence[Meaning]:
    """The message `data`, to be published as received, without the fields that cannot be published."""
    misfits: _Misfits = {}
    kept = {}
    for key, item in data.items():
        where = misfit(item, f"$.{key}", _DEEP)
        if where is None:
            kept[key] = item
        else:
            misfits[key] = where
    said = Said(messages.Metadata(data=kept), is_last)
    return (said, LeftOut(_named(str(data["type"]), misfits))) if misfits else (said,)


def misfit(value: Any, path: str, levels: int = _DEEP) -> str | None:
    """The path of a part of `value` that cannot be published; None if all of it can. `path` is that of `value`."""
    match value:
        case dict() | list() | tuple() if not levels:
            return path
        case dict():
            inner = ((f"{path}.{key}", item) for key, item in value.items())
        case list() | tuple():
            inner = ((f"{path}[{index}]", item) for index, item in enumerate(value))
        case int():
            return None if -(2**63) <= value < 2**63 else path
        case float():
            return None if math.isfinite(value) else path
        case _:
            return None
    return next((found for where, item in inner if (found := misfit(item, where, levels - 1))), None)


def unfit_entities(entities: Sequence[dict[str, Any]], path: str) -> str | None:
    """Why `entities`, which stand at `path`, cannot be published; None if they can."""
    found = misfit(entities, path)
    if found is None and len(messages.encode(entities)) > _MOST_ENTITY_BYTES:
        return path
    return found


# Decoding in parts


def _whole(digits: str) -> float:
    """A number of JSON without a fraction. A very long one becomes infinite, which fits nowhere: it costs no time."""
    return int(digits) if len(digits) <= 20 else math.inf


_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_lenient = json.JSONDecoder(parse_int=_whole, parse_constant=lambda _: math.inf, strict=False)


def _loaded(text: str) -> Any:
    """The value of the JSON `text`, which can be encoded again. Raises one of UNREADABLE."""
    text = _encodable(text).removeprefix("\ufeff")
    try:
        data = _lenient.decode(text)
    except RecursionError:
        data = _lenient.decode(_flattened(text))
    if "\\u" in text:  # an escape can be half a pair of surrogates
        data = _lenient.decode(_encodable(json.dumps(data, ensure_ascii=False)))
    return data


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _flattened(text: str) -> str:
    """The JSON `text` with null in place of all that is nested too deep."""
    kept, levels, begin = [], 0, 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in "[{":
            if levels == _DEEP:
                kept.append(text[begin : token.start()])
            levels += 1
        elif token[0] in "]}":
            levels -= 1
            if levels == _DEEP:
                kept.append("null")
                begin = token.end()
    return "".join([*kept, text[begin:]])


_fields = functools.cache(msgspec.structs.fields)


def _fitted(value: Any, kind: Any, path: str, misfits: _Misfits) -> Any:
    """`value`, which is not null, as a `kind`, without the parts that do not fit; None if nothing of it can be used.

    Numbers and booleans in text are taken. Null counts as missing, and one item as a list of it.
    """
    with contextlib.suppress(*UNREADABLE):
        return msgspec.convert(value, kind, strict=False)
    if kind is bool and value in (0.0, 1.0):
        return bool(value)
    most = _MOST_ITEMS
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
        most = meta.max_length or most
    if get_origin(kind) is tuple:
        items = value if isinstance(value, list) else [value]
        return _fitted_items(items, get_args(kind)[0], path, misfits) if len(items) <= most else None
    if isinstance(kind, type) and issubclass(kind, Part):
        if kind.plain and isinstance(value, str):
            value = {kind.plain: value}
        return _fitted_part(value, kind, path, misfits) if isinstance(value, dict) else None
    return None


def _fitted_items(items: list[Any], kind: Any, path: str, misfits: _Misfits) -> tuple[Any, ...] | None:
    found, has_items = [], False
    for index, item in enumerate(items):
        if item is None:
            continue
        has_items = True
        where = f"{path}[{index}]"
        fitted = _fitted(item, kind, where, misfits)
        if fitted is None:
            misfits.setdefault(kind, where)
        else:
            found.append(fitted)
    return tuple(found) if found or not has_items else None


def _fitted_part(value: dict[str, Any], kind: type[Part], path: str, misfits: _Misfits) -> Part | None:
    found = {}
    for field in _fields(kind):
        where = f"{path}.{field.name}"
        item = value.get(field.name)
        if item is not None:
            fitted = _fitted(item, field.type, where, misfits)
            if fitted is not None:
                found[field.name] = fitted
                continue
            misfits.setdefault((kind, field.name), where)
        elif field.required:
            misfits.setdefault((kind, field.name), where)
        if field.name == kind.decides and (item is not None or field.required):
            return None
    return kind(**found)


def _named(tag: str, misfits: _Misfits) -> str:
    """The type `tag` and the fields, for people. The innermost field comes first."""
    names = [f"`{where[:_LONGEST_NAME]}`" for where in misfits.values()]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{tag}: {', '.join(names[:_MOST_NAMED])}{more}"
