"""The packages of the extras: a command that misses one says how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mpengine.shared.errors import MpengineError, install


def missing(package: str, extra: str, more: str = "") -> MpengineError:
    """The error for a `package` of `extra` that is not installed, with `more` behind its text."""
    return MpengineError(f"{package} is not installed; {install(extra)} installs it{more}")


@contextmanager
def needed(extra: str, more: str = "") -> Iterator[None]:
    """For a block that imports packages of `extra`. Raises `missing` for one that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = error.name or ""
        if package.startswith("mpengine"):
            raise
        raise missing(package, extra, more) from None
