"""The keys of the configuration in words, for its reference and for `mpengine init`: read from their fields. Pure."""

from typing import Any, NamedTuple

import msgspec

from mpengine import dialects
from mpengine.dialects.base import RemoteConfig
from mpengine.shared.config import Config
from mpengine.shared.config.words import one_of, values
from mpengine.shared.config_tables import Section, notes


class Key(NamedTuple):
    """A key of a table.

    name      its name
    default   its default as TOML; empty if it has none
    usual     the default in words, where it has none as TOML; empty if there is nothing to say
    values    the values that it takes, in words
    meaning   what it means, in Markdown; a key of some modes names each of them
    example   a value as TOML, where it has no default
    variable  for a secret: its environment variable; then `example` is that of a file
    """

    name: str
    default: str
    usual: str
    values: str
    meaning: str
    example: str
    variable: str


def reference() -> dict[str, list[Key]]:
    """The keys of each table, in the order of the reference. Modes that share a key share one Key."""
    return {table.name: _keys(table.type) for table in msgspec.structs.fields(Config)}


def _keys(table: type[Section]) -> list[Key]:
    if table is not RemoteConfig:
        return [_key(field) for field in msgspec.structs.fields(table)]
    modes = {mode: dialects.kind(mode) for mode in dialects.MODES}
    chosen = [f"`{mode}`: {(kind.__doc__ or '').rstrip('.')}" for mode, kind in modes.items()]
    mode = Key("mode", f'"{dialects.DEFAULT_MODE}"', "", one_of(dialects.MODES), "; ".join(chosen), "", "")
    of_all = [_key(field) for field in msgspec.structs.fields(table)]
    shared = {key.name for key in of_all}
    of_modes: dict[tuple[str, ...], Key] = {}
    for name, kind in modes.items():
        for field in msgspec.structs.fields(kind):
            if field.name in shared:
                continue
            key = _key(field)
            before = of_modes.get(key[:4])
            meaning = f"{name}: {key.meaning}"
            meaning = f"{before.meaning}; {meaning}" if before is not None else meaning
            of_modes[key[:4]] = key._replace(meaning=meaning)
    return [mode, *of_all, *of_modes.values()]


def _key(field: msgspec.structs.FieldInfo) -> Key:
    said, more = notes(field.type)
    meaning = next(note.description for note in said if note.description)
    return Key(
        name=field.name,
        default=_default(field),
        usual=str(more.get("default", "")),
        values=values(field.type),
        meaning=meaning,
        example=str(more.get("example", "")),
        variable=str(more.get("environment", "")),
    )


def _default(field: msgspec.structs.FieldInfo) -> str:
    value: Any = field.default
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str() if value:
            return f'"{value}"'
    return ""
