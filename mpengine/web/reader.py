"""One reader of Server-Sent Events: which entries of the hub it gets, and from which one on. Pure.

Finals and metrics have an id: nothing earlier comes after them any more. (A gap may come before an earlier final that
was lost on its way and asked for again.) The id is RUN:SEQ; where a reader follows several engines, it is NAME=RUN:SEQ
for each of them, with commas. A browser sends its last id when it connects again, and gets what came after it.
"""

import collections
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from mpengine.client.position import HOLE, Hole
from mpengine.shared.messages import FINALS, KEPT
from mpengine.web.hub import PRESENCE, Entry, Hub, View, with_engine

BEHIND_BYTES = 1 << 20
"""A reader that is so far behind what was published is dropped."""
HELLO = "hello"
_LONGEST_ID = 4096
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MARK = re.compile(rf"(?:([A-Za-z0-9_-]{{1,32}})=)?({_RUN.pattern}):([0-9]{{1,19}})")
# A new reader gets the last message of each of these topics, in this order.
_STATE = (PRESENCE, "status", "level", "metrics")


class Position(NamedTuple):
    """A reader has all of `run` up to the message `seq`."""

    run: str
    seq: int


class Wish(NamedTuple):
    """What a reader wants: messages of which engines, of which topics (prefixes), and at most how many earlier finals.

    `positions`: up to where it has each engine's messages.
    """

    engines: tuple[str, ...]
    topics: tuple[str, ...] = ("",)
    history: int | None = None
    positions: Mapping[str, Position] = {}


def positions_in(text: str, engines: tuple[str, ...]) -> dict[str, Position]:
    """The positions in an id; none for an engine that it does not name, and for text that is no id."""
    found: dict[str, Position] = {}
    for part in text.split(",") if len(text) <= _LONGEST_ID else ():
        mark = _MARK.fullmatch(part)
        if mark is None:
            continue
        name = mark[1] or (engines[0] if len(engines) == 1 else "")
        if name in engines:
            found[name] = Position(mark[2], int(mark[3]))
    return found


class Reader:
    """Makes events of all that one reader has not got yet."""

    def __init__(self, hub: Hub, wish: Wish, *, now_ns: int) -> None:
        """`now_ns` is told to the reader, whose own clock may differ."""
        self._hub, self._wish = hub, wish
        self._positions = dict(wish.positions)
        self._had = dict(wish.positions)  # with these it came
        self._unmet = set(wish.positions)  # engines of which nothing has shown yet whether that run goes on
        self._waiting: collections.deque[Entry | bytes] = collections.deque()
        self._waiting.append(_own(type=HELLO, now_ns=now_ns, engines=wish.engines))
        views = [hub.views[name] for name in wish.engines]
        history = [entry for view in views for entry in self._history(view)]
        history.sort(key=lambda entry: entry.number)
        self._waiting += history
        for view in views:
            if PRESENCE not in view.last:
                self._waiting.append(_own(engine=view.name, type=PRESENCE, is_heard=False))
            now = [*(view.last[topic] for topic in _STATE if topic in view.last), *view.interims]
            self._waiting += (_event(entry.data) for entry in now if self._wants(entry))
        self._next, self._taken_bytes = hub.end, hub.end_bytes

    @property
    def behind_bytes(self) -> int:
        """How much was published that this reader has not taken."""
        return self._hub.end_bytes - self._taken_bytes

    @property
    def is_lost(self) -> bool:
        """Whether it is too far behind."""
        return self.behind_bytes > BEHIND_BYTES

    def take(self, most_bytes: int) -> bytes:
        """The next events, up to `most_bytes` and the rest of one; empty if there are none. Not for a lost reader."""
        pieces: list[bytes] = []
        size = 0
        for entry in self._entries():
            piece = entry if isinstance(entry, bytes) else self._frame(entry)
            if piece:
                pieces.append(piece)
                size += len(piece)
            if size >= most_bytes:
                break
        return b"".join(pieces)

    def _entries(self) -> Iterator[Entry | bytes]:
        while self._waiting:
            yield self._waiting.popleft()
        for entry in self._hub.after(self._next):
            self._next, self._taken_bytes = entry.number + 1, entry.end_bytes
            yield entry

    def _history(self, view: View) -> list[Entry]:
        """What is kept of an engine, from the first entry that the reader wants."""
        kept = view.kept
        known = self._had.get(view.name)
        if known is None:
            return kept if self._wish.history is None else _with_last_finals(kept, self._wish.history)
        if view.run == known.run or any(entry.run == known.run for entry in kept):
            self._unmet.discard(view.name)
        place = len(kept)
        while place and not _is_known(kept[place - 1], known):
            place -= 1
        if not place:  # all that is kept of the run, and of those after it
            place = next((number for number, entry in enumerate(kept) if entry.run == known.run), 0)
        return kept[place:]

    def _wants(self, entry: Entry) -> bool:
        if entry.engine not in self._wish.engines:
            return False
        return entry.topic in {HOLE, PRESENCE} or entry.topic.startswith(self._wish.topics)

    def _frame(self, entry: Entry) -> bytes:
        """The events for `entry`: none, itself, or a hole before it."""
        if not self._wants(entry):
            return b""
        name, topic = entry.engine, entry.topic
        had = self._had.get(name)
        if had is not None and entry.run == had.run and 0 < entry.seq <= had.seq and topic in (*KEPT, HOLE):
            self._unmet.discard(name)
            return b""
        hole = self._hole_before(entry)
        known = self._positions.get(name)
        is_ahead = entry.seq > 0 and (known is None or known.run != entry.run or entry.seq > known.seq)
        if not is_ahead or topic not in {FINALS, "metrics", HOLE} or not _RUN.fullmatch(entry.run):
            return hole + _event(entry.data)
        self._positions[name] = Position(entry.run, entry.seq)
        return hole + _event(entry.data, "" if topic == HOLE else self._id())

    def _hole_before(self, entry: Entry) -> bytes:
        """What the reader has missed before `entry` and cannot get any more, as an event."""
        known = self._positions.get(entry.engine)
        if known is None or not entry.run:
            return b""
        last: int | None
        if entry.run == known.run:
            is_missing, last = entry.topic == FINALS and entry.prev > known.seq, entry.prev
        else:
            is_missing, last = entry.engine in self._unmet, None
        self._unmet.discard(entry.engine)
        if not is_missing:
            return b""
        hole = Hole(topic=FINALS, run=known.run, first_seq=known.seq + 1, last_seq=last)
        return _event(with_engine(entry.engine, msgspec.json.encode(hole)))

    def _id(self) -> str:
        if len(self._wish.engines) == 1:
            return "".join(f"{run}:{seq}" for run, seq in self._positions.values())
        return ",".join(f"{name}={run}:{seq}" for name, (run, seq) in sorted(self._positions.items()))


def _is_known(entry: Entry, known: Position) -> bool:
    """Whether `entry` is a final up to `known`: then the reader has all before it."""
    return entry.topic == FINALS and entry.run == known.run and entry.seq <= known.seq


def _with_last_finals(kept: list[Entry], count: int) -> list[Entry]:
    """The last `count` finals, and all that stands between and behind them."""
    if not count:
        return []
    for place in range(len(kept) - 1, -1, -1):
        count -= kept[place].topic == FINALS
        if not count:
            return kept[place:]
    return kept


def _own(**fields: Any) -> bytes:
    """An event that is no message of an engine."""
    return _event(msgspec.json.encode(fields))


def _event(data: bytes, event_id: str = "") -> bytes:
    mark = f"id: {event_id}\n".encode() if event_id else b""
    return b"%sdata: %s\n\n" % (mark, data)
