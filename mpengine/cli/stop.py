"""`mpengine stop` asks an engine to stop and waits for its end, so that another one can start right after it."""

import argparse
import contextlib
import os
import select
import sys
import time
from typing import Self

from mpengine.cli.options import add_target, seconds, target_of
from mpengine.cli.target import Target, read_status
from mpengine.client.subscriber import Subscriber
from mpengine.shared import messages
from mpengine.shared.errors import EngineUnreachable, ExitCode, MpengineError
from mpengine.shared.messages import Status
from mpengine.shared.standard_streams import write_lines
from mpengine.shared.text import harmless

_LOOK_S = 0.1
# A busy engine takes its time to confirm a subscription. An engine whose bus.publish is out of reach never does.
_LIVE_LIMIT_S = 5.0
# The last status may still be on its way when the process has ended. Only an engine that was killed has none.
_LAST_STATUS_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "query", "command")
    parser.add_argument(
        "--timeout",
        type=seconds(0, 86400),
        default=40.0,
        metavar="SECONDS",
        help="how long to wait for the end (default: 40)",
    )


def main(arguments: argparse.Namespace) -> int:
    """See `stop`."""
    return stop(target_of(arguments), timeout_s=arguments.timeout)


def stop(target: Target, *, timeout_s: float) -> int:
    """Stop the engine and print how it ended. Returns 0 after a clean stop, 1 after a failure or an unknown end.

    The process of an engine on this machine is gone then. Raises EngineUnreachable when there is no engine,
    MpengineError when the engine has not ended within `timeout_s`.
    """
    give_up = time.monotonic() + timeout_s
    before = read_status(target.ask(messages.StatusQuery()))
    with target.as_said(before).subscriber("status") as subscriber, _Process(before.pid) as process:
        # The command goes out only when the engine's last status is sure to come here.
        is_heard = subscriber.wait_live(min(_LIVE_LIMIT_S, timeout_s))
        try:
            target.tell(messages.Stop())
        except EngineUnreachable:
            if not (target.is_here and process.has_ended()):  # another program has stopped it meanwhile
                raise
        last, has_ended = None, False
        while not has_ended:
            if time.monotonic() > give_up:
                raise MpengineError(f'"{target.name}" (pid {before.pid}) has not stopped within {timeout_s:g} s')
            last = _last_status(subscriber, _LOOK_S) or last
            has_ended = process.has_ended() if target.is_here else bool(last) or not target.answers()
        return _report(last or _last_status(subscriber, _LAST_STATUS_S), is_heard=is_heard)


def _last_status(subscriber: Subscriber, timeout_s: float) -> Status | None:
    """The status with which an engine ends; None after a silence of `timeout_s`."""
    while message := subscriber.receive(timeout_s):
        if isinstance(message, Status) and message.state in messages.OVER:
            return message
    return None


def _report(last: Status | None, *, is_heard: bool) -> int:
    """Print how the engine ended; returns the exit code. `is_heard`: whether a last status would have come here."""
    match last:
        case None if is_heard:
            write_lines("ended without a last status: it was killed or has crashed")
        case None:
            write_lines("ended; nobody knows how, because nothing came from its bus.publish endpoint")
        case Status(state=messages.EngineState.FAILED, reason=reason):
            write_lines(f"failed: {harmless(reason)}")
        case Status(unacknowledged_s=rest_s):
            write_lines(f"stopped; {rest_s:.1f} s of audio without a result" if rest_s >= 0.05 else "stopped")
            return int(ExitCode.OK)
    return int(ExitCode.CRASH)


class _Process:
    """A process of this machine, also one that is no child of ours.

    A pidfd cannot come to mean another process, and reports the end before the parent has collected the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # the process is gone already, or the kernel is older than 5.3
                self._fd = os.pidfd_open(pid)

    def has_ended(self) -> bool:
        if self._fd >= 0:
            return bool(select.select([self._fd], [], [], 0)[0])
        try:
            os.kill(self._pid, 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
