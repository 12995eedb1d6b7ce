"""The tables of the page about the configuration, made from the code: each key has its words at its field.

`scripts/reference` writes them into the page; tests/pure/test_docs.py compares the two. Each table stands under the
heading of its name, where the first table is.
"""

import re
from pathlib import Path

import mpengine
from mpengine.shared.config import secrets
from mpengine.shared.config.reference import Key, reference

PAGE = Path(mpengine.__file__).parent / "docs" / "configuration.md"
_SECRETS_HEAD = ["| key | key of its file | environment variable |", "| --- | --- | --- |"]
_HEAD = ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]


def with_tables(page: str) -> str:
    """`page` with the tables as they are to be."""
    for table, keys in reference().items():
        page = _replaced(page, f"[{table}]", [*_HEAD, *map(_row, keys)])
    known = {f"{table}.{key}": variable for (table, key), variable in secrets().items()}
    rows = [f"| `{key}` | `{key}_file` | `{variable}` |" for key, variable in known.items()]
    return _replaced(page, "Secrets", [*_SECRETS_HEAD, *rows])


def _replaced(page: str, heading: str, lines: list[str]) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(?:.*\n)*?(?P<table>(?:\|.*\n)+)", page, re.MULTILINE)
    assert found, f"no table under the heading {heading}"
    begin, end = found.span("table")
    return page[:begin] + "\n".join(lines) + "\n" + page[end:]


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default else key.usual
    return f"| `{key.name}` | {default} | {key.values} | {key.meaning} |"


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
