"""The look of the commands: tables, facts, states and bars, drawn by rich. Only commands that draw import this module.

On a terminal what does not fit is wrapped, not cut, and NO_COLOR and TERM=dumb are obeyed. In a pipe there are no
colours, and each row is one line, however long. Texts from outside become harmless here.
"""

import io
import sys
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from mpengine.cli.terminal.bar_letters import ASCII, BLOCKS
from mpengine.shared.standard_streams import can_show, terminal_size
from mpengine.shared.text import GLUE, glued, harmless

# What rich takes for a width where there is none.
_ENDLESS = 100_000
_GOOD, _PENDING, _TROUBLE, _BAD, _OFF = "green", "cyan", "yellow", "bold red", "dim"
_STATES = {
    "running": _GOOD,
    "starting": _PENDING,
    "connecting": _PENDING,
    "stopping": _PENDING,
    "degraded": _TROUBLE,
    "backoff": _TROUBLE,
    "silent": _TROUBLE,
    "failed": _BAD,
    "fatal": _BAD,
    "killed": _BAD,
    "stopped": _OFF,
    "free": _GOOD,
    "busy": _TROUBLE,
    "no permission": _BAD,
}
_INDENT = 4
# The last column of a table has at least so many columns, or the cells of each row stand below the first.
_ROOM = 20
# Where a bar of a level begins, what is too loud, and how many columns the bar has.
_LOWEST_DBFS, _LOUD_DBFS = -60.0, -1.0
_LEAST_COLUMNS, _MOST_COLUMNS = 10, 40


class Output(NamedTuple):
    """Where something is drawn. `columns`: of the terminal; None in a pipe. `blocks`: whether it has block letters."""

    columns: int | None = None
    blocks: bool = False


def standard_output() -> Output:
    """Standard output as it is now: the width of a terminal changes."""
    if not sys.stdout.isatty():
        return Output()
    # The last column stays free: a terminal that has filled it behaves in its own way.
    return Output(max(1, terminal_size().columns - 1), can_show("".join(BLOCKS), sys.stdout))


def lines(drawn: RenderableType, to: Output) -> list[str]:
    """`drawn` as lines, with colours where `to` has them."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=to.columns or _ENDLESS,
        height=1,
        force_terminal=to.columns is not None,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(drawn)
    return [line.replace(GLUE, " ").rstrip() for line in text.getvalue().rstrip("\n").split("\n")]


def state(word: str, rest: str = "") -> Text:
    """A state in its colour, and behind it the `rest` of the text."""
    return Text().append(harmless(word), _STATES.get(word)).append(harmless(rest))


def facts(rows: Sequence[tuple[str, str | Text]], label_columns: int) -> Table:
    """A row for each fact: its label, and its text beside it, wrapped."""
    grid = Table.grid(
        Column(min_width=label_columns, no_wrap=True, style="dim"), Column(overflow="fold"), padding=(0, 1, 0, 0)
    )
    for name, text in rows:
        grid.add_row(name, _text(text))
    return grid


class Head(NamedTuple):
    """The head of a column. `least`: its width, unless a cell is wider."""

    word: str
    least: int = 0
    is_right: bool = False


def table(heads: Sequence[Head], rows: Sequence[Sequence[str | Text]], to: Output, *, gap: int = 1) -> RenderableType:
    """A table whose last column is wrapped. Where it is too wide, the first cell of each row has a line of its own."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max([head.least, len(head.word), *(row[at].cell_len for row in cells)]) for at, head in enumerate(heads)]
    is_last_right = heads[-1].is_right
    needed = sum(widths if is_last_right else widths[:-1]) + gap * (len(heads) - 1)
    room = 0 if is_last_right else min(widths[-1], _ROOM)
    if to.columns is not None and needed + room > to.columns:
        return Group(*(part for row in cells for part in _block(heads, row)))
    # Gaps are columns, because versions of rich differ in what padding does to the least width.
    drawn = Table(box=None, padding=0, header_style="bold")
    for at, head in enumerate(heads):
        if at:
            drawn.add_column(width=gap)
        drawn.add_column(
            head.word,
            min_width=head.least or None,
            justify="right" if head.is_right else "left",
            no_wrap=at < len(heads) - 1,
            overflow="fold",
        )
    for first, *others in cells:
        drawn.add_row(first, *(part for cell in others for part in ("", cell)))
    return drawn


def _block(heads: Sequence[Head], row: Sequence[Text]) -> list[RenderableType]:
    first, *others = row
    text = Text()
    for head, cell in zip(heads[1:], others, strict=True):
        if cell.plain:
            text.append(", " if text.plain else "").append(f"{head.word.lower()}{GLUE}", "dim").append_text(cell)
    return [first, Padding(text, (0, 0, 0, _INDENT))]


def bar(share: float, length: int, to: Output, *, style: str = _GOOD, mark: float | None = None) -> Text:
    """A bar of so many columns of which a `share`, 0 to 1, is full; with a mark at another share above 0."""
    full, empty, line = BLOCKS if to.blocks else ASCII
    filled = _cell(share, length)
    drawn = Text().append(full * filled, style).append(empty * (length - filled), "dim")
    place = 0 if mark is None else _cell(mark, length)
    return drawn[: place - 1].append(line, style).append_text(drawn[place:]) if place else drawn


def level_columns(room: int) -> int:
    """How long to draw the bar of a level where there is `room` for so many columns. It is never very short."""
    return max(_LEAST_COLUMNS, min(_MOST_COLUMNS, room))


def level_bar(rms_dbfs: float, peak_dbfs: float, length: int, to: Output) -> Text:
    """A bar for the RMS, with a mark at the peak; red where samples come near to full scale."""
    rms, peak = (1 - dbfs / _LOWEST_DBFS for dbfs in (rms_dbfs, peak_dbfs))
    return bar(rms, length, to, style="red" if peak_dbfs > _LOUD_DBFS else _GOOD, mark=peak)


def _cell(share: float, length: int) -> int:
    return max(0, min(length, round(share * length)))


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(glued(harmless(cell)))
