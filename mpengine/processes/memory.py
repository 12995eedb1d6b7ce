"""Memory that processes share after a fork, and how to keep it so; and memory that goes back to the system.

A page is shared until one of them writes to it. Reference counts are written with every use, there is no help against
that; but the collector's marks need not be.
"""

import ctypes
import gc
import sys

from mpengine.processes import tricks
from mpengine.processes.tricks import Trick


def settle() -> None:
    """To be called before a fork: what is there now stays, and the collector never looks at it again."""
    gc.collect()
    give_back()
    if tricks.is_used(Trick.FREEZE):
        gc.freeze()


def give_back() -> None:
    """Give the system what was allocated once and is free now: starting leaves a lot of it behind."""
    if sys.platform == "linux" and tricks.is_used(Trick.GIVE_BACK):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
