"""Which faults are news: the first is written at once, those like it are counted for a while. Pure.

A fault that comes back a second later for months must not fill a disk, and must not look like one that came once.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Due(NamedTuple, Generic[T]):
    """What to write now. `repeated`: how many like it came since the last one written, and never will be written."""

    what: T
    repeated: int


class _Kept(Generic[T]):
    """One kind of fault. `held`: how many came since `written`, the last of them being `last`."""

    __slots__ = ("held", "last", "written")

    def __init__(self, last: T, written: float) -> None:
        self.last = last
        self.written = written
        self.held = 0

    def told(self, now: float) -> list[Due[T]]:
        """What is held back, if anything, to be written now."""
        if not self.held:
            return []
        due = Due(self.last, self.held - 1)
        self.held, self.written = 0, now
        return [due]


class Repeats(Generic[T]):
    """At most one of a kind in `quiet_s`; remembers at most `limit` kinds.

    Equal keys are one kind. Of those that were held back, the last one is written in the end, with the number of the
    others: by the next of its kind that is written, or by `rest`, or when another comes after its `quiet_s`.
    """

    def __init__(self, *, quiet_s: float = 60.0, limit: int = 100) -> None:
        self._quiet_s = quiet_s
        self._limit = limit
        self._kinds: dict[Hashable, _Kept[T]] = {}

    def came(self, key: Hashable, what: T, now: float) -> list[Due[T]]:
        """What to write, in order, now that `what` has come."""
        own = self._kinds.get(key)
        if own is not None and now < own.written + self._quiet_s:
            own.last = what
            own.held += 1
            return self._overdue(now)
        held = self._kinds.pop(key).held if own is not None else 0
        due = self._overdue(now)
        if len(self._kinds) >= self._limit:
            oldest = self._kinds.pop(min(self._kinds, key=lambda kind: self._kinds[kind].written))
            due += oldest.told(now)
        self._kinds[key] = _Kept(what, now)
        return [*due, Due(what, held)]

    def rest(self, now: float) -> list[Due[T]]:
        """What is held back, to be written now: the end has come, or a line that belongs behind it."""
        return [due for kept in self._kinds.values() for due in kept.told(now)]

    def _overdue(self, now: float) -> list[Due[T]]:
        """What was held back for long enough. Kinds of which nothing is held back are forgotten then."""
        due: list[Due[T]] = []
        for key, kept in list(self._kinds.items()):
            if now >= kept.written + self._quiet_s:
                if not kept.held:
                    del self._kinds[key]
                due += kept.told(now)
        return due
