"""`mpengine listen`: what an engine hears, as captions, subtitles, or every message as JSON."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, Literal, NamedTuple

import msgspec

from mpengine.cli.captions import Captions, Look
from mpengine.cli.cues import Cues
from mpengine.cli.live import Live
from mpengine.cli.output_file import OutputFile
from mpengine.cli.streams import write_bytes, write_text
from mpengine.cli.subtitles import Subtitles
from mpengine.cli.target import Target
from mpengine.client.following import Since
from mpengine.client.known import Hole
from mpengine.client.subscriber import decode
from mpengine.shared import messages
from mpengine.shared.decoding import UNREADABLE
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import Published
from mpengine.shared.snapshot import Stamp, read_stamp

Format = Literal["text", "jsonl", "srt", "vtt"]

# An engine that lives says something every second (its metrics).
_SILENCE_S = 5.0
# More than the longest message that an engine publishes.
_LAST_LINE_BYTES = 32 << 20
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".srt": "srt", ".vtt": "vtt"}

_object = msgspec.json.Decoder(dict[str, Any])
_hole = msgspec.json.Decoder(Hole)

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
        show, since = _begin(wish, stack)
        subscriber = stack.enter_context(target.subscriber(since=since))
        while True:
            received = subscriber.receive_raw(_SILENCE_S if wish.exit_on_stop else None)
            if received is None:
                if was_heard and not target.answers():
                    return int(ExitCode.CRASH)
                continue
            was_heard = True
            topic, body = received
            message = _hole.decode(body) if topic == "hole" else decode(body)
            show(topic, body, message)
            if wish.exit_on_stop and isinstance(message, messages.Status) and message.state in {"stopped", "failed"}:
                return int(ExitCode.OK if message.state == "stopped" else ExitCode.CRASH)


def _begin(wish: Wish, stack: ExitStack) -> tuple[Show, Since]:
    """How to show messages, and from where on."""
    if wish.output is None:
        return _to_standard_output(wish, stack), _since(wish, "start" if wish.format in {"srt", "vtt"} else None)
    file = stack.enter_context(closing(OutputFile(wish.output, append=wish.append, force=wish.force)))
    default: Since = "start" if file.is_new else None
    match wish.format:
        case "jsonl":
            return _lines(wish, file.write), _since(wish, _go_on_with_lines(file) or default)
        case "text":
            if not file.is_new and file.read(1) != b"\n":
                file.write(b"\n")
            return _captions(wish, file.write), _since(wish, default)
        case _:
            subtitles = _subtitles(wish)
            continued = subtitles.go_on(file.read())
            file.cut(continued.kept_bytes)
            file.write(continued.mend.encode())
            return _cues(subtitles, file.write), _since(wish, continued.since or default)


def _since(wish: Wish, default: Since) -> Since:
    if wish.since == "now":
        return None
    return default if wish.since is None else wish.since


def _to_standard_output(wish: Wish, stack: ExitStack) -> Show:
    match wish.format:
        case "jsonl":
            return _lines(wish, write_bytes)
        case "text":
            is_live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
            captions = Captions(Look(is_live, not wish.finals_only, wish.with_names, wish.clock))
            if not is_live:
                return lambda _topic, _body, message: write_text(captions.show(message))
            live = stack.enter_context(Live(captions))
            return lambda _topic, _body, message: live.show(message)
        case _:
            subtitles = _subtitles(wish)
            write_text(subtitles.header)
            return _cues(subtitles, write_bytes)


def _subtitles(wish: Wish) -> Subtitles:
    cues = Cues(offset_ms=round(wish.offset_s * 1000), with_names=wish.with_names)
    return Subtitles(cues, is_vtt=wish.format == "vtt")


def _cues(subtitles: Subtitles, write: Callable[[bytes], None]) -> Show:
    return lambda _topic, _body, message: write(subtitles.show(message).encode())


def _captions(wish: Wish, write: Callable[[bytes], None]) -> Show:
    """In a file interims would stand between the finals for ever."""
    captions = Captions(Look(is_live=False, with_interims=False, with_names=wish.with_names, clock=wish.clock))
    return lambda _topic, _body, message: write(captions.show(message).encode(errors="replace"))


def _lines(wish: Wish, write: Callable[[bytes], None]) -> Show:
    def show(topic: str, body: bytes, _message: Published | Hole | None) -> None:
        if not (wish.finals_only and topic == "transcript.interim"):
            write(line(body))

    return show


def _go_on_with_lines(file: OutputFile) -> Since:
    """Let go of a last line that was not written to its end; the run and the number of the one before it."""
    last = file.read(_LAST_LINE_BYTES)
    end = last.rfind(b"\n") + 1
    file.cut_last(len(last) - end)
    for each in reversed(last[:end].splitlines()):
        try:
            stamp = read_stamp(each)
        except UNREADABLE:
            stamp = Stamp()
        if stamp.seq:
            return stamp.run, stamp.seq
    return None


def line(body: bytes) -> bytes:
    """A message as it came, of whatever type and with all its fields; nothing for what is no JSON object."""
    try:
        _object.decode(body)
    except UNREADABLE:
        return b""
    # In JSON a line end can only be white space.
    return b" ".join(body.splitlines()) + b"\n"
