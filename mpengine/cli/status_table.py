"""The screen of `mpengine status`."""

from rich.console import Group, RenderableType
from rich.text import Text

from mpengine.cli import status_words as words
from mpengine.cli.terminal.drawing import Head, Output, bar, facts, level_bar, lines, state, table
from mpengine.shared import messages
from mpengine.shared.text import glued, harmless

_UNKNOWN = messages.ChildMetrics()
_LABEL = 11
# The columns of a bar, and those of a terminal where it has half of them.
_BAR, _NARROW = 20, 70
_PROCESSES = (
    Head("PROCESS", _LABEL),
    Head("STATE", 9),
    Head("PID", 7, is_right=True),
    Head("RESTARTS", 8, is_right=True),
    Head("UP", 12, is_right=True),
    Head("CPU_S", 8, is_right=True),
    Head("RSS_MB", 7, is_right=True),
)
_TROUBLES = (Head("TROUBLE", _LABEL), Head("AGO", 12), Head("WHY"))


def drawn(answer: messages.StatusAnswer, to: Output, *, has_bars: bool = False) -> list[str]:
    """`answer` as lines for a person. `has_bars`: for the level, and for what waits in the window."""
    bars = _Bars(to) if has_bars else None
    metrics = answer.metrics
    rows: list[tuple[str, str | Text]] = [
        ("engine", f"{answer.name} (pid {answer.pid}, {answer.mode} mode)"),
        ("state", state(answer.state, words.remarks(answer.reason, paused=answer.paused))),
        ("device", answer.device or "-"),
        ("level", _beside(bars.level(answer.level) if bars else None, words.level(answer.level))),
        ("recogniser", f"{answer.endpoint or '-'} (connection {answer.connection})"),
        ("results", answer.publish),
    ]
    if metrics is not None:
        waits = words.waiting(metrics, answer.unacknowledged_s)
        window = bars.window(answer.unacknowledged_s, answer.buffer_s) if bars else None
        rows += [
            ("uptime", words.clock(metrics.uptime_s)),
            ("audio", words.audio(metrics)),
            ("waiting", _beside(window, waits)),
            ("trouble", words.trouble(metrics)),
        ]
    processes = [_process(name, child, metrics) for name, child in answer.children.items()]
    parts: list[RenderableType] = [facts(rows, _LABEL), "", table(_PROCESSES, processes, to)]
    causes = words.causes(answer)
    if causes:
        parts += ["", table(_TROUBLES, causes, to)]
    return lines(Group(*parts), to)


def _process(name: str, child: messages.ChildAnswer, metrics: messages.Metrics | None) -> list[str | Text]:
    usage = metrics.children.get(name, _UNKNOWN) if metrics else _UNKNOWN
    return [
        name,
        state(child.state.lower()),  # on the wire it is in capitals
        str(child.pid or "-"),
        str(child.restarts),
        "-" if child.up_s is None else words.clock(child.up_s),
        words.figure(usage.cpu_s),
        words.figure(usage.rss_mb),
    ]


class _Bars:
    def __init__(self, to: Output) -> None:
        self._to = to
        self._length = _BAR if to.columns is None or to.columns >= _NARROW else _BAR // 2

    def level(self, heard: messages.Level | None) -> Text:
        """The RMS, and a mark at the peak."""
        if heard is None:
            return bar(0.0, self._length, self._to)
        return level_bar(heard.rms_dbfs, heard.peak_dbfs, self._length, self._to)

    def window(self, unacknowledged_s: float, buffer_s: float) -> Text | None:
        """How full the window is; None for an engine that does not tell how long it is."""
        if not buffer_s:
            return None
        share = unacknowledged_s / buffer_s
        return bar(share, self._length, self._to, style="green" if share < 0.5 else "yellow" if share < 0.9 else "red")


def _beside(drawn_bar: Text | None, text: str) -> str | Text:
    return text if drawn_bar is None else drawn_bar.append(f" {glued(harmless(text))}")
