"""The man page, made from the help of the commands."""

import argparse
import functools

import mpengine
from mpengine.cli import COMMANDS, module_of
from mpengine.shared.errors import ExitCode

_WIDTH = 76
_EXIT_CODES = {
    ExitCode.OK: "clean",
    ExitCode.CRASH: "anything that is not below",
    ExitCode.CONFIG: "the configuration or the command line",
    ExitCode.DEVICE: "the microphone",
    ExitCode.ACCOUNT: "the key or the account",
}


def man_page(topics: list[str]) -> str:
    """The page mpengine(1) in roff, for `man -l`. `topics`: the pages of `mpengine help`."""
    lines = [
        f'.TH MPENGINE 1 "" "mpengine {mpengine.__version__}" "User commands"',
        ".SH NAME",
        rf"mpengine \- {_escaped((mpengine.__doc__ or '').strip().rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B mpengine",
        r"\fICOMMAND\fR [\fIOPTION\fR...]",
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        lines += [f".SS mpengine {name}", ".nf", *map(_line, _help(name).splitlines()), ".fi"]
    lines += [".SH EXIT STATUS"]
    for code, meaning in _EXIT_CODES.items():
        lines += [".TP", str(int(code)), _escaped(meaning)]
    lines += [".SH SEE ALSO", _escaped(f"mpengine help TOPIC, with one of these topics: {', '.join(topics)}")]
    return "\n".join(lines) + "\n"


def _help(name: str) -> str:
    formatter = functools.partial(argparse.HelpFormatter, width=_WIDTH)
    parser = argparse.ArgumentParser(f"mpengine {name}", description=COMMANDS[name], formatter_class=formatter)
    module_of(name).add_arguments(parser)
    return parser.format_help()


def _line(text: str) -> str:
    escaped = _escaped(text)
    return rf"\&{escaped}" if escaped[:1] in {".", "'"} else escaped


def _escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-")
