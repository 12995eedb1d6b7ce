"""The tricks of starting by their names, and a switch for each, to measure what it brings.

The environment variable MPENGINE_WITHOUT lists the tricks that an engine does without, as in `zygote,give_back`. The
engine works all the same: it then starts more slowly or uses more memory. `scripts/bench tricks` measures each of them,
and the docstring of `mpengine.processes` has the figures.
"""

import enum
import functools
import os

from mpengine.shared.errors import ConfigError

VARIABLE = "MPENGINE_WITHOUT"


class Trick(enum.StrEnum):
    """What can be left out. The docstring of `mpengine.processes` says what each one does."""

    ZYGOTE = "zygote"
    PROC_TITLE = "proc_title"
    FREEZE = "freeze"
    GIVE_BACK = "give_back"
    SONAME = "soname"


def is_used(trick: Trick) -> bool:
    """Whether this process uses `trick`. Raises ConfigError for a word in the variable that is no trick."""
    return trick not in _left_out()


def named_in(text: str) -> frozenset[Trick]:
    """The tricks in a list with commas. Raises ConfigError for a word that is none."""
    words = {word.strip() for word in text.split(",")} - {""}
    if unknown := sorted(words - set(Trick)):
        raise ConfigError(VARIABLE, f"no trick is called {', '.join(unknown)}; there are {', '.join(Trick)}")
    return frozenset(map(Trick, words))


@functools.cache
def _left_out() -> frozenset[Trick]:
    return named_in(os.environ.get(VARIABLE, ""))
