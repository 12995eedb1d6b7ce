"""A deadline for calls that may hang: files on a disk that is away, and libraries."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class _Call(threading.Thread, Generic[_Result]):
    """The thread of one call. It owns nothing else, and is left behind where it hangs."""

    def __init__(self, call: Callable[[], _Result]) -> None:
        super().__init__(name="check", daemon=True)
        self._call = call
        self.results: list[_Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make the call."""
        try:
            self.results.append(self._call())
        except BaseException as error:  # noqa: BLE001  `within` raises it
            self.error = error


def within(limit_s: float, call: Callable[[], _Result]) -> _Result:
    """The result of `call`, in a thread of its own. Raises its exceptions, and TimeoutError after `limit_s`."""
    thread = _Call(call)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {limit_s:g} s")
    if thread.error is not None:
        raise thread.error
    return thread.results[0]
