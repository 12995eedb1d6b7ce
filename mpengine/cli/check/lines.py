"""The lines of `mpengine check`, as people and programs see them, and the exit code that they make. Pure."""

import enum
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from mpengine.shared.errors import ExitCode
from mpengine.shared.text import GLUE, glued, harmless

# Narrower terminals have the names on lines of their own.
LEAST_BESIDE = 60
NAME_COLUMNS = 19
_MARGIN = 4
MARKS = "\N{CHECK MARK}\N{BALLOT X}\N{EN DASH}\N{RIGHTWARDS ARROW}"
"""Those of the results, in their order, and what stands before what would mend it."""
ASCII_MARKS = "+x-"
_GREEN, _RED, _DIM, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


class Result(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It was not made: it does not apply, or it needs another one that has failed."""


class Line(NamedTuple):
    """One check. `text`: what was found. `mend`: what would mend or better it; every failed check has one.

    `exit_code`: with which a run would end here; CRASH also where a run would go on, but could not do its work.
    """

    check: str
    result: Result
    text: str
    mend: str = ""
    exit_code: ExitCode = ExitCode.OK

    def entry(self) -> dict[str, str]:
        """For programs."""
        return {"check": self.check, "result": self.result.value, "text": self.text, "mend": self.mend}


class Look(NamedTuple):
    """How lines are drawn. `columns` of the terminal; None: a line a check, however long it is."""

    columns: int | None = None
    has_colours: bool = False
    is_ascii: bool = False


def ok(check: str, text: str, mend: str = "") -> Line:
    """Nothing stands in the way. `mend`: what would be better nevertheless."""
    return Line(check, Result.OK, text, mend)


def failed(check: str, text: str, mend: str, exit_code: int = ExitCode.CRASH) -> Line:
    """Something stands in the way."""
    return Line(check, Result.FAILED, text, mend, ExitCode(exit_code))


def skipped(check: str, text: str) -> Line:
    """The check was not made, and `text` says why."""
    return Line(check, Result.SKIPPED, text)


def exit_code(lines: Iterable[Line]) -> int:
    """The exit code of the first check that has failed."""
    return next((int(line.exit_code) for line in lines if line.result is Result.FAILED), int(ExitCode.OK))


def summary(lines: Iterable[Line]) -> str:
    """The last line for people."""
    names = [_name(line.check) for line in lines if line.result is Result.FAILED]
    return f"to mend: {', '.join(names)}" if names else "nothing stands in the way"


def drawn(line: Line, look: Look) -> str:
    """`line` for people, without a line end behind it."""
    text, mend = harmless(line.text), harmless(line.mend)
    arrow = "->" if look.is_ascii else MARKS[-1]
    begin = _head(line, look)
    if look.columns is None:
        return f"{begin}{text}{f' {arrow} {mend}' if mend else ''}"
    if look.columns >= LEAST_BESIDE:
        margin, lines = NAME_COLUMNS + 2, []
    else:
        margin, lines = _MARGIN, [begin.rstrip()]
    rows = _wrapped(text, look.columns, margin)
    rows += _wrapped(f"{arrow} {mend}", look.columns, margin, more=" " * (len(arrow) + 1)) if mend else []
    if not lines:
        rows[0] = begin + rows[0].lstrip()
    return "\n".join([*lines, *rows])


def _head(line: Line, look: Look) -> str:
    """The mark and the name of a check, as wide as those of all others."""
    place = list(Result).index(line.result)
    mark = (ASCII_MARKS if look.is_ascii else MARKS)[place]
    if look.has_colours:
        mark = f"{(_GREEN, _RED, _DIM)[place]}{mark}{_PLAIN}"
    return f"{mark} {_name(line.check):{NAME_COLUMNS}}"


def _name(check: str) -> str:
    return check.upper() if check in {"dns", "tls"} else check.replace("_", " ")


def _wrapped(text: str, columns: int, margin: int, *, more: str = "") -> list[str]:
    """`text` at words, below each other; `more` stands before all lines but the first one."""
    space = " " * margin
    rows = textwrap.wrap(
        glued(text),
        max(columns - 1, margin + 20),
        initial_indent=space,
        subsequent_indent=space + more,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [row.replace(GLUE, " ") for row in rows]
