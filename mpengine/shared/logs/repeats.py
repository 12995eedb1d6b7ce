"""Repeated warnings and errors: the first is written at once, those after it are counted for a while. Pure.

A warning that comes every second for months must not fill a disk, and must not look like one that came once. Nor must
one that comes in ever new words: of one event, only so many kinds are told apart within that while.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Due(NamedTuple, Generic[T]):
    """A line to write now. `repeated`: how many of its kind came since the last written one and are not written."""

    line: T
    repeated: int


class _Kept(Generic[T]):
    """One kind of line. `held`: how many came since the time `written`; `last`: the last one."""

    __slots__ = ("event", "held", "last", "written")

    def __init__(self, event: Hashable, last: T, written: float) -> None:
        self.event = event
        self.last = last
        self.written = written
        self.held = 0

    def release(self, now: float) -> list[Due[T]]:
        """The last line that is held back, if any, to be written now."""
        if not self.held:
            return []
        due = Due(self.last, self.held - 1)
        self.held, self.written = 0, now
        return [due]


class _Others(NamedTuple):
    """The kind of all lines of `event` beyond those that are told apart."""

    event: Hashable


class Repeats(Generic[T]):
    """Lets through one line of a kind per `quiet_s`; remembers at most `limit` kinds.

    Lines with equal keys are of one kind. Of one event there are at most `kinds` at a time: all further lines of that
    event are one kind more. The last line that was held back is written in the end, with the number of
    the others: with the next written line of its kind, by `rest`, or when any line comes after `quiet_s`.
    """

    def __init__(self, *, quiet_s: float = 60.0, limit: int = 100, kinds: int = 20) -> None:
        self._quiet_s = quiet_s
        self._most_kinds = kinds
        self._limit = limit
        self._kinds: dict[Hashable, _Kept[T]] = {}

    def came(self, key: Hashable, line: T, now: float, *, event: Hashable = None) -> list[Due[T]]:
        """The lines to write now that `line` of `event` has come, in order."""
        own = self._kinds.get(key)
        if own is None and self._is_full(event, now):
            key = _Others(event)
            own = self._kinds.get(key)
        if own is not None and now < own.written + self._quiet_s:
            own.last = line
            own.held += 1
            return self.overdue(now)
        held = self._kinds.pop(key).held if own is not None else 0
        due = self.overdue(now)
        if len(self._kinds) >= self._limit:
            oldest = self._kinds.pop(min(self._kinds, key=lambda kind: self._kinds[kind].written))
            due += oldest.release(now)
        self._kinds[key] = _Kept(event, line, now)
        return [*due, Due(line, held)]

    def rest(self, now: float) -> list[Due[T]]:
        """All lines that are held back, to be written now: before the end, or before one that must follow them."""
        return [due for kept in self._kinds.values() for due in kept.release(now)]

    def _is_full(self, event: Hashable, now: float) -> bool:
        """Whether `event` has had as many kinds as may be told apart."""
        latest = [kept.written for kept in self._kinds.values() if kept.event == event]
        return event is not None and sum(now < written + self._quiet_s for written in latest) >= self._most_kinds

    def overdue(self, now: float) -> list[Due[T]]:
        """The lines that were held back for `quiet_s`. Kinds without held lines are forgotten then."""
        due: list[Due[T]] = []
        for key, kept in list(self._kinds.items()):
            if now >= kept.written + self._quiet_s:
                if not kept.held:
                    del self._kinds[key]
                due += kept.release(now)
        return due
