"""`mpengine listen`: what an engine hears, as captions, subtitles, or every message as JSON."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Literal, NamedTuple

from mpengine.cli.formats.captions import Captions, Look
from mpengine.cli.formats.cues import Cues
from mpengine.cli.formats.jsonl import end_of_lines, inert, line
from mpengine.cli.formats.output_file import OutputFile
from mpengine.cli.formats.positions import NOW, START, Position, end_of_text
from mpengine.cli.formats.subtitles import Subtitles
from mpengine.cli.target import Target
from mpengine.cli.terminal import Live
from mpengine.client.follow import Since
from mpengine.client.position import Hole
from mpengine.shared import messages
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Published
from mpengine.shared.standard_streams import write_bytes, write_text

Format = Literal["text", "jsonl", "srt", "vtt"]

# An engine that lives says something every second to who subscribes to everything, as we do (its metrics).
_SILENCE_S = 5.0
# A signal that comes when a wait is about to begin is seen only when it is over.
_LONGEST_WAIT_S = 0.5
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".srt": "srt", ".vtt": "vtt"}

# Takes a message: its topic, its JSON, and what that means.
Show = Callable[[str, bytes, Published | Hole | None], None]


class Wish(NamedTuple):
    """What is to be shown, and where. `output_format` is else known from the name of `output`."""

    output_format: Format | None = None
    output: str | None = None
    append: bool = False
    force: bool = False
    finals_only: bool = False
    with_names: bool = False
    clock: Literal["run", "utc", "both"] | None = None
    offset_s: float = 0.0
    since: Since | Literal["now"] = None
    exit_on_stop: bool = False

    @property
    def format(self) -> Format:
        """How it is written."""
        return self.output_format or _FORMATS.get(os.path.splitext(self.output or "")[1].lower(), "text")


def listen(target: Target, wish: Wish) -> int:
    """Show results until Ctrl-C. With `exit_on_stop` until the engine's end: 0 if it stopped, 1 if it failed or died.

    An engine that was not heard yet may still be started.
    """
    was_heard = False
    with ExitStack() as stack:
        show, position = begin(wish, stack)
        subscriber = stack.enter_context(target.subscriber(since=position.since))
        silent_since = time.monotonic()
        while True:
            received = subscriber.receive_any(_LONGEST_WAIT_S)
            now = time.monotonic()
            if received is None:
                if wish.exit_on_stop and was_heard and now - silent_since >= _SILENCE_S:
                    if not target.answers():
                        return int(ExitCode.CRASH)
                    silent_since = time.monotonic()
                continue
            was_heard, silent_since = True, now
            message = received.message
            if not position.holds(message):
                show(received.topic, received.body, message)
            if wish.exit_on_stop and isinstance(message, messages.Status) and message.state in messages.OVER:
                return int(ExitCode.OK if message.state == messages.EngineState.STOPPED else ExitCode.CRASH)


def begin(wish: Wish, stack: ExitStack) -> tuple[Show, Position]:
    """How to show messages, and from where on."""
    show, position = _to_standard_output(wish, stack) if wish.output is None else _to_file(wish, wish.output, stack)
    match wish.since:
        case None:
            return show, position
        case "now":
            return show, NOW
    return show, Position(wish.since)


def _to_file(wish: Wish, path: str, stack: ExitStack) -> tuple[Show, Position]:
    """Behind what the file holds, whose torn end is mended first."""
    file = stack.enter_context(closing(OutputFile(path, append=wish.append, force=wish.force)))
    match wish.format:
        case "jsonl":
            show, ending = _lines(wish, file.write), end_of_lines(file.read_back())
        case "text":
            show, ending = _captions(wish, file.write), end_of_text(next(file.read_back(), b""))
        case _:
            subtitles = _subtitles(wish)
            show, ending = _cues_in(file, subtitles), subtitles.go_on(file.read())
    file.cut_last(ending.torn_bytes)
    file.write(ending.mend)
    return show, ending.position


def _to_standard_output(wish: Wish, stack: ExitStack) -> tuple[Show, Position]:
    is_terminal = sys.stdout.isatty()
    match wish.format:
        case "jsonl":
            return _lines(wish, (lambda lines: write_bytes(inert(lines))) if is_terminal else write_bytes), NOW
        case "text":
            is_live = is_terminal and os.environ.get("TERM") != "dumb"
            captions = Captions(Look(is_live, not wish.finals_only, wish.with_names, wish.clock))
            if not is_live:
                return lambda _topic, _body, message: write_text(captions.show(message)), NOW
            live = stack.enter_context(Live(captions))
            return lambda _topic, _body, message: live.show(message), NOW
        case _:
            subtitles = _subtitles(wish)
            write_text(subtitles.header)
            return lambda _topic, _body, message: write_bytes(subtitles.show(message).encode()), START


def _subtitles(wish: Wish) -> Subtitles:
    cues = Cues(offset_ms=round(wish.offset_s * 1000), with_names=wish.with_names)
    return Subtitles(cues, is_vtt=wish.format == "vtt")


def _cues_in(file: OutputFile, subtitles: Subtitles) -> Show:
    def show(_topic: str, _body: bytes, message: Published | Hole | None) -> None:
        kept_bytes = subtitles.take_back(message)
        if kept_bytes is not None:
            file.cut(kept_bytes)
        file.write(subtitles.show(message).encode())

    return show


def _captions(wish: Wish, write: Callable[[bytes], None]) -> Show:
    """In a file interims would stand between the finals for ever."""
    captions = Captions(Look(is_live=False, with_interims=False, with_names=wish.with_names, clock=wish.clock))
    return lambda _topic, _body, message: write(captions.show(message).encode(errors="replace"))


def _lines(wish: Wish, write: Callable[[bytes], None]) -> Show:
    def show(topic: str, body: bytes, _message: Published | Hole | None) -> None:
        if not (wish.finals_only and topic == "transcript.interim"):
            write(line(body))

    return show
