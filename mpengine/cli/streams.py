"""The standard descriptors, whatever the shell left of them."""

import os
import sys
from io import TextIOWrapper


def ensure_standard_streams() -> None:
    """Open what is closed of descriptors 0, 1 and 2 on /dev/null; nothing that is printed raises for its letters.

    Otherwise the next sockets and files would get these numbers, and be written to by every child and C library
    that means standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)
    # Python has None for a stream that was closed when it started.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def write_bytes(data: bytes) -> None:
    """Put `data` on standard output as it is, at once: JSON is UTF-8 in every locale."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
