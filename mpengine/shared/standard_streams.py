"""Standard input, output and error, for programs whose shell has closed them and whose readers may go."""

import errno
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

from mpengine.shared.errors import MpengineError
from mpengine.shared.text import harmless

_USUAL_SIZE = os.terminal_size((80, 24))


def ensure_standard_streams() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed on /dev/null, and make printing safe for all letters.

    Otherwise the next sockets and files would get these numbers, and children and C libraries would write into them.
    From now on `sys.stdout` raises the errors of `_Output`.
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
            BufferedWriter(_Output(1, "w", closefd=False)),
            encoding=sys.stdout.encoding if sys.stdout else None,
            errors="replace",
            line_buffering=os.isatty(1),
        )


class _Output(FileIO):
    """Standard output. A write raises BrokenPipeError when the reader has gone, MpengineError when it fails otherwise.

    All later output goes to /dev/null.
    """

    def write(self, data: Any, /) -> int:
        """Write as much of `data` as the descriptor takes at once; returns the number of bytes."""
        try:
            written: int | None = super().write(data)
        except BrokenPipeError:
            drop_output()
            raise
        except OSError as error:
            raise _cannot_write(error.errno or errno.EIO) from None
        if written is None:  # another process has made the descriptor non-blocking, and it is full
            raise _cannot_write(errno.EAGAIN)
        return written


def _cannot_write(number: int) -> MpengineError:
    drop_output()
    return MpengineError(f"cannot write: {os.strerror(number)}")


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
    """Write one line to standard error, if that is possible, and then the lines in `more`, which are our own words."""
    write_error("".join(f"{line}\n" for line in (f"mpengine: {harmless(text)}", *map(harmless, more))))


def write_error(text: str) -> None:
    """Write `text` to standard error, if that is possible."""
    try:
        sys.stderr.write(text)
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def terminal_size() -> os.terminal_size:
    """The size of the terminal at standard output; 80 x 24 where it is unknown."""
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns = rows = 0
    return os.terminal_size((columns or _USUAL_SIZE.columns, rows or _USUAL_SIZE.lines))  # some terminals say 0
