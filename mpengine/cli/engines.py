"""`mpengine list` shows the engines of this user: those that run, and what killed ones have left."""

import argparse
import enum
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from mpengine.cli.options import target_named
from mpengine.cli.status_words import remarks
from mpengine.cli.target import read_status
from mpengine.client.finding import is_running
from mpengine.shared import messages, runtime, whereabouts
from mpengine.shared.config_tables import NAME
from mpengine.shared.errors import EngineUnreachable, ExitCode
from mpengine.shared.messages import StatusAnswer
from mpengine.shared.standard_streams import complain, write_text

if TYPE_CHECKING:
    from rich.text import Text

_ANSWER_LIMIT_S = 1.0


class Left(enum.StrEnum):
    """What there is of an engine that gives no status."""

    SILENT = "silent"  # its process lives, and does not answer
    KILLED = "killed"  # it was killed; its next start goes on with what it left
    STOPPED = "stopped"  # it has ended before its run was over; its next start goes on with that


_MEANING = {
    Left.SILENT: "it does not answer",
    Left.KILLED: "it was killed; its next start goes on with what it left",
    Left.STOPPED: "its run is not over; its next start goes on with it",
}


class Listed(NamedTuple):
    """An engine of this user: `status` if it answers, otherwise what is `left` of it."""

    name: str
    directory: str
    pid: int | None
    status: StatusAnswer | None = None
    left: Left | None = None

    @property
    def state(self) -> str:
        """In a word."""
        return self.status.state if self.status is not None else str(self.left)

    @property
    def remarks(self) -> str:
        """What is to be said about its state; or nothing."""
        if self.status is not None:
            return remarks(self.status.reason, paused=self.status.paused)
        return f" ({_MEANING[self.left]})" if self.left is not None else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(arguments: argparse.Namespace) -> int:
    """Print the engines. Returns 0, also where there is none."""
    found = engines()
    if arguments.json:
        write_text(json.dumps([_entry(engine) for engine in found], indent=2) + "\n")
    elif found:
        from mpengine.cli.terminal.drawing import Head, lines, standard_output, state, table  # noqa: PLC0415

        to = standard_output()
        heads = [Head("NAME"), Head("STATE"), Head("PID", is_right=True), Head("DEVICE"), Head("RECOGNISER")]
        rows: list[list[str | Text]] = []
        for engine in found:
            known = engine.status
            device, recogniser = (known.device or "-", _recogniser(known)) if known is not None else ("-", "-")
            rows.append([engine.name, state(engine.state, engine.remarks), str(engine.pid or "-"), device, recogniser])
        write_text("\n".join([*lines(table(heads, rows, to, gap=2), to), ""]))
    else:
        complain("no engine of this user is running; start one with: mpengine run")
    return int(ExitCode.OK)


def engines() -> list[Listed]:
    """The engines of this user, by name. Raises RuntimeDirError where no runtime directory can be."""
    looked = (_look(name, runtime.runtime_path(name)) for name in runtime.names() if NAME.fullmatch(name))
    return [engine for engine in looked if engine is not None]


def _look(name: str, directory: str) -> Listed | None:
    """The engine in `directory`; None if it has stopped and left nothing."""
    said = whereabouts.read(directory)
    if is_running(name):
        pid = said.pid if said is not None else None
        try:
            status = read_status(target_named(name).ask(messages.StatusQuery(), timeout_s=_ANSWER_LIMIT_S))
        except EngineUnreachable:
            return Listed(name, directory, pid, left=Left.SILENT)
        return Listed(name, directory, status.pid or pid, status)
    if said is not None:
        return Listed(name, directory, None, left=Left.KILLED)
    if os.path.exists(runtime.journal_path(directory)):
        return Listed(name, directory, None, left=Left.STOPPED)
    return None


def _recogniser(status: StatusAnswer) -> str:
    return f"{status.endpoint} ({status.mode})" if status.endpoint else status.mode or "-"


def _entry(engine: Listed) -> dict[str, Any]:
    """For programs. None stands for what does not apply or is not known."""
    status = engine.status
    return {
        "name": engine.name,
        "state": engine.state,
        "reason": None if status is None else status.reason,
        "paused": None if status is None else status.paused,
        "pid": engine.pid,
        "mode": None if status is None else status.mode,
        "device": None if status is None else status.device,
        "recogniser": None if status is None else status.endpoint,
        "unacknowledged_s": None if status is None else status.unacknowledged_s,
        "publish": None if status is None else status.publish,
        "query": None if status is None else status.query,
        "command": None if status is None else status.command,
        "directory": engine.directory,
    }
