"""`mpengine listen`: what an engine hears, as captions, subtitles, or every message as JSON."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Literal, NamedTuple

from mpengine.cli import formats
from mpengine.cli.formats.base import NOW, Format, Look, Place, Position
from mpengine.cli.formats.output_file import OutputFile
from mpengine.cli.target import Target
from mpengine.cli.terminal import Live
from mpengine.client.follow import Since
from mpengine.client.position import Hole
from mpengine.shared import messages
from mpengine.shared.errors import ExitCode
from mpengine.shared.messages import INTERIMS, Published
from mpengine.shared.standard_streams import write_bytes

# An engine that lives says something every second to who subscribes to everything, as we do (its metrics).
_SILENCE_S = 5.0
# A signal that comes when a wait is about to begin is seen only when it is over.
_LONGEST_WAIT_S = 0.5

# Takes a message: its topic, its JSON, and what that means.
Show = Callable[[str, bytes, Published | Hole | None], None]


class Wish(NamedTuple):
    """What is to be shown, and where. `output_format` is else known from the name of `output`."""

    output_format: str | None = None
    output: str | None = None
    append: bool = False
    force: bool = False
    finals_only: bool = False
    look: Look = Look()
    since: Since | Literal["now"] = None
    exit_on_stop: bool = False

    @property
    def format(self) -> str:
        """The name of the format."""
        return self.output_format or formats.name_for(self.output or "")

    @property
    def place(self) -> Place:
        """Where it goes."""
        if self.output is not None:
            return Place.FILE
        return Place.TERMINAL if sys.stdout.isatty() else Place.PIPE


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
            if wish.exit_on_stop and isinstance(message, messages.Status) and message.state in {"stopped", "failed"}:
                return int(ExitCode.OK if message.state == "stopped" else ExitCode.CRASH)


def begin(wish: Wish, stack: ExitStack) -> tuple[Show, Position]:
    """How to show messages, and from where on."""
    made = formats.load(wish.format)(wish.look, wish.place)
    if wish.output is None:
        show, position = _to_standard_output(made, stack), made.since
    else:
        show, position = _to_file(made, OutputFile(wish.output, append=wish.append, force=wish.force), stack)
    if wish.finals_only or wish.place not in made.interims_in:
        show = _without_interims(show)
    match wish.since:
        case None:
            return show, position
        case "now":
            return show, NOW
    return show, Position(wish.since)


def _to_file(made: Format, file: OutputFile, stack: ExitStack) -> tuple[Show, Position]:
    """Behind what the file holds, whose torn end is mended first."""
    stack.enter_context(closing(file))
    ending = made.go_on(file.read_back())
    file.cut_last(ending.torn_bytes)
    file.write(ending.mend)

    def show(_topic: str, body: bytes, message: Published | Hole | None) -> None:
        kept_bytes = made.take_back(message)
        if kept_bytes is not None:
            file.cut(kept_bytes)
        file.write(made.show(body, message))

    return show, ending.position


def _to_standard_output(made: Format, stack: ExitStack) -> Show:
    if made.drawn is not None:
        live = stack.enter_context(Live(made.drawn))
        return lambda _topic, _body, message: live.show(message)
    write_bytes(made.header)
    return lambda _topic, body, message: write_bytes(made.show(body, message))


def _without_interims(show: Show) -> Show:
    def show_others(topic: str, body: bytes, message: Published | Hole | None) -> None:
        if topic != INTERIMS:
            show(topic, body, message)

    return show_others
