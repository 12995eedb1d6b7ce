"""The states of a machine, and which may follow which: a mistake of ours shows in a test, and ends no engine. Pure."""

import enum
from collections.abc import Mapping
from typing import TypeVar

State = TypeVar("State", bound=enum.Enum)

STRICT = False
"""Whether an impossible step raises. Tests set it; an engine that hears words goes on."""


class ImpossibleError(Exception):
    """A step that no table allows."""


def follows(table: Mapping[State, frozenset[State]], before: State, after: State) -> State:
    """`after`. Raises ImpossibleError in tests where `table` does not have it among the states that follow `before`."""
    if STRICT and after not in table[before]:
        raise ImpossibleError(f"{before.name} -> {after.name}")
    return after


def impossible(what: str) -> None:
    """An event came that cannot come. Raises ImpossibleError in tests."""
    if STRICT:
        raise ImpossibleError(what)
