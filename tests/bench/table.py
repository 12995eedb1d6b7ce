"""The figures as a table for people. Pure."""

from collections.abc import Sequence

from tests.bench.figures import ENGINE, SUBJECTS, Figures
from tests.bench.targets import Target, targets_of

HEAD = ("", *SUBJECTS, "ratio", "target", "")


def table(figures: Figures, notes: Sequence[str] = ()) -> str:
    """Medians over the rounds, the ratio of engine to baseline, targets and whether they were reached; beside each
    median of several rounds the least and the greatest value. Below a figure stand the engine's variants, each with its
    ratio to the engine as it is.
    """
    lines: list[tuple[str, ...]] = []
    parts: list[str] = []
    for part, name, unit in figures.rows():
        if part not in parts:
            parts.append(part)
            lines += [("",), (part.upper(),)]
        lines += _rows(figures, part, name, unit)
    widths = [max(len(row[column]) for row in [HEAD, *lines] if len(row) > 1) for column in range(len(HEAD))]
    shown = [_line(row, widths) for row in [HEAD, *lines]]
    return "\n".join([*shown, *(f"\n* {note}" for note in notes)])


def _rows(figures: Figures, part: str, name: str, unit: str) -> list[tuple[str, ...]]:
    found = [figures.get(part, name, subject) for subject in SUBJECTS]
    if not any(found):  # of the machine, say
        return [
            (f"{name} {unit}".rstrip(), number(each["values"]), "", "", "", "", "")
            for each in figures.plain()
            if (each["part"], each["name"]) == (part, name)
        ]
    ratio = figures.ratio(part, name)
    cells = [number(each.values) if each else "" for each in found]
    ratio_text = "" if ratio is None or part == "delay" else f"{ratio:.2f}"
    targets = targets_of(part, name)
    rows = [(f"{name}, {unit}".rstrip(", "), *cells, ratio_text, *_verdict(targets[:1], figures))]
    rows += [("", "", "", "", "", *_verdict([other], figures)) for other in targets[1:]]
    return rows + _variants(figures, part, name)


def _variants(figures: Figures, part: str, name: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for each in figures.plain():
        ratio = figures.ratio(part, name, of=each["subject"], to=ENGINE)
        if (each["part"], each["name"]) == (part, name) and each["subject"] not in SUBJECTS and ratio is not None:
            rows.append((f"  {each['subject']}", number(each["values"]), "", "", f"{ratio:.2f}", "", ""))
    return rows


def _verdict(target: Sequence[Target], figures: Figures) -> tuple[str, str]:
    return (target[0].text(), target[0].mark(figures)) if target else ("", "")


def number(values: Sequence[float]) -> str:
    """The median, and the range it comes from."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2
    if ordered[0] == ordered[-1]:
        return digits(middle)
    return f"{digits(middle)} [{digits(ordered[0])} {digits(ordered[-1])}]"


def digits(value: float) -> str:
    """Three that count; whole numbers as they are."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    if len(row) == 1:
        return row[0]
    left = (0, 5, 6)  # words; figures stand under each other's end
    cells = zip(row, widths, strict=True)
    return "  ".join(c.ljust(w) if at in left else c.rjust(w) for at, (c, w) in enumerate(cells)).rstrip()
