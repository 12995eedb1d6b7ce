"""`mpengine status`: how an engine is, on one screen."""

import msgspec

from mpengine.shared import messages
from mpengine.shared.errors import ExitCode
from mpengine.subscriber import ask

_UNKNOWN = messages.ChildMetrics()


def status(name: str, query: str | None, *, as_json: bool) -> int:
    """Print the engine's status; 0 when it is not failed."""
    answer = ask(messages.StatusQuery(), name=name, query=query)
    if as_json:
        print(msgspec.json.format(answer, indent=2).decode())
        return int(ExitCode.OK)
    print(table(msgspec.json.decode(answer, type=messages.StatusAnswer)))
    return int(ExitCode.OK)


def table(answer: messages.StatusAnswer) -> str:
    """`answer` for a person."""
    state = f"{answer.state} ({answer.reason})" if answer.reason else answer.state
    rows = [
        ("engine", f"{answer.name} (pid {answer.pid}, {answer.mode} mode)"),
        ("state", state),
        ("device", answer.device or "-"),
        ("recogniser", f"{answer.endpoint or '-'} (connection {answer.connection})"),
        ("results", answer.publish),
    ]
    metrics = answer.metrics
    if metrics is not None:
        audio = (
            f"captured {metrics.captured_s:.1f} s, sent {metrics.sent_s:.1f} s, "
            f"transcribed {metrics.transcribed_s:.1f} s, acknowledged {metrics.acknowledged_s:.1f} s"
        )
        trouble = (
            f"{metrics.reconnects} reconnects, {metrics.restarts} restarts, "
            f"lost {metrics.dropped_s:.1f} s, replayed {metrics.replayed_s:.1f} s"
        )
        rows += [
            ("uptime", _duration(metrics.uptime_s)),
            ("audio", audio),
            ("waiting", f"backlog {metrics.backlog_s:.1f} s, lag {metrics.lag_s:.1f} s"),
            ("trouble", trouble),
        ]
    lines = [f"{label:11} {text}" for label, text in rows]
    lines += ["", f"{'PROCESS':11} {'STATE':9} {'PID':>7} {'RESTARTS':>8} {'CPU_S':>8} {'RSS_MB':>7}  REASON"]
    for name, child in answer.children.items():
        usage = metrics.children.get(name, _UNKNOWN) if metrics else _UNKNOWN
        lines.append(
            f"{name:11} {child.state:9} {child.pid or '-':>7} {child.restarts:8} {_figure(usage.cpu_s):>8} "
            f"{_figure(usage.rss_mb):>7}  {_reason(child)}".rstrip()
        )
    return "\n".join(lines)


def _reason(child: messages.ChildStatus) -> str:
    if child.next_try_in_s is None:
        return child.reason
    return f"{child.reason} (next try in {child.next_try_in_s:.1f} s)"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02}:{minutes:02}:{rest:02}" if days else f"{hours:02}:{minutes:02}:{rest:02}"
