"""`mpengine help` shows the pages of the reference. They ship with the package: many a machine has no browser."""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence

import mpengine
from mpengine import cli
from mpengine.cli.links import in_words
from mpengine.shared.errors import ConfigError, ExitCode
from mpengine.shared.standard_streams import is_dumb, terminal_size, write_lines, write_text

_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(mpengine.__file__)), "docs")
_ENDING = ".md"
# Somebody who only uses the engine needs these last.
_LAST = ("development", "costs", "changes")
# -F: a page that fits on the screen needs no pager; -R: let colours through; -X: leave the page on the screen.
_USUAL_PAGER = "less -FRX"
_FENCE, _TABLE, _IMAGE, _HEADING = "```", "|", "![", "#"
_ITEM = re.compile(r"(?P<margin> *(?:\* |\d+\. )?)(?P<text>.*)")
_WIDEST = 120
# The heading, an empty line, and the text up to the first full stop.
_SUBJECT = re.compile(r"# [^\n]+\n+(?P<subject>.+?\.)(?:\s|$)", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help="the name of a page, or its beginning; or a command")
    parser.add_argument("--man", action="store_true", help="print the help of all commands as a man page, for man -l -")


def main(arguments: argparse.Namespace) -> int:
    """See `show_help`."""
    if arguments.man:
        from mpengine.cli.man import man_page  # noqa: PLC0415  it loads all commands

        write_text(man_page(topics()))
        return int(ExitCode.OK)
    return show_help(arguments.topic)


def show_help(topic: str | None) -> int:
    """Show the page about `topic`, or the help of the command `topic`, or list all pages.

    Raises ConfigError for an unknown topic.
    """
    if topic is None:
        write_lines(*_contents())
    elif topic in cli.COMMANDS and topic not in topics():
        cli.parser_for(topic).parse_args([topic, "--help"])  # exits
    else:
        _show(_read(_choose(topic, topics())))
    return int(ExitCode.OK)


def topics() -> list[str]:
    """The topics in alphabetical order: the names of the pages without their ending."""
    return sorted(name.removesuffix(_ENDING) for name in os.listdir(_DIRECTORY) if name.endswith(_ENDING))


def subject(page: str) -> str:
    """The first sentence of `page`, on one line; empty for a page without a heading or a sentence."""
    found = _SUBJECT.match(page)
    return " ".join(found["subject"].split()) if found else ""


def _contents() -> list[str]:
    names = [*(name for name in topics() if name not in _LAST), *_LAST]
    width = max(len(name) for name in names)
    how = "`mpengine help TOPIC` shows one of these pages, `mpengine help COMMAND` the options of a command."
    return [how, "", *(f"  {name:{width}}  {subject(_read(name))}" for name in names)]


def _choose(wanted: str, names: Sequence[str]) -> str:
    """The topic called `wanted`, or the only one whose name begins with it."""
    if wanted in names:
        return wanted
    fitting = [name for name in names if wanted and name.startswith(wanted.lower())]
    if len(fitting) == 1:
        return fitting[0]
    problem = f'"{wanted}" is the beginning of several topics' if fitting else f'no page is about "{wanted}"'
    from mpengine.shared.guess import did_you_mean  # noqa: PLC0415  only for errors

    hint = "" if fitting else did_you_mean(wanted, [*names, *cli.COMMANDS])
    raise ConfigError("", f"{problem}; the topics are: {', '.join(fitting or names)}{hint}")


def _read(topic: str) -> str:
    with open(os.path.join(_DIRECTORY, topic + _ENDING), encoding="utf-8") as file:
        return file.read()


def _show(page: str) -> None:
    """Show `page` on a terminal, in the user's pager if there is one; a pipe gets the page as it is."""
    if not sys.stdout.isatty():
        write_text(page)
        return
    text = laid_out(page, terminal_size().columns)
    if is_dumb() or not _has_paged(text):
        write_text(text)


def laid_out(page: str, columns: int) -> str:
    """`page` for a terminal of that many columns: prose is wrapped, and each cell of a table has lines of its own.

    Blocks of code stay as they are, images are left out, and a link to a page names the page.
    """
    width = min(columns, _WIDEST)
    shown = [""]
    paragraph: list[str] = []
    header: list[str] = []
    is_code = False
    for line in [*page.splitlines(), ""]:
        is_fence = line.lstrip().startswith(_FENCE)
        is_prose = bool(line) and not (is_code or is_fence or line.startswith((_TABLE, _IMAGE, _HEADING)))
        if not is_prose or _ITEM.sub(r"\g<margin>", line).strip():  # the line begins something else
            shown += _wrapped(paragraph, width)
            paragraph = []
        if is_prose:
            paragraph.append(line)
        elif line.startswith(_TABLE) and not is_code:
            cells = [cell.strip() for cell in in_words(line, "help").strip().strip("|").split("|")]
            shown += _row(header, cells, width) if header else []
            header = header or cells
        elif is_code or not (line.startswith(_IMAGE) or line == shown[-1] == ""):  # no two empty lines
            shown.append(line)
        is_code ^= is_fence
        if not line.startswith(_TABLE):
            header = []
    return "\n".join(shown[1:-1]) + "\n"


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    """The lines of a paragraph, or of an item of a list, at another width."""
    if not lines:
        return []
    found = _ITEM.fullmatch(lines[0])
    margin = found["margin"] if found else ""
    text = in_words(" ".join(line.strip() for line in lines), "help").removeprefix(margin.strip()).strip()
    return _filled(text, width, margin, " " * len(margin))


def _row(header: Sequence[str], cells: Sequence[str], width: int) -> list[str]:
    """A row of a table: the first cell, and under it the others, in a wide table each with the name of its column."""
    if set(cells[0]) <= {"-", ":"} and cells[0]:  # the line under the header
        return []
    lines = _filled(cells[0], width)
    for name, cell in zip(header[1:], cells[1:], strict=False):
        if cell:
            lines += _filled(f"{name}: {cell}" if name and len(header) > 2 else cell, width, "    ", "      ")
    return lines


def _filled(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _has_paged(page: str) -> bool:
    """Show `page` in the pager and return after its reader has left it. False where there is no pager."""
    command = _pager()
    if not command:
        return False
    # Ctrl-C is for the pager, which has the terminal. The pager would inherit SIG_IGN, but does not inherit a handler.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603  the user's own choice
        # This lasts as long as a person reads. It is no error when the pager closes its end of the pipe early.
        pager.communicate(page.encode(sys.stdout.encoding, errors="replace"))
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def _pager() -> list[str]:
    """The command of the pager; empty where $PAGER is empty or no command."""
    try:
        return shlex.split(os.environ.get("PAGER", _USUAL_PAGER))
    except ValueError:
        return []
