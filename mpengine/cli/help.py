"""`mpengine help` shows the pages of the reference. They ship with the package: many a machine has no browser."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence

import mpengine
from mpengine.shared.errors import ConfigError, ExitCode
from mpengine.shared.standard_streams import write_text

_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(mpengine.__file__)), "docs")
_ENDING = ".md"
# -F: a page that fits on the screen needs no pager; -R: let colours through; -X: leave the page on the screen.
_USUAL_PAGER = "less -FRX"
# The heading, an empty line, and the text up to the first full stop.
_SUBJECT = re.compile(r"# [^\n]+\n+(?P<subject>.+?\.)(?:\s|$)", re.DOTALL)


def show_help(topic: str | None) -> int:
    """Show the page about `topic`, or list all pages. Raises ConfigError for an unknown topic."""
    if topic is None:
        write_text(_contents())
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


def _contents() -> str:
    names = topics()
    width = max(len(name) for name in names)
    lines = [f"  {name:{width}}  {subject(_read(name))}\n" for name in names]
    return "mpengine help TOPIC shows one of these pages. The beginning of a topic is enough.\n\n" + "".join(lines)


def _choose(wanted: str, names: Sequence[str]) -> str:
    """The topic called `wanted`, or the only one whose name begins with it."""
    if wanted in names:
        return wanted
    fitting = [name for name in names if wanted and name.startswith(wanted.lower())]
    if len(fitting) == 1:
        return fitting[0]
    problem = f'"{wanted}" is the beginning of several topics' if fitting else f'no page is about "{wanted}"'
    raise ConfigError("", f"{problem}; the topics are: {', '.join(fitting or names)}")


def _read(topic: str) -> str:
    with open(os.path.join(_DIRECTORY, topic + _ENDING), encoding="utf-8") as file:
        return file.read()


def _show(page: str) -> None:
    """Show `page` in the user's pager; without a pager or a terminal, write it to standard output."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if not (is_terminal and _has_paged(page)):
        write_text(page)


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
