"""The `mpengine` command: reads the arguments, calls the module of the command, prints an error as one line.

Only the module of the command is loaded: `run` is a process that stays for months.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

import mpengine
from mpengine.cli.interrupts import at_once
from mpengine.cli.options import COMMAND_OPTIONS, KEY_OPTION
from mpengine.cli.parsing import Parser
from mpengine.shared.errors import ExitCode, MpengineError
from mpengine.shared.standard_streams import complain, drop_output, ensure_standard_streams, tell

# Each name is that of a module beside this one, unless `_MODULES` has another. The module has `add_arguments(parser)`,
# and `main(arguments)` that returns the exit code. The words stand in the command's own help, their first sentence also
# in the list of commands.
COMMANDS = {
    "run": "Run an engine until it is stopped. A second Ctrl-C ends it at once.",
    "init": "Print a configuration with every key explained. The options set keys in it.",
    "listen": "Show live what an engine hears.",
    "transcribe": "Turn recordings into their words or subtitles.",
    "status": "Show the state of an engine.",
    "check": "Say what stands in the way of a run, and what would mend it.",
    "list": "List the engines of this user: those that run, and what killed ones have left.",
    "pause": "Close the microphone of an engine until `mpengine resume`.",
    "resume": "Open the microphone of a paused engine again.",
    "rename": "Set the speaker's name in the transcripts of an engine.",
    "devices": "List the audio inputs.",
    "service": "Print a systemd unit. Its first lines say where to put it.",
    "keys": "Make CURVE keys for a bus beyond this machine. It says which goes where.",
    "stop": "Stop an engine and wait for its end. It publishes its last results first.",
    "web": "Serve captions, events and figures to browsers and monitoring, over HTTP. It needs the extra web.",
    "relay": "Hand what engines hear to a broker: NATS JetStream or MQTT. It needs the extra relay.",
    "record": "Keep the audio beside the text, in files of their own. FLAC needs the extra record.",
    "completion": "Print what a shell needs to complete commands. The help says where to put it.",
    "help": "List the pages of the reference, or show one of them. It shows the help of a command, too.",
    "version": "Print the version.",
}
# A module `list` would take the place of the type, in this module.
_MODULES = {"list": "engines", "pause": "pausing", "resume": "pausing"}
# What these are for is not done when Ctrl-C ends them. It is the usual end of the others.
_UNDONE = {"transcribe", "check"}
EXAMPLES = """\
to begin:
  mpengine run --local              the recogniser of this machine: no account
  mpengine listen                   live captions, in another terminal
  mpengine init --output mic.toml   a configuration with every key explained
  mpengine run --config mic.toml    an engine with that configuration

`mpengine COMMAND --help` shows the options of a command.
`mpengine help` lists the pages of the reference.
`mpengine help configuration` has all keys.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` and return the exit code. A closed pipe is no error, nor is Ctrl-C of most commands."""
    words: list[str] = []
    try:
        ensure_standard_streams()
        _look_for_a_namesake()
        words = _with_key(sys.argv[1:] if argv is None else argv)
        code = _run(words)
        sys.stdout.flush()
    except MpengineError as error:
        complain(str(error), *error.more)
        return int(error.exit_code)
    except BrokenPipeError:
        return int(ExitCode.OK)  # the reader of the output has gone (head, less)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # this process is about to end: a second one changes nothing
        drop_output()
        return int(ExitCode.OK if _UNDONE.isdisjoint(words[:1]) else ExitCode.CRASH)
    except FileNotFoundError:
        if _has_directory():
            raise
        complain("the working directory was removed: go to another one, and try again")
        return int(ExitCode.CRASH)
    return code


def _run(words: Sequence[str]) -> int:
    """Run the command in `words`; the exit code."""
    try:
        arguments = parser_for(*words[:1]).parse_args(words)
        if arguments.command is None:
            tell(*_overview().splitlines())
            return int(ExitCode.CONFIG)
        code: int = module_of(arguments.command).main(arguments)
    except SystemExit:  # of --help and --version
        sys.stdout.flush()  # what fails at the end of Python is a traceback
        raise
    return code


def _has_directory() -> bool:
    """Whether the working directory is there: each relative path needs it."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _look_for_a_namesake() -> None:
    """Warn of another distribution that uses the folder mpengine/ too, and say how to separate the two.

    The package index has one, called mpengine. pip installs both into one folder without a warning, and removing one
    removes files of the other. Raises MpengineError where the other one's `__init__.py` has replaced ours.
    """
    site = os.path.dirname(os.path.dirname(os.path.abspath(mpengine.__file__)))
    try:
        names = os.listdir(site)
    except OSError:  # a zip file, or a folder that may be searched but not listed
        return
    if not any(name.startswith("mpengine-") and name.endswith((".dist-info", ".egg-info")) for name in names):
        return
    text = (
        "another package, called mpengine, is installed in the same folder as this one (mpengine-stt). "
        "To separate them: pip uninstall mpengine mpengine-stt, then install this one alone"
    )
    if not hasattr(mpengine, "Supervisor"):
        raise MpengineError(text)
    complain(text)


def _with_key(argv: Sequence[str]) -> list[str]:
    """`argv` with the option for the key and the key as one word: one key in 85 begins with a hyphen, as options do."""
    words = list(argv)
    for place, word in enumerate(words[:-1]):
        if word in COMMAND_OPTIONS:  # the rest is somebody else's
            break
        if word == KEY_OPTION:
            return [*words[:place], f"{word}={words[place + 1]}", *words[place + 2 :]]
    return words


def parser_for(*names: str) -> argparse.ArgumentParser:
    """The parser of the command line, with the arguments of the commands in `names`, and the names of the others."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="mpengine", description=mpengine.__doc__, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"mpengine {mpengine.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=_short(about), description=about)
        command.place = name
        if name in names:
            module_of(name).add_arguments(command)
    return parser


def _overview() -> str:
    """The help for somebody who has typed nothing else."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {_short(about)}" for name, about in COMMANDS.items()]
    return "\n".join([str(mpengine.__doc__), "", "commands:", *lines, "", EXAMPLES])


def _short(about: str) -> str:
    """The first sentence of `about`, as an item of a list."""
    return about[0].lower() + about[1 : about.index(".")]


def module_of(name: str) -> ModuleType:
    """The module of a command."""
    with at_once():
        return importlib.import_module(f"mpengine.cli.{_MODULES.get(name, name)}")
