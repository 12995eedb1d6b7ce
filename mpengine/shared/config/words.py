"""The values that a key of the configuration takes, in plain words: for errors and for the reference. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect

from mpengine.shared.config_tables import Section
from mpengine.shared.errors import ConfigError

# msgspec's text may contain the value, which may be a secret: only paths and names of types are taken from it.
_TEXT = re.compile(r"^(?P<text>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_GOT = re.compile(r"^Expected .*, got `(?P<kind>\w+)`$")
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "array": "a list"}
_TYPES: dict[type[inspect.Type], str] = {
    inspect.BoolType: _KINDS["bool"],
    inspect.IntType: _KINDS["int"],
    inspect.FloatType: _KINDS["float"],
    inspect.DictType: "a table",
}


def explained(error: msgspec.ValidationError, table: str, kind: type[Section]) -> ConfigError:
    """`error` in plain words: the path of the key in [`table`], a `kind`, and the values that it takes."""
    found = _TEXT.match(str(error))
    text, path = (found["text"], found["path"] or "") if found else (str(error), "")
    if unknown := _UNKNOWN.search(text):
        return ConfigError(f"{table}.{unknown['key']}", "unknown key")
    got = _GOT.match(text)
    instead = f", not {_KINDS.get(got['kind'], 'a table')}" if got else ""
    name = re.split(r"[.\[]", path)[0]
    field = next((field for field in msgspec.structs.fields(kind) if field.name == name), None)
    if field is None:
        return ConfigError(table, f"expected a table{instead}")
    if text.startswith("expected "):  # the words of `decode_secret`
        return ConfigError(f"{table}.{name}", text)
    wanted = values(field.type)
    if got and wanted[0].isdigit():
        wanted = f"{_type_words(field.type)}, {wanted}"
    # For a wrong part of a value, `instead` would name the part, but `wanted` the whole.
    return ConfigError(f"{table}.{path}", f"expected {wanted}{instead if name == path else ''}")


def one_of(choices: Sequence[str]) -> str:
    """`choices` as a list in a sentence: "a", "b" or "c"."""
    *first, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(first)} or {last}" if first else last


def values(annotation: Any) -> str:
    """The values that a key of this type takes, in words."""
    info = inspect.type_info(annotation)
    more = (info.extra or {}) if isinstance(info, inspect.Metadata) else {}
    bare = info.type if isinstance(info, inspect.Metadata) else info
    unit = f" {more['unit']}" if "unit" in more else ""
    match bare:
        case _ if "values" in more:
            return str(more["values"])
        case inspect.LiteralType(values=choices):
            return one_of([str(choice) for choice in choices])
        case inspect.StrType(max_length=int() as most):
            return f"text of at most {most} characters"
        case inspect.IntType() | inspect.FloatType() if bare.le is not None:
            least = f"{_plain(bare.ge)} to" if bare.ge is not None else f"more than {_plain(bare.gt)}, at most"
            return f"{least} {_plain(bare.le)}{unit}"
    return "a path" if more.get("path") else _type_words(annotation)


def _type_words(annotation: Any) -> str:
    info = inspect.type_info(annotation)
    bare = info.type if isinstance(info, inspect.Metadata) else info
    parts = bare.types if isinstance(bare, inspect.UnionType) else (bare,)
    return " or ".join(_TYPES.get(type(part), "text") for part in parts if not isinstance(part, inspect.NoneType))


def _plain(number: float | None) -> str:
    return f"{number:.12g}"
