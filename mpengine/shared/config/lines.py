"""Finds the line of a key in a TOML text, and says in words what is wrong on a line: for errors. Pure."""

import re
from collections.abc import Iterator

_WORD = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = rf"\s*{_WORD}(?:\s*\.\s*{_WORD})*\s*"
_HEADER = re.compile(rf"\s*\[{{1,2}}(?P<key>{_KEY})\]")
_STATEMENT = re.compile(rf"(?P<key>{_KEY})=")
_WORDS = re.compile(_WORD)
_PIECE = re.compile(r"""\"{3}|'{3}|"(?:[^"\\]|\\.)*"|'[^']*'|#.*|[\[\]{}]""")
_CLOSING = {'"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*"""'), "'''": re.compile(r"(?:[^']|'(?!''))*'''")}
# The index of an element, which msgspec writes after the path of its list or table.
_ELEMENT = re.compile(r"\[.*")
_TROUBLE = re.compile(r"(?P<what>.+?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_TWICE = re.compile(r"(?P<key>Cannot overwrite a value)|Cannot declare .* twice")
_VALUE = re.compile(rf"(?P<key>{_KEY})=(?P<value>[^#]*)")


def line_of(text: str, path: str) -> int | None:
    """The number of the line, from 1 on, where the key or the table at `path` (``audio.block_ms``) begins in `text`.

    None where it is not there. A key inside of an inline table stands on the line of that table's key.
    """
    wanted = tuple(_ELEMENT.sub("", path).split("."))
    around = None
    for number, found, is_header in _statements(text):
        if found[: len(wanted)] == wanted:
            return number
        if not is_header and around is None and wanted[: len(found)] == found:
            around = number
    return around


def _statements(text: str) -> Iterator[tuple[int, tuple[str, ...], bool]]:
    """Each header and each key with its line, its whole path, and whether it is a header."""
    table: tuple[str, ...] = ()
    quote, depth = "", 0  # what the lines before have left open
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        rest = line
        if not quote and not depth:
            if not line or line.isspace():
                continue
            if header := _HEADER.match(line):
                table = _parts(header["key"])
                yield number, table, True
                continue
            statement = _STATEMENT.match(line)
            if statement is None:
                continue
            yield number, (*table, *_parts(statement["key"])), False
            rest = line[statement.end() :]
        quote, depth = _left_open(rest, quote, depth)


def _left_open(rest: str, quote: str, depth: int) -> tuple[str, int]:
    """The quotes of three that are still open at the end of a line, and the number of open brackets."""
    at = 0
    while True:
        if quote:
            end = _CLOSING[quote].match(rest, at)
            if end is None:
                return quote, depth
            quote, at = "", end.end()
        piece = _PIECE.search(rest, at)
        if piece is None:
            return "", depth
        at = piece.end()
        match piece[0]:
            case '"""' | "'''":
                quote = piece[0]
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth = max(0, depth - 1)


def _parts(key: str) -> tuple[str, ...]:
    return tuple(word.strip("\"'") for word in _WORDS.findall(key))


def explained(text: str, trouble: str) -> tuple[int | None, str]:
    """The line of `trouble`, which the library says of a `text` that is no TOML, and what is wrong there.

    The line is None where the library does not know it. No value of the text is told: it may be a secret.
    """
    found = _TROUBLE.fullmatch(trouble)
    if found is None:
        return None, trouble
    number = int(found["line"]) if found["line"] else text.rstrip().count("\n") + 1
    line = text.split("\n")[number - 1] if number <= text.count("\n") + 1 else ""
    what = found["what"]
    if (twice := _TWICE.search(what)) is not None:
        if twice["key"]:
            key = _STATEMENT.match(line)
            return number, f"{key['key'].strip() if key is not None else 'a key'} stands twice"
        header = _HEADER.match(line)
        return number, f"{header[0].strip() if header is not None else 'a table'} stands twice; put its keys together"
    where = f" (column {found['column']})" if found["column"] else ""
    return number, f"{what[0].lower()}{what[1:]}{where}{_advice(line, what)}"


def _advice(line: str, what: str) -> str:
    """What would mend `line`, for the mistakes that people make; empty for others."""
    given = _VALUE.match(line)
    if given is None:
        is_like_yaml = re.match(r"\s*[\w.-]+\s*:", line)
        return "; expected KEY = VALUE" if is_like_yaml or "'='" in what else ""
    key, value = given["key"].strip(), given["value"].strip()
    match value.lower():
        case "":
            return f"; expected a value, or # before {key}"
        case "true" | "yes" | "on":
            return f"; expected {key} = true"
        case "false" | "no" | "off":
            return f"; expected {key} = false"
    if value.startswith('"') and "\\" in value:
        return f"; a \\ stands for itself in single quotes: {key} = '…'"
    if re.match(r"[\w./~:@*-]", value) and not re.fullmatch(r"[\d.+_-]+", value):
        return f'; text needs quotes: {key} = "…"'
    if value[0] in "\"'" and value.count(value[0]) == 1:
        return "; the closing quote is missing"
    return ""
