"""One engine's messages that wait to be sent or are on their way: in order and bounded. Pure.

put ──> waiting ──sent──> in flight ──acknowledged──> done, when all before it are done, too
^                  │
└──connection lost─┘
"""

import collections
import enum
from dataclasses import dataclass

from mpengine.relay.position import MARK, Entry, Position, lost

MOST_BYTES = 1 << 20
"""A fuller outbox takes nothing more from the subscriber: the rest waits in the engine's history."""
_MOST_ENTRIES = 5000
_STATE = "status"


class Stage(enum.Enum):
    """Where an entry is."""

    WAITING = 1
    IN_FLIGHT = 2
    DONE = 3


@dataclass(slots=True, eq=False)
class Slot:
    """An entry on its way."""

    entry: Entry
    stage: Stage


class Outbox:
    """The entries of one engine. `position`: what the broker has; None until somebody has said it."""

    def __init__(self, position: Position | None, *, window: int) -> None:
        """`window`: how many are in flight at most."""
        self.position = position
        self._window = window
        self._slots: collections.deque[Slot] = collections.deque()
        self._bytes = 0
        self._in_flight = 0
        self.sent = 0
        """How many the broker has acknowledged."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be put in for now."""
        return self._bytes >= MOST_BYTES or len(self._slots) >= _MOST_ENTRIES

    @property
    def is_empty(self) -> bool:
        """Whether the broker has all."""
        return not self._slots

    def put(self, entry: Entry) -> None:
        """Take the part of `entry` that the broker has not got."""
        rest = entry if self.position is None else self.position.rest(entry)
        if rest is None:
            return
        self._slots.append(Slot(rest, Stage.DONE if rest.topic == MARK else Stage.WAITING))
        self._bytes += len(rest.body)
        self._settle()

    def next(self) -> Slot | None:
        """The first entry to send; None when there is none, or the window is full."""
        if self._in_flight >= self._window:
            return None
        return next((slot for slot in self._slots if slot.stage is Stage.WAITING), None)

    def note_sent(self, slot: Slot) -> None:
        """Note that `slot` is on its way."""
        slot.stage = Stage.IN_FLIGHT
        self._in_flight += 1

    def note_done(self, slot: Slot) -> None:
        """Note that the broker has `slot`."""
        if slot.stage is Stage.IN_FLIGHT:
            self._in_flight -= 1
        slot.stage = Stage.DONE
        self.sent += 1
        self._settle()

    def replace_by_hole(self, slot: Slot) -> None:
        """Put a hole in the place of a message that the broker will never take. A hole in that place is dropped."""
        if slot.stage is Stage.IN_FLIGHT:
            self._in_flight -= 1
        slot.stage = Stage.WAITING
        if slot.entry.hole is not None:
            slot.stage = Stage.DONE
            self._settle()
            return
        self._bytes -= len(slot.entry.body)
        slot.entry = lost(slot.entry)
        self._bytes += len(slot.entry.body)

    def disconnect(self) -> None:
        """The connection is lost: what was on its way is to be sent again."""
        self._in_flight = 0
        for slot in self._slots:
            if slot.stage is Stage.IN_FLIGHT:
                slot.stage = Stage.WAITING

    def meet(self, stored: Position) -> None:
        """Leave out what the broker's stream has already, as it says itself. Nothing may be in flight."""
        self.position = position = stored if self.position is None else self.position.joined(stored)
        slots, self._slots, self._bytes = self._slots, collections.deque(), 0
        # The stream has some of `run`: so it has all that stood before.
        first = next((place for place, slot in enumerate(slots) if self._is_of(slot, stored)), 0)
        for place, slot in enumerate(slots):
            rest = position.rest(slot.entry)
            if rest is None or (place < first and slot.entry.run != stored.run):
                continue
            slot.entry = rest
            self._slots.append(slot)
            self._bytes += len(rest.body)
        self._settle()

    @staticmethod
    def _is_of(slot: Slot, stored: Position) -> bool:
        return bool(stored.run) and slot.entry.run == stored.run and slot.entry.topic != _STATE

    def _settle(self) -> None:
        while self._slots and self._slots[0].stage is Stage.DONE:
            slot = self._slots.popleft()
            self._bytes -= len(slot.entry.body)
            self.position = (self.position or Position()).after(slot.entry)
