"""The tables of the page about the configuration, made from the code: each key has its words at its field.

`scripts/reference` writes them into the page; tests/pure/test_docs.py compares the two. Each table stands under the
heading of its name, where the first table is.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

import mpengine
from mpengine import dialects
from mpengine.dialects.base import RemoteConfig
from mpengine.shared.config import Config, secrets
from mpengine.shared.config.words import one_of, values
from mpengine.shared.config_tables import notes

PAGE = Path(mpengine.__file__).parent / "docs" / "configuration.md"
_SECRETS_HEAD = ["| key | key of its file | environment variable |", "| --- | --- | --- |"]
_HEAD = ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]


def with_tables(page: str) -> str:
    """`page` with the tables as they are to be."""
    for table in msgspec.structs.fields(Config):
        kinds = [("", table.type)]
        if table.type is RemoteConfig:
            kinds += [(mode, dialects.kind(mode)) for mode in dialects.MODES]
        page = _replaced(page, f"[{table.name}]", [*_HEAD, *_rows(kinds)])
    known = {f"{table}.{key}": variable for (table, key), variable in secrets().items()}
    rows = [f"| `{key}` | `{key}_file` | `{variable}` |" for key, variable in known.items()]
    return _replaced(page, "Secrets", [*_SECRETS_HEAD, *rows])


def _replaced(page: str, heading: str, lines: list[str]) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(?:.*\n)*?(?P<table>(?:\|.*\n)+)", page, re.MULTILINE)
    assert found, f"no table under the heading {heading}"
    begin, end = found.span("table")
    return page[:begin] + "\n".join(lines) + "\n" + page[end:]


def _rows(kinds: list[tuple[str, Any]]) -> list[str]:
    """The lines of the keys of `kinds`, each with the mode whose it is. Modes that share a key share its line."""
    meanings: dict[tuple[str, str, str], list[str]] = {}
    if len(kinds) > 1:
        chosen = [f"`{mode}`: {(kind.__doc__ or '').rstrip('.')}" for mode, kind in kinds[1:]]
        meanings["mode", f'`"{dialects.DEFAULT_MODE}"`', one_of(dialects.MODES)] = chosen
    of_all = {field.name for field in msgspec.structs.fields(kinds[0][1])}
    for mode, kind in kinds:
        for field in msgspec.structs.fields(kind):
            if mode and field.name in of_all:
                continue
            row = (field.name, _default(field), values(field.type))
            meanings.setdefault(row, []).append(f"{mode}: {_meaning(field)}" if mode else _meaning(field))
    return [f"| `{row[0]}` | {row[1]} | {row[2]} | {'; '.join(said)} |" for row, said in meanings.items()]


def _meaning(field: msgspec.structs.FieldInfo) -> str:
    said = [note.description for note in notes(field.type)[0] if note.description]
    assert said, f"{field.name} has no description"
    return said[0]


def _default(field: msgspec.structs.FieldInfo) -> str:
    match field.default:
        case bool() as value:
            return f"`{str(value).lower()}`"
        case int() | float() as value:
            return f"`{value}`"
        case str() as value if value:
            return f'`"{value}"`'
    return str(notes(field.type)[1].get("default", ""))


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
