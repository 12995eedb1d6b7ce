"""`mpengine listen` shows what engines hear: as captions, as subtitles, as JSON; or hands it over to a command."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Literal, NamedTuple

from mpengine import formats
from mpengine.cli.notices import Notices
from mpengine.cli.options import COMMAND_OPTIONS, add_format, add_target, names_of, seconds, targets_of
from mpengine.cli.outlet import Commands, Outlet, Show
from mpengine.cli.output_file import OutputFile
from mpengine.cli.target import Target
from mpengine.cli.terminal.handlers import ending_in_order
from mpengine.cli.terminal.in_place import Live, write_notice
from mpengine.cli.topic_choice import OTHERS, WORDS, read_only
from mpengine.client.follow import Since
from mpengine.client.position import Hole, Received
from mpengine.client.subscriber import Subscriber
from mpengine.formats.base import NOW, Format, Place, Position, Style
from mpengine.shared import messages
from mpengine.shared.errors import ConfigError, ExitCode
from mpengine.shared.messages import FINALS, INTERIMS, Published
from mpengine.shared.standard_streams import write_bytes

# An engine that is followed so closely publishes its metrics every second.
_SILENCE_S = 5.0
# An engine that is there has said something by then.
_ABSENT_S = 0.7
# A signal that comes just before a wait begins is handled only after the wait.
_LONGEST_WAIT_S = 0.5
_MOST_DIGITS = 19


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    add_target(parser, "publish", "query", is_several=True)
    add_format(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="write to this new file as results come, not to standard output"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="append to the output file if it exists")
    existing.add_argument("--force", action="store_true", help="replace the output file if it exists")
    parser.add_argument("--finals", action="store_true", help="leave out interim results")
    parser.add_argument(
        "--only",
        metavar="TOPICS",
        type=_only,
        help=f"show only these topics, with commas between them: {', '.join(WORDS)} (default: what the format is for; "
        "jsonl leaves out levels and metrics)",
    )
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
        metavar="CLOCK",
        choices=("run", "utc", "both"),
        const="run",
        help="text: show when each final was said, on this clock: run (that of the run, default), utc or both",
    )
    parser.add_argument("--user", action="store_true", help="text, srt, vtt: show engine.user_name and the speakers")
    parser.add_argument(
        "--offset",
        metavar="SECONDS",
        type=seconds(-1e9, 1e9),
        default=0.0,
        help="srt, vtt: add this to all times, which count from the start of the run",
    )
    parser.add_argument(
        "--exit-on-stop",
        action="store_true",
        help="exit when the engine has stopped or is gone; one that has not been there yet is waited for",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="with --exec or --exec-each: note in this file what was handed over, and go on behind that",
    )
    parser.add_argument(
        "--exec-timeout",
        metavar="SECONDS",
        type=seconds(0.1, 86400),
        help="end a command that takes longer for a message (--exec-each; default: 30), or does not read its line "
        "for so long (--exec; default: never)",
    )
    commands = parser.add_mutually_exclusive_group()
    long_lived, for_each = COMMAND_OPTIONS
    commands.add_argument(
        long_lived,
        dest="command_line",
        metavar="CMD",
        nargs=argparse.REMAINDER,
        help="the last option: hand each final over to this command, as a line of JSON on its standard input; it is "
        "started once, and again when it ends",
    )
    commands.add_argument(
        for_each,
        metavar="CMD",
        nargs=argparse.REMAINDER,
        help="the last option: run this command for each final, with its text in $MPENGINE_TEXT",
    )


def main(arguments: argparse.Namespace) -> int:
    """See `listen`."""
    names = names_of(arguments)
    several = names if len(names) > 1 else ()
    words = arguments.command_line if arguments.command_line is not None else arguments.exec_each
    options = Options(
        output_format=arguments.format,
        output=arguments.output,
        append=arguments.append,
        force=arguments.force,
        finals_only=arguments.finals,
        only=arguments.only,
        style=Style(arguments.user, arguments.timestamps, arguments.offset, several),
        since=arguments.since,
        exit_on_stop=arguments.exit_on_stop,
        commands=None
        if words is None
        else Commands(
            words=words,
            is_each=arguments.exec_each is not None,
            timeout_s=arguments.exec_timeout,
            state=arguments.state,
            with_engine=bool(several),
        ),
    )
    if words is None and (arguments.state or arguments.exec_timeout):
        raise ConfigError("--state" if arguments.state else "--exec-timeout", "works with --exec or --exec-each only")
    if several and arguments.since not in {None, "start", "now"}:
        raise ConfigError("--since", "expected start or now with several engines: each has messages of its own")
    return listen(targets_of(arguments), options)


def _since(text: str) -> tuple[str, int] | int | str:
    if text in {"start", "now"}:
        return text
    run, _, seq = text.rpartition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) < _MOST_DIGITS):
        raise argparse.ArgumentTypeError("expected start, now, SEQ or RUN:SEQ")
    return (run, int(seq)) if run else int(seq)


def _only(text: str) -> frozenset[str]:
    try:
        return read_only(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Options(NamedTuple):
    """The options of `listen`. By default the name of `output` says the format, and the format the topics."""

    output_format: str | None = None
    output: str | None = None
    append: bool = False
    force: bool = False
    finals_only: bool = False
    only: frozenset[str] | None = None
    style: Style = Style()
    since: Since | Literal["now"] = None
    exit_on_stop: bool = False
    commands: Commands | None = None

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

    @property
    def position(self) -> Position | None:
        """From where on to listen, if that is said."""
        if self.since is None:
            return None
        return NOW if self.since == "now" else Position(self.since)


def listen(targets: Sequence[Target], options: Options) -> int:
    """Show results until Ctrl-C, and wait for engines that are not there yet.

    With `exit_on_stop` this returns after the end of all engines: 0 if they have stopped, 1 if one failed or died.
    """
    with ExitStack() as stack:
        outlet = begin(options, stack, [target.name for target in targets])
        watch = _Watch(targets, outlet, options)
        subscriber = stack.enter_context(_subscriber(targets, outlet, watch.topics))
        while watch.exit_code is None:
            received = subscriber.receive_any(_LONGEST_WAIT_S)
            message = None if received is None else received.message
            if received is not None and outlet.wants(received, message):
                outlet.show(received, message)
            watch.look(received, message, time.monotonic())
        return watch.exit_code


def _subscriber(targets: Sequence[Target], outlet: Outlet, watched: frozenset[str]) -> Subscriber:
    wanted = outlet.topics | watched
    # The status comes last: the answer to its subscription shows that all others are there.
    topics = ("",) if OTHERS in wanted else tuple(sorted(wanted, key=lambda topic: (topic == "status", topic)))
    first, *others = targets
    if not others:
        return first.subscriber(*topics, since=outlet.since.get(first.name, outlet.position.since))
    return Subscriber(
        [target.name for target in targets],
        publish=first.publish,
        query=first.query,
        topics=topics,
        since={target.name: outlet.since.get(target.name, outlet.position.since) for target in targets},
        server_key=first.server_key,
        client_key=first.client_key,
    )


class _Watch:
    """Follows how the engines are: it tells a person at the terminal, and knows when to exit."""

    def __init__(self, targets: Sequence[Target], outlet: Outlet, options: Options) -> None:
        self._targets = {target.name: target for target in targets}
        self._outlet = outlet
        self._exits = options.exit_on_stop
        self._notices = Notices(list(self._targets)) if sys.stderr.isatty() else None
        now = time.monotonic()
        self._heard_at = dict.fromkeys(self._targets, now)
        self._was_heard: set[str] = set()
        self._over: dict[str, ExitCode] = {}
        self._look_at = now + _ABSENT_S

    @property
    def topics(self) -> frozenset[str]:
        """What has to be subscribed to."""
        told = frozenset({"error", "credits_low", "metrics"}) if self._notices else frozenset()
        return told | {"status"} | ({"metrics"} if self._exits else set())

    @property
    def exit_code(self) -> int | None:
        """The exit code, once all engines have ended."""
        if not self._exits or len(self._over) < len(self._targets):
            return None
        return int(max(self._over.values()))

    def look(self, received: Received | None, message: Published | Hole | None, now: float) -> None:
        """Take note of a message, or of its absence."""
        if received is not None:
            self._heard_at[received.name] = now
            self._was_heard.add(received.name)
            if message is not None and not isinstance(message, Hole):
                self._heed(received.name, message)
        if now >= self._look_at and (received is None or len(self._targets) > 1):
            self._look_at = now + _LONGEST_WAIT_S
            for name in self._targets:
                self._look_for(name, now)

    def _heed(self, name: str, message: Published) -> None:
        if isinstance(message, messages.Status):
            if message.state in messages.OVER:
                has_stopped = message.state == messages.EngineState.STOPPED
                self._over[name] = ExitCode.OK if has_stopped else ExitCode.CRASH
            else:
                self._over.pop(name, None)
        if self._notices is not None:
            self._tell(self._notices.about(name, message))

    def _look_for(self, name: str, now: float) -> None:
        """Look for an engine that has been silent for long."""
        target, silent_s = self._targets[name], now - self._heard_at[name]
        if name in self._over:
            return
        can_ask = target.publish is None or target.query is not None
        if name not in self._was_heard:
            if self._notices is not None and can_ask and silent_s >= _ABSENT_S:
                self._tell(self._notices.waiting(name))
            return
        if silent_s < _SILENCE_S or not (self._exits or (self._notices is not None and can_ask)):
            return
        if target.answers():
            self._heard_at[name] = time.monotonic()
            return
        self._was_heard.discard(name)
        if self._exits:
            self._over[name] = ExitCode.CRASH
        if self._notices is not None and can_ask:
            self._tell(self._notices.waiting(name))

    def _tell(self, notice: str) -> None:
        if notice:
            self._outlet.notice(notice)


def begin(options: Options, stack: ExitStack, names: Sequence[str]) -> Outlet:
    """Where messages go, and the position from which to listen. `stack` closes it. Raises ConfigError."""
    if options.commands is not None:
        from mpengine.cli.handing_out import hand_out  # noqa: PLC0415  a listener that shows words needs none of it

        _forbid(options, "output", "output_format")
        stack.enter_context(ending_in_order())
        position = options.position or NOW
        return hand_out(options.commands, position, _without(options, options.only or frozenset({FINALS})), stack)
    kind = formats.load(options.format)
    if len(names) > 1 and (options.output is not None or not kind.is_for_several):
        raise ConfigError("--name", "a file and subtitles are of one engine: run `mpengine listen` once for each")
    made = kind(options.style, options.place)
    topics = _without(options, kind.topics if options.only is None else options.only)
    if options.place not in made.interims_in:
        topics -= {INTERIMS}
    if options.output is None:
        show, notice = _to_standard_output(made, stack)
        return Outlet(show, notice, options.position or made.since, topics)
    file = OutputFile(options.output, append=options.append, force=options.force)
    show, position = _to_file(made, file, stack)
    return Outlet(show, write_notice, options.position or position, topics)


def _without(options: Options, topics: frozenset[str]) -> frozenset[str]:
    return topics - {INTERIMS} if options.finals_only else topics


def _forbid(options: Options, *names: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            option = "--output" if name == "output" else "--format"
            raise ConfigError(option, "does not go with --exec and --exec-each: a command gets messages as JSON")


def _to_file(made: Format, file: OutputFile, stack: ExitStack) -> tuple[Show, Position]:
    """Mend the torn end of `file`, and continue after the messages that it holds."""
    stack.enter_context(closing(file))
    ending = made.go_on(file.read_back())
    file.cut_last(ending.torn_bytes)
    file.write(ending.mend)

    def show(received: Received, message: Published | Hole | None) -> None:
        kept_bytes = made.take_back(message)
        if kept_bytes is not None:
            file.cut(kept_bytes)
        file.write(made.show(received.body, message, received.name))

    return show, ending.position


def _to_standard_output(made: Format, stack: ExitStack) -> tuple[Show, Callable[[str], None]]:
    if made.drawn is not None:
        live = stack.enter_context(Live(made.drawn))
        return lambda received, message: live.show(message, received.name), live.notice
    write_bytes(made.header)
    return lambda received, message: write_bytes(made.show(received.body, message, received.name)), write_notice
