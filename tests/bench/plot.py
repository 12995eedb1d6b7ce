"""Figures drawn as SVG: delays, costs, the backlog over an outage. matplotlib draws; this says what."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from tests.bench.figures import SUBJECTS, Figure, Figures

COLOURS = {"engine": "#2166ac", "baseline": "#b2182b", "floor": "#888888"}
COSTS = (("cpu", "whole tree", "% of a core"), ("memory", "PSS", "MB"), ("cpu", "context switches", "per second"))


def draw(content: dict[str, Any], path: Path) -> list[Path]:
    """Draw what a run has measured; returns the files. To a FILE.svg goes the first drawing there is something for,
    or the one of that name; anything else is a directory for all of them.
    """
    figures, samples = Figures(Figure(**each) for each in content["figures"]), content["samples"]
    drawings: dict[str, Callable[[Any], None]] = {}
    if figures.get("cpu", "whole tree") or figures.get("memory", "PSS"):
        drawings["costs"] = lambda _: _costs(figures)
    if "delay_ms" in samples:
        drawings["delay"] = lambda axes: _delays(axes, samples["delay_ms"])
    if "outage" in samples:
        drawings["outage"] = lambda axes: _outage(axes, samples["outage"])
    if path.suffix == ".svg":
        names = [path.stem] if path.stem in drawings else list(drawings)[:1]
        files = dict.fromkeys(names, path)
    else:
        files = {name: path / f"{name}.svg" for name in drawings}
    for name, file in files.items():
        _save(drawings[name], file)
    return list(files.values())


def _save(drawing: Callable[[Any], None], file: Path) -> None:
    # Text as text, and the same bytes for the same figures.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mpengine", "font.size": 10}):
        figure, axes = plt.subplots(figsize=(7.5, 3.2))
        drawing(axes)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.tight_layout()
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _costs(figures: Figures) -> None:
    shown = [(part, name, unit) for part, name, unit in COSTS if figures.get(part, name)]
    figure = plt.gcf()
    figure.clear()
    for place, (part, name, unit) in enumerate(shown, start=1):
        axes: Any = figure.add_subplot(1, len(shown), place)
        measured = [each for subject in SUBJECTS if (each := figures.get(part, name, subject))]
        medians = [each.median for each in measured]
        spread = [
            [each.median - min(each.values) for each in measured],
            [max(each.values) - each.median for each in measured],
        ]
        colours = [COLOURS[each.subject] for each in measured]
        bars = axes.bar([each.subject for each in measured], medians, yerr=spread, capsize=4, color=colours)
        axes.bar_label(bars, fmt="%.3g", padding=3)
        axes.set_title(name if part == "cpu" and name != "whole tree" else {"cpu": "CPU", "memory": name}[part])
        axes.set_ylabel(unit)
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)


def _delays(axes: Any, delays_ms: dict[str, list[float]]) -> None:
    for subject, delays in delays_ms.items():
        ordered = sorted(delays)
        shares = [100 * (at + 1) / len(ordered) for at in range(len(ordered))]
        axes.step(ordered, shares, where="post", color=COLOURS[subject], label=subject)
    axes.axvline(0, color=COLOURS["floor"], linewidth=1, label="floor")
    axes.set_xlabel("ms later at the server than the floor's audio")
    axes.set_ylabel("% of the clicks")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


def _outage(axes: Any, outage: dict[str, Any]) -> None:
    seconds, backlog_s = zip(*outage["points"], strict=True)
    axes.axvspan(0, outage["outage_s"], color="#eeeeee", label="no recogniser")
    axes.plot(seconds, backlog_s, color=COLOURS["engine"], label="waiting audio")
    axes.set_xlabel("s since the connection was lost")
    axes.set_ylabel("s of audio")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
