"""The standard descriptors, whatever the shell left of them, and whatever becomes of them."""

import errno
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

from mpengine.shared.errors import MpengineError
from mpengine.shared.text import harmless

_USUAL_SIZE = os.terminal_size((80, 24))


def ensure_standard_streams() -> None:
    """Open what is closed of descriptors 0, 1 and 2 on /dev/null; nothing that is printed raises for its letters.

    Otherwise the next sockets and files would get these numbers, and be written to by every child and C library
    that means standard error. From now on `sys.stdout` fails as `_Output` does.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)
    # Python has None for a stream that was closed when it started.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if sys.stdout is sys.__stdout__:  # and nobody else's
        sys.stdout = TextIOWrapper(
            BufferedWriter(_Output(1, "w", closefd=False)),
            encoding=sys.stdout.encoding if sys.stdout else None,
            errors="replace",
            line_buffering=os.isatty(1),
        )


class _Output(FileIO):
    """Standard output. What cannot be written raises BrokenPipeError when its reader has gone, else MpengineError.

    What is written after that goes nowhere.
    """

    def write(self, data: Any, /) -> int:
        """Write as much of `data` as goes in at once."""
        try:
            written: int | None = super().write(data)
        except BrokenPipeError:
            drop_output()
            raise
        except OSError as error:
            raise _cannot_write(error.errno or errno.EIO) from None
        if written is None:  # somebody has made the descriptor non-blocking, and it is full
            raise _cannot_write(errno.EAGAIN)
        return written


def _cannot_write(number: int) -> MpengineError:
    drop_output()
    return MpengineError(f"cannot write: {os.strerror(number)}")


def write_text(text: str) -> None:
    """Put `text` on standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Put `data` on standard output as it is, at once: JSON is UTF-8 in every locale."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def drop_output() -> None:
    """Let all output go nowhere from now on: Python writes what is left at its end, and would fail or block there."""
    _drop(sys.stdout)


def complain(text: str) -> None:
    """One line on standard error; nothing if that cannot be written either."""
    try:
        sys.stderr.write(f"mpengine: {harmless(text)}\n")
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def terminal_size() -> os.terminal_size:
    """Of the terminal that is standard output."""
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns = rows = 0
    return os.terminal_size((columns or _USUAL_SIZE.columns, rows or _USUAL_SIZE.lines))  # some do not know
