"""`mpengine status` shows the state of an engine on one screen, with `--watch` again and again."""

import argparse
import functools
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from mpengine.cli import status_words as words
from mpengine.cli.options import add_target, seconds, target_of
from mpengine.cli.target import Target, read_status
from mpengine.cli.terminal.in_place import Screen
from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable, ExitCode
from mpengine.shared.standard_streams import write_bytes, write_text
from mpengine.shared.text import harmless

# A signal that comes just before a sleep begins is handled only after the sleep.
_LONGEST_SLEEP_S = 0.5
# For `check`: a shorter trouble does not count.
_MINUTE_S = 60.0
_ABSENT = 2  # the exit code of `check` where no engine answers


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
        from mpengine.cli.status_table import drawn  # noqa: PLC0415
        from mpengine.cli.terminal.drawing import standard_output  # noqa: PLC0415  programs load nothing that draws

        write_text("\n".join([*drawn(known, standard_output()), ""]))
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
    since = f" {verb} {words.span(known.not_running_s)}" if known.not_running_s else ""
    remarks = words.remarks(known.reason, paused=known.paused)
    write_text(f"{harmless(known.state + remarks)}{since}\n")
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
                screen.show(functools.partial(_shown, answer))
    else:
        separator: list[str] = []
        for answer in _answers(target, interval_s):
            write_text("\n".join([*separator, *_shown(answer), ""]))
            separator = [""]


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


def _shown(answer: _Answer | EngineUnreachable) -> list[str]:
    """The lines for standard output as it is now."""
    from mpengine.cli.status_table import drawn  # noqa: PLC0415
    from mpengine.cli.terminal.drawing import lines, standard_output  # noqa: PLC0415  programs load nothing that draws

    to = standard_output()
    if isinstance(answer, EngineUnreachable):
        return lines(f"{harmless(str(answer))}\nretrying", to)
    return drawn(answer.status, to, has_bars=to.columns is not None)


def _line(answer: _Answer | EngineUnreachable) -> bytes:
    if isinstance(answer, EngineUnreachable):
        error = messages.Error(source="status", code=messages.ErrorCode.UNREACHABLE, message=str(answer))
        return messages.encode(error) + b"\n"
    return msgspec.json.format(answer.body, indent=-1) + b"\n"
