"""`mpengine listen` shows what an engine hears: as captions, as subtitles, or every message as JSON."""

import argparse
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Literal, NamedTuple

from mpengine import formats
from mpengine.cli.options import add_target, seconds, target_of
from mpengine.cli.target import Target
from mpengine.cli.terminal import Live
from mpengine.client.follow import Since
from mpengine.client.position import Hole
from mpengine.formats.base import NOW, Format, Place, Position, Style
from mpengine.shared import messages, one_writer
from mpengine.shared.errors import ConfigError, ExitCode, MpengineError
from mpengine.shared.messages import INTERIMS, Published
from mpengine.shared.standard_streams import write_bytes

# We subscribe to all topics. A live engine then publishes its metrics every second.
_SILENCE_S = 5.0
# A signal that comes just before a wait begins is handled only after the wait.
_LONGEST_WAIT_S = 0.5
_PIECE_BYTES = 1 << 16  # some seconds of messages
_MOST_DIGITS = 19

# Takes a message: its topic, its JSON, and the message itself.
Show = Callable[[str, bytes, Published | Hole | None], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "publish", "query")
    about = ", ".join(f"{name} ({about})" for name, (_, about) in formats.FORMATS.items())
    parser.add_argument(
        "--format",
        choices=tuple(formats.FORMATS),
        help=f"{about}; by default the ending of FILE decides, otherwise text",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write to this new file as results come, not to standard output"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="append to the output file if it exists")
    existing.add_argument("--force", action="store_true", help="replace the output file if it exists")
    parser.add_argument("--finals", action="store_true", help="leave out interim results")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=_since,
        help="start: with all that the engine remembers (default for files and subtitles); now: only new results "
        "(default otherwise); SEQ or RUN:SEQ: after that message (the format jsonl shows the seq and run of each)",
    )
    parser.add_argument(
        "--timestamps",
        nargs="?",
        choices=("run", "utc", "both"),
        const="run",
        help="text: show when each final was said, on the clock of the run (default) or in UTC",
    )
    parser.add_argument("--user", action="store_true", help="text, srt, vtt: show engine.user_name and the speakers")
    parser.add_argument(
        "--offset",
        metavar="SECONDS",
        type=seconds(-1e9, 1e9),
        default=0.0,
        help="srt, vtt: add this to all times, which count from the start of the run",
    )
    parser.add_argument("--exit-on-stop", action="store_true", help="exit when the engine has stopped or is gone")


def main(arguments: argparse.Namespace) -> int:
    """See `listen`."""
    options = Options(
        output_format=arguments.format,
        output=arguments.output,
        append=arguments.append,
        force=arguments.force,
        finals_only=arguments.finals,
        style=Style(arguments.user, arguments.timestamps, arguments.offset),
        since=arguments.since,
        exit_on_stop=arguments.exit_on_stop,
    )
    return listen(target_of(arguments), options)


def _since(text: str) -> tuple[str, int] | int | str:
    if text in {"start", "now"}:
        return text
    run, _, seq = text.rpartition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) < _MOST_DIGITS):
        raise argparse.ArgumentTypeError("expected start, now, SEQ or RUN:SEQ")
    return (run, int(seq)) if run else int(seq)


class Options(NamedTuple):
    """The options of `listen`. By default the name of `output` says the format."""

    output_format: str | None = None
    output: str | None = None
    append: bool = False
    force: bool = False
    finals_only: bool = False
    style: Style = Style()
    since: Since | Literal["now"] = None
    exit_on_stop: bool = False

    @property
    def format(self) -> str:
        """The name of the format."""
        return self.output_format or formats.name_for(self.output or "")

    @property
    def place(self) -> Place:
        """Where the output goes."""
        if self.output is not None:
            return Place.FILE
        return Place.TERMINAL if sys.stdout.isatty() else Place.PIPE


class OutputFile:
    """The file of `--output`, locked against other writers.

    It grows by whole pieces as results come, so that it is valid whenever this process is killed.
    """

    def __init__(self, path: str, *, append: bool, force: bool) -> None:
        """Raises ConfigError when the file cannot be opened, is locked, or exists without `append` or `force`."""
        self._path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if not append and not force and not _is_device(path):
            flags |= os.O_EXCL
        elif _is_device(path):
            flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            raise ConfigError("--output", f"{path} exists; --append continues it, --force replaces it") from None
        except OSError as error:
            raise ConfigError("--output", f"{path}: {error.strerror}") from None
        self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        if self._is_regular:
            self._lock()
            if force:
                os.ftruncate(self._descriptor, 0)

    def read_back(self) -> Iterator[bytes]:
        """The file's content in pieces, last one first; nothing for a device."""
        end = self._size_bytes if self._is_regular else 0
        while end:
            begin = max(0, end - _PIECE_BYTES)
            yield os.pread(self._descriptor, end - begin, begin)
            end = begin

    def cut(self, size_bytes: int) -> None:
        """Remove all but the first `size_bytes`."""
        if self._is_regular and size_bytes < self._size_bytes:
            os.ftruncate(self._descriptor, size_bytes)

    def cut_last(self, number_bytes: int) -> None:
        """Remove the last `number_bytes`."""
        self.cut(self._size_bytes - number_bytes)

    def write(self, piece: bytes) -> None:
        """Append the whole `piece`, or raise MpengineError and append nothing."""
        if not piece:
            return
        size_bytes = self._size_bytes
        try:
            written = os.write(self._descriptor, piece)
            while written < len(piece):  # a pipe, or a full disk: then the next write raises
                written += os.write(self._descriptor, piece[written:])
        except OSError as error:
            with suppress(OSError):
                self.cut(size_bytes)
            raise MpengineError(f"cannot write {self._path}: {error.strerror}") from None

    @property
    def _size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            one_writer.lock(self._descriptor, is_optional=True)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError("--output", f"{self._path} is being written by another process") from None


def _is_device(path: str) -> bool:
    """Whether `path` is there and no regular file, but a pipe or /dev/null."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def listen(target: Target, options: Options) -> int:
    """Show results until Ctrl-C, and wait for an engine that is not there yet.

    With `exit_on_stop` this returns after the engine's end: 0 if the engine stopped, 1 if it failed or died.
    """
    was_heard = False
    with ExitStack() as stack:
        show, position = begin(options, stack)
        subscriber = stack.enter_context(target.subscriber(since=position.since))
        silent_since = time.monotonic()
        while True:
            received = subscriber.receive_any(_LONGEST_WAIT_S)
            now = time.monotonic()
            if received is None:
                if options.exit_on_stop and was_heard and now - silent_since >= _SILENCE_S:
                    if not target.answers():
                        return int(ExitCode.CRASH)
                    silent_since = time.monotonic()
                continue
            was_heard, silent_since = True, now
            message = received.message
            if not position.holds(message):
                show(received.topic, received.body, message)
            if options.exit_on_stop and isinstance(message, messages.Status) and message.state in messages.OVER:
                return int(ExitCode.OK if message.state == messages.EngineState.STOPPED else ExitCode.CRASH)


def begin(options: Options, stack: ExitStack) -> tuple[Show, Position]:
    """The function that shows a message, and the position from which to listen. `stack` closes the output."""
    made = formats.load(options.format)(options.style, options.place)
    if options.output is None:
        show, position = _to_standard_output(made, stack), made.since
    else:
        show, position = _to_file(made, OutputFile(options.output, append=options.append, force=options.force), stack)
    if options.finals_only or options.place not in made.interims_in:
        show = _without_interims(show)
    if options.since is not None:
        position = NOW if options.since == "now" else Position(options.since)
    return show, position


def _to_file(made: Format, file: OutputFile, stack: ExitStack) -> tuple[Show, Position]:
    """Mend the torn end of `file`, and continue after the messages that it holds."""
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
