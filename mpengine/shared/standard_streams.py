"""Standard input, output and error, for programs whose shell has closed them and whose readers may go."""

import errno
import os
import sys
from collections.abc import Sequence
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

from mpengine.shared.errors import MpengineError
from mpengine.shared.text import hanging, harmless

_USUAL_SIZE = os.terminal_size((80, 24))


def ensure_standard_streams() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed on /dev/null, and make printing safe for all letters.

    Otherwise the next sockets and files would get these numbers, and children and C libraries would write into them.
    From now on `sys.stdout` raises the errors of `Output`.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
    # A stream that was closed when Python started is None.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if sys.stdout is sys.__stdout__:  # otherwise a caller has replaced it
        sys.stdout = TextIOWrapper(
            Output(FileIO(1, "w", closefd=False)),
            encoding=sys.stdout.encoding if sys.stdout else None,
            errors="replace",
            line_buffering=os.isatty(1),
        )


class Output(BufferedWriter):
    """The buffer of standard output. It raises BrokenPipeError when the reader has gone, MpengineError otherwise.

    All later output goes to /dev/null. A signal handler that raises, as that of Ctrl-C does, may come at any of these
    lines: the buffer itself notes what the descriptor has taken. A class below it would write such a piece again.
    """

    def write(self, data: Any, /) -> int:
        """Take all of `data`, and write what does not fit; returns the number of bytes."""
        try:
            return super().write(data)
        except OSError as error:
            raise _cannot_write(error) from None

    def flush(self) -> None:
        """Write all that was taken."""
        try:
            super().flush()
        except OSError as error:
            raise _cannot_write(error) from None


def _cannot_write(error: OSError) -> OSError | MpengineError:
    """What to raise. BlockingIOError: another process has made the descriptor non-blocking, and it is full."""
    drop_output()
    if isinstance(error, BrokenPipeError):
        return error
    return MpengineError(f"cannot write: {os.strerror(error.errno or errno.EIO)}")


def write_text(text: str) -> None:
    """Write `text` to standard output, unbuffered."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write `data` to standard output, unbuffered and unchanged: JSON is UTF-8 in every locale."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def drop_output() -> None:
    """Send all further output to /dev/null. Otherwise Python would write the rest at its exit, and fail or block."""
    _drop(sys.stdout)


def complain(text: str, *more: str) -> None:
    """Write one line to standard error, if that is possible, and then the lines in `more`, which are our own words.

    On a terminal they are broken at words.
    """
    tell(f"mpengine: {harmless(text)}", *map(harmless, more))


def tell(*lines: str) -> None:
    """Write `lines` to standard error, if that is possible; on a terminal they are broken at words."""
    try:
        sys.stderr.write(_broken(lines, sys.stderr))
    except OSError:
        _drop(sys.stderr)


def write_lines(*lines: str) -> None:
    """Write `lines` to standard output; on a terminal they are broken at words."""
    write_text(_broken(lines, sys.stdout))


def _broken(lines: Sequence[str], stream: TextIO) -> str:
    columns = columns_of(stream)
    whole = lines if columns is None else [piece for line in lines for piece in hanging(line, columns)]
    return "".join(f"{line}\n" for line in whole)


def columns_of(stream: TextIO | None) -> int | None:
    """The present width of the terminal at `stream`; None where there is none, or where it is unknown."""
    if stream is None:
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None  # some terminals say 0
    except (OSError, ValueError):  # no terminal, or no descriptor
        return None


def _drop(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def is_dumb() -> bool:
    """Whether the terminal, if there is one, says that it knows no escape sequences."""
    return os.environ.get("TERM") == "dumb"


def wants_colours() -> bool:
    """Whether the person at the terminal has not asked for no colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def can_show(letters: str, stream: TextIO) -> bool:
    """Whether the encoding of `stream` has all `letters`."""
    try:
        letters.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def terminal_size(stream: TextIO | None = None) -> os.terminal_size:
    """The size of the terminal at `stream`, by default standard output; 80 x 24 where it is unknown."""
    try:
        columns, rows = os.get_terminal_size((stream or sys.stdout).fileno())
    except (OSError, ValueError):
        columns = rows = 0
    return os.terminal_size((columns or _USUAL_SIZE.columns, rows or _USUAL_SIZE.lines))  # some terminals say 0
