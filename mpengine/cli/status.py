"""`mpengine status` shows the state of an engine on one screen, with `--watch` again and again."""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from mpengine.cli.options import add_target, seconds, target_of
from mpengine.cli.target import Target, read_status
from mpengine.cli.terminal import Screen
from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable, ExitCode
from mpengine.shared.standard_streams import write_bytes, write_text
from mpengine.shared.text import harmless

_UNKNOWN = messages.ChildMetrics()
# Longer times are shown in hours and minutes.
_LONG_S = 600.0
# A signal that comes just before a sleep begins is handled only after the sleep.
_LONGEST_SLEEP_S = 0.5
# Of `check`: a shorter trouble is none, and an exit code of its own.
_MINUTE_S = 60.0
_ABSENT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "query")
    parser.add_argument("--json", action="store_true", help="print JSON")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--check",
        action="store_true",
        help="for monitoring: print one line; exit with 0 (it runs), 1 (not so for more than a minute) or 2 (absent)",
    )
    how.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=seconds(0.1, 86400),
        const=1.0,
        help="repeat every SECONDS (default: 1), in place on a terminal; with --json: one JSON object per line",
    )


def main(arguments: argparse.Namespace) -> int:
    """See `status`."""
    if arguments.watch is not None:
        watch(target_of(arguments), interval_s=arguments.watch, as_json=arguments.json)
        return int(ExitCode.OK)
    if arguments.check:
        return check(target_of(arguments))
    return status(target_of(arguments), as_json=arguments.json)


def status(target: Target, *, as_json: bool) -> int:
    """Print the engine's status; returns 1 when the engine has failed and is about to end. Raises EngineUnreachable."""
    answer = target.ask(messages.StatusQuery())
    known = read_status(answer)
    if as_json:
        write_bytes(msgspec.json.format(answer, indent=2) + b"\n")
    else:
        write_text(table(known) + "\n")
    return int(ExitCode.CRASH if known.state == messages.EngineState.FAILED else ExitCode.OK)


def check(target: Target) -> int:
    """Print one line; returns 0 for an engine that runs, 1 if it has not run for more than a minute, 2 if it is absent.

    An engine that stops cleanly counts as one that runs.
    """
    try:
        known = read_status(target.ask(messages.StatusQuery()))
    except EngineUnreachable as error:
        write_text(f"absent ({harmless(str(error))})\n")
        return _ABSENT
    is_ill = known.state == messages.EngineState.FAILED or known.not_running_s > _MINUTE_S
    verb = "after" if known.state == messages.EngineState.RUNNING else "for"
    since = f" {verb} {_span(known.not_running_s)}" if known.not_running_s else ""
    write_text(f"{harmless(_state(known))}{since}\n")
    return int(ExitCode.CRASH if is_ill else ExitCode.OK)


def watch(target: Target, *, interval_s: float, as_json: bool) -> None:
    """Ask and show until Ctrl-C: in place on a terminal, otherwise one answer after the other.

    An engine that does not answer is asked again.
    """
    if as_json:
        for answer in _answers(target, interval_s):
            write_bytes(_line(answer))
    elif sys.stdout.isatty():
        with Screen() as screen:
            for answer in _answers(target, interval_s):
                screen.show(_text(answer).splitlines())
    else:
        separator = ""
        for answer in _answers(target, interval_s):
            write_text(f"{separator}{_text(answer)}\n")
            separator = "\n"


class _Answer(NamedTuple):
    body: bytes
    status: messages.StatusAnswer


def _answers(target: Target, interval_s: float) -> Iterator[_Answer | EngineUnreachable]:
    """The engine's answers, without end, or the reason why none came. Raises ConfigError."""
    while True:
        next_at = time.monotonic() + interval_s
        try:
            body = target.ask(messages.StatusQuery())
            answer: _Answer | EngineUnreachable = _Answer(body, read_status(body))
        except EngineUnreachable as error:
            answer = error
        yield answer
        while (rest_s := next_at - time.monotonic()) > 0:
            time.sleep(min(rest_s, _LONGEST_SLEEP_S))


def _text(answer: _Answer | EngineUnreachable) -> str:
    if isinstance(answer, EngineUnreachable):
        return f"{harmless(str(answer))}\nretrying"
    return table(answer.status)


def _line(answer: _Answer | EngineUnreachable) -> bytes:
    if isinstance(answer, EngineUnreachable):
        error = messages.Error(source="status", code=messages.ErrorCode.UNREACHABLE, message=str(answer))
        return messages.encode(error) + b"\n"
    return msgspec.json.format(answer.body, indent=-1) + b"\n"


def table(answer: messages.StatusAnswer) -> str:
    """`answer` as lines for a person."""
    rows = [
        ("engine", f"{answer.name} (pid {answer.pid}, {answer.mode} mode)"),
        ("state", _state(answer)),
        ("device", answer.device or "-"),
        ("level", _level(answer.level)),
        ("recogniser", f"{answer.endpoint or '-'} (connection {answer.connection})"),
        ("results", answer.publish),
    ]
    metrics = answer.metrics
    if metrics is not None:
        rows += [
            ("uptime", _clock(metrics.uptime_s)),
            ("audio", _audio(metrics)),
            ("waiting", _waiting(metrics, answer.unacknowledged_s)),
            ("trouble", _trouble(metrics)),
        ]
    lines = [f"{label:11} {text}" for label, text in rows]
    lines += ["", f"{'PROCESS':11} {'STATE':9} {'PID':>7} {'RESTARTS':>8} {'UP':>12} {'CPU_S':>8} {'RSS_MB':>7}"]
    for name, child in answer.children.items():
        usage = metrics.children.get(name, _UNKNOWN) if metrics else _UNKNOWN
        up = "-" if child.up_s is None else _clock(child.up_s)
        lines.append(
            f"{name:11} {child.state:9} {child.pid or '-':>7} {child.restarts:8} {up:>12} "
            f"{_figure(usage.cpu_s):>8} {_figure(usage.rss_mb):>7}"
        )
    causes = _causes(answer)
    if causes:
        lines += ["", f"{'TROUBLE':11} {'AGO':12} WHY"]
        lines += [f"{name:11} {ago:12} {text}" for name, ago, text in causes]
    return "\n".join(harmless(line) for line in lines)


def _causes(answer: messages.StatusAnswer) -> list[tuple[str, str, str]]:
    """The troubles of now and the last ones before: each as its process, how long ago, and the reason."""
    causes = []
    for name, child in answer.children.items():
        if child.reason and child.reason != child.last_end:
            causes.append((name, "now", _reason(child)))
        if child.last_end:
            text = _reason(child) if child.reason == child.last_end else child.last_end
            causes.append((name, _ago(child.last_end_ago_s), text))
    if answer.last_disconnect:
        causes.append(("connection", _ago(answer.last_disconnect_ago_s), answer.last_disconnect))
    return causes


def _state(answer: messages.StatusAnswer) -> str:
    remarks = [answer.reason] if answer.reason else []
    if answer.paused and answer.reason != "paused":
        remarks.insert(0, "paused")
    return f"{answer.state} ({'; '.join(remarks)})" if remarks else answer.state


def _level(level: messages.Level | None) -> str:
    if level is None:
        return "-"
    if level.digital_silence:
        return "digital silence"
    return f"{level.rms_dbfs:.1f} dBFS (peak {level.peak_dbfs:.1f} dBFS)"


def _audio(metrics: messages.Metrics) -> str:
    return (
        f"captured {_span(metrics.captured_s)}, sent {_span(metrics.sent_s)}, "
        f"transcribed {_span(metrics.transcribed_s)}, acknowledged {_span(metrics.acknowledged_s)}"
    )


def _waiting(metrics: messages.Metrics, unacknowledged_s: float) -> str:
    backlog = f"backlog {_span(metrics.backlog_s)}"
    if metrics.backlog_s and metrics.catch_up_s is not None:
        backlog += f" (caught up in {_span(metrics.catch_up_s)})"
    return f"{backlog}, lag {_span(metrics.lag_s)}, unacknowledged {_span(unacknowledged_s)}"


def _trouble(metrics: messages.Metrics) -> str:
    return (
        f"{_count(metrics.reconnects, 'reconnect')}, {_count(metrics.restarts, 'restart')}, "
        f"lost {_span(metrics.dropped_s)}, replayed {_span(metrics.replayed_s)}"
    )


def _reason(child: messages.ChildStatus) -> str:
    if child.next_try_in_s is None:
        return child.reason
    return f"{child.reason} (next try in {child.next_try_in_s:.1f} s)"


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else _span(seconds)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _LONG_S else _clock(seconds)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02}:{minutes:02}:{rest:02}" if days else f"{hours:02}:{minutes:02}:{rest:02}"
