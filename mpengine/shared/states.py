"""State machines with a table of allowed steps. A wrong step raises in tests only: it must not end an engine. Pure."""

import enum
from collections.abc import Mapping
from typing import TypeVar

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
