"""The descriptors of this process: as many as the system allows, and some in reserve for new children.

The main thread owns the reserve.
"""

import contextlib
import os
from collections.abc import Iterator

from mpengine.shared import descriptor_limit
from mpengine.shared.errors import MpengineError

_LEAST = 64
# A new child takes a pipe, a pidfd, a few for a zygote, and some for a moment.
_RESERVED = 12


def raise_limit() -> int:
    """Allow this process, and those that it starts, as many descriptors as the system does. Returns the number.

    Raises MpengineError when an engine cannot work with so few.
    """
    most = descriptor_limit.raised()
    if most < _LEAST:
        raise MpengineError(
            f"the system allows {most} descriptors, and an engine needs {_LEAST}: raise the limit "
            "(`ulimit -n`, or LimitNOFILE= in a unit)"
        )
    return most


def most_clients(most: int) -> int:
    """How many programs may be connected to one endpoint, of a process that may have `most` descriptors."""
    return max(1, most // 8)


class Reserve:
    """Descriptors that nobody else in this process can take."""

    def __init__(self, most: int) -> None:
        """`most`: how many descriptors this process may have; of few, few are kept back."""
        self._size = min(_RESERVED, most // 20)
        self._held: list[int] = []
        self._fill()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Inside, they are free to use."""
        self.close()
        try:
            yield
        finally:
            self._fill()

    def close(self) -> None:
        """Give them up."""
        while self._held:
            os.close(self._held.pop())

    def _fill(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._held) < self._size:
                self._held.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
