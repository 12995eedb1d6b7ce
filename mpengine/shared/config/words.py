"""The values that a key of the configuration takes, in plain words: for errors and for the reference. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from mpengine import dialects
from mpengine.shared.config_tables import Section
from mpengine.shared.errors import ConfigError
from mpengine.shared.guess import did_you_mean, nearest, suggestion

# msgspec's text may contain the value, which may be a secret: only paths and names of types are taken from it.
_TEXT = re.compile(r"^(?P<text>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_GOT = re.compile(r"^Expected .*, got `(?P<kind>\w+)`$")
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "array": "a list"}
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_TRUTHS = frozenset({"true", "false", "yes", "no", "on", "off"})
_TYPES: dict[type[inspect.Type], str] = {
    inspect.BoolType: _KINDS["bool"],
    inspect.IntType: _KINDS["int"],
    inspect.FloatType: _KINDS["float"],
    inspect.DictType: "a table",
}


def explained(
    error: msgspec.ValidationError, table: str, kind: type[Section], *, given: Any, known: Mapping[str, Collection[str]]
) -> ConfigError:
    """`error` in plain words: the path of the key in [`table`], a `kind`, and the values that it takes.

    `given` is the table as it was given, and `known` has the keys of all tables: for suggestions.
    """
    found = _TEXT.match(str(error))
    text, path = (found["text"], found["path"] or "") if found else (str(error), "")
    if unknown := _UNKNOWN.search(text):
        return _unknown_key(table, unknown["key"], kind, known)
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
    if name != path:
        return ConfigError(f"{table}.{path}", f"expected {wanted}")
    return ConfigError(f"{table}.{path}", f"expected {wanted}{instead}{_advice(field.type, given.get(name))}")


def unknown_mode(mode: Any) -> ConfigError:
    """The error for a `remote.mode` that is none."""
    hint = ""
    if isinstance(mode, str):
        meant = dialects.MEANT.get(mode.lower())
        hint = suggestion(meant) if meant else did_you_mean(mode, dialects.MODES)
    return ConfigError("remote.mode", f"expected {one_of(dialects.MODES)}{hint}")


def without_table(key: str, known: Mapping[str, Collection[str]]) -> str:
    """The end of an error about a `key` without its table, which suggests the path that was probably meant."""
    return _same_or_like(key, [f"{table}.{name}" for table, names in known.items() for name in names])


def unknown_table(name: str, value: Any, known: Mapping[str, Collection[str]]) -> ConfigError:
    """The error for a `name`, with its `value`, that is no table of the configuration."""
    if not isinstance(value, Mapping):
        return ConfigError(name, f"unknown key: keys stand in tables{without_table(name, known)}")
    found = nearest(name, known)
    hint = f"; did you mean [{found}]?" if found else f"; the tables are {', '.join(f'[{table}]' for table in known)}"
    return ConfigError(name, f"unknown table{hint}")


def _unknown_key(table: str, key: str, kind: type[Section], known: Mapping[str, Collection[str]]) -> ConfigError:
    path = f"{table}.{key}"
    if key in known[table]:  # the file of a secret
        return ConfigError(path, f"only a configuration file takes it; give {key.removesuffix('_file')} itself")
    if key in known:
        return ConfigError(path, f"[{key}] is a table of its own, not a part of [{table}]")
    others = [f"{other}.{name}" for other, names in known.items() if other != table for name in names]
    hint = did_you_mean(key, known[table]) or _same_or_like(key, others)
    if not hint:
        names = ("mode", *kind.__struct_fields__) if table == "remote" else kind.__struct_fields__
        more = "; parameters of the service stand in [remote.parameters]" if table == "remote" else ""
        hint = f"; [{table}] has {', '.join(names)}{more}"
    return ConfigError(path, f"unknown key{hint}")


def _same_or_like(key: str, paths: Collection[str]) -> str:
    """The end of an error that suggests the one of `paths` whose key is called `key` or much like it."""
    by_key = {path.partition(".")[2]: path for path in paths}
    found = nearest(key, by_key)
    return suggestion(by_key[found]) if found is not None else ""


def _advice(annotation: Any, given: Any) -> str:
    """What would mend the value `given` for a key of this type; empty if that is not known, and for secrets."""
    parts = _parts(annotation)
    kinds = {type(part) for part in parts}
    match given:
        case str() if kinds & {inspect.IntType, inspect.FloatType} and _NUMBER.fullmatch(given.strip()):
            return "; write it without quotes"
        case str() if inspect.BoolType in kinds:
            return "; write true or false, without quotes" if given.lower() in _TRUTHS else ""
        case str():
            choices = [str(choice) for part in parts if isinstance(part, inspect.LiteralType) for choice in part.values]
            return did_you_mean(given, choices)
        case bool():
            return ""
        case int() | float() if inspect.StrType in kinds and inspect.IntType not in kinds:
            return "; write it in quotes"
    return ""


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
    parts = _parts(annotation)
    return " or ".join(_TYPES.get(type(part), "text") for part in parts if not isinstance(part, inspect.NoneType))


def _parts(annotation: Any) -> tuple[inspect.Type, ...]:
    """The types of a union, or the only type, without the notes around it."""
    info = inspect.type_info(annotation)
    bare = info.type if isinstance(info, inspect.Metadata) else info
    return bare.types if isinstance(bare, inspect.UnionType) else (bare,)


def _plain(number: float | None) -> str:
    return f"{number:.12g}"
