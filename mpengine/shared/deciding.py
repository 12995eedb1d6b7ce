"""What modules that decide have in common: a deadline that never comes, backoff, tables of allowed steps. Pure."""

import enum
from collections.abc import Mapping
from typing import TypeVar

NEVER = float("inf")


def full_jitter_s(attempt: int, *, base_s: float, ceiling_s: float, chance: float) -> float:
    """Seconds before try `attempt` + 1, after `attempt` (counted from 1) failed.

    `chance` is a random number in [0, 1): the wait is that share of ``min(ceiling_s, base_s * 2 ** (attempt - 1))``.
    It is called "full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    # The exponent is capped: after a month of tries 2 ** attempt would not fit a float.
    return chance * min(ceiling_s, base_s * 2.0 ** min(attempt - 1, 60))


# Steps of a state machine. A wrong one raises in tests only: it must not end an engine.

State = TypeVar("State", bound=enum.Enum)

STRICT = False
"""Whether an impossible step raises. Tests set this; a working engine goes on."""


class ImpossibleError(Exception):
    """A step or an event that cannot be."""


def follows(table: Mapping[State, frozenset[State]], before: State, after: State) -> State:
    """Return `after`. In tests, raises ImpossibleError where `table` does not allow it after `before`."""
    if STRICT and after not in table[before]:
        raise ImpossibleError(f"{before.name} -> {after.name}")
    return after


def impossible(what: str) -> None:
    """Call this for an event that cannot come; `what` names it. Raises ImpossibleError in tests."""
    if STRICT:
        raise ImpossibleError(what)
