"""The names of the tricks of starting, a switch for each, and those that are one function.

The environment variable MPENGINE_WITHOUT lists the tricks that an engine does without, as in `zygote,give_back`. The
engine then starts more slowly or uses more memory. `scripts/bench tricks` measures each trick, and the docstring of
`mpengine.processes` has the figures.
"""

import ctypes
import enum
import functools
import gc
import os
import sys

from mpengine.shared.errors import ConfigError

VARIABLE = "MPENGINE_WITHOUT"
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 64 << 10  # mallopt(3)


class Trick(enum.StrEnum):
    """A trick that can be left out. The docstring of `mpengine.processes` explains each one."""

    ZYGOTE = "zygote"
    PROC_TITLE = "proc_title"
    FREEZE = "freeze"
    GIVE_BACK = "give_back"
    SONAME = "soname"


def is_used(trick: Trick) -> bool:
    """Whether this process uses `trick`. Raises ConfigError for an unknown word in the variable."""
    return trick not in _left_out()


def named_in(text: str) -> frozenset[Trick]:
    """The tricks in a list with commas. Raises ConfigError for an unknown word."""
    words = {word.strip() for word in text.split(",")} - {""}
    if unknown := sorted(words - set(Trick)):
        raise ConfigError(VARIABLE, f"no trick is called {', '.join(unknown)}; there are {', '.join(Trick)}")
    return frozenset(map(Trick, words))


@functools.cache
def _left_out() -> frozenset[Trick]:
    return named_in(os.environ.get(VARIABLE, ""))


def settle() -> None:
    """Prepare for a fork: the garbage collector never looks again at the objects that exist now.

    After a fork, processes share a page of memory until one of them writes to it, and the collector writes marks into
    objects.
    """
    gc.collect()
    give_back()
    if is_used(Trick.FREEZE):
        gc.freeze()


def map_large_blocks() -> None:
    """From now on a block of 64 KiB or more goes back to the system as soon as it is freed.

    By itself the C library raises this bound to the largest block that was freed so far, up to 32 MB.
    """
    if sys.platform == "linux" and is_used(Trick.GIVE_BACK):
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Give freed memory back to the system: a start frees a lot of it."""
    if sys.platform == "linux" and is_used(Trick.GIVE_BACK):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
