"""What a broker has of an engine: the last `seq` of each topic. It shows what the broker still needs. Pure.

Each topic is counted by itself: a gap that was lost on its way and asked for again may come behind a final with a
higher `seq`. Metrics come when nothing before them is missing any more. So a restarted relay asks the engine to go on
behind `through`, the `seq` of the last metrics, and `topics` says which messages it then gets for the second time.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from mpengine.client.position import HOLE, Hole, Received, read, read_kept
from mpengine.shared.messages import FINALS, KEPT, OVER

MARK = "metrics"
"""The topic of entries that are not sent."""
TOPICS = (FINALS, "gap", "error", "status")
"""What is sent, beside holes."""


class Entry(NamedTuple):
    """A message or a hole of an engine. A message has a `seq`, a status has a `state`."""

    topic: str
    run: str
    body: bytes
    seq: int = 0
    hole: Hole | None = None
    state: str = ""

    @property
    def key(self) -> str:
        """It tells the engine's messages apart, and is the same in every process."""
        if self.hole is None:
            return f"{self.run}:{self.seq}"
        last = "" if self.hole.last_seq is None else self.hole.last_seq
        return f"{self.run}:{self.hole.first_seq}-{last}:{self.hole.topic}"


def entry_of(received: Received) -> Entry | None:
    """What came from a Subscriber; None for what is not relayed."""
    if received.hole is not None:
        return hole_entry(received.hole)
    if received.topic not in (*TOPICS, MARK):
        return None
    return message_entry(received.topic, received.body)


def message_entry(topic: str, body: bytes) -> Entry | None:
    """A message; None for bytes without a place in a run."""
    item = read(topic, body)
    if not item.stamp.seq or not item.stamp.run:
        return None
    return Entry(topic, item.stamp.run, body, seq=item.stamp.seq, state=item.state)


def hole_entry(hole: Hole) -> Entry:
    """A hole."""
    return Entry(HOLE, hole.run, msgspec.json.encode(hole), hole=hole)


def lost(entry: Entry) -> Entry:
    """The hole that stands for a message which cannot be sent."""
    return hole_entry(Hole(topic=entry.topic, run=entry.run, first_seq=entry.seq, last_seq=entry.seq))


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker has of `run`, the last one of which it has anything.

    `topics`: the last `seq` of each topic. `through`: nothing before this `seq` can come any more. `over`: the `seq` of
    the engine's last status, once the engine has stopped; else 0. `ended`: topics whose end was told as a hole.
    """

    run: str = ""
    through: int = 0
    topics: dict[str, int] = {}
    over: int = 0
    ended: tuple[str, ...] = ()

    @property
    def since(self) -> tuple[str, int] | None:
        """Where to ask the engine to go on; None: with all that it has."""
        return (self.run, self.through) if self.run else None

    def rest(self, entry: Entry) -> Entry | None:
        """The part of `entry` that the broker has not got; None if it has all of it."""
        if entry.run != self.run:
            return entry
        if entry.hole is not None:
            return self._rest_of_hole(entry.hole)
        through = self.through if entry.topic == MARK else self.topics.get(entry.topic, 0)
        return entry if entry.seq > through else None

    def after(self, entry: Entry) -> "Position":
        """The position when the broker has `entry`, too."""
        if entry.run != self.run:
            return Position(run=entry.run).after(entry)
        if entry.hole is not None:
            topic, last = entry.hole.topic, entry.hole.last_seq
            if last is None:
                return _with(self, ended=(*self.ended, topic))
            return _with(self, topics={**self.topics, topic: max(last, self.topics.get(topic, 0))})
        if entry.topic == MARK:
            return _with(self, through=max(self.through, entry.seq))
        topics = {**self.topics, entry.topic: max(entry.seq, self.topics.get(entry.topic, 0))}
        if entry.topic == "status":
            return _with(self, topics=topics, over=entry.seq if entry.state in OVER else 0, ended=())
        return _with(self, topics=topics)

    def joined(self, other: "Position") -> "Position":
        """This one and what `other` knows beyond it; `other` alone where that is of another run."""
        if other.run != self.run:
            return other if other.run else self
        topics = {topic: max(self.topics.get(topic, 0), seq) for topic, seq in other.topics.items()}
        newer = other if other.topics.get("status", 0) > self.topics.get("status", 0) else self
        return Position(
            run=self.run,
            through=max(self.through, other.through),
            topics={**self.topics, **topics},
            over=newer.over,
            ended=newer.ended,
        )

    def _rest_of_hole(self, hole: Hole) -> Entry | None:
        first = max(hole.first_seq, self.topics.get(hole.topic, 0) + 1)
        if hole.last_seq is None:
            # Behind its last status an engine publishes metrics alone, before it at most those.
            is_whole = bool(self.over) and self.through >= self.over - 1
            if is_whole or hole.topic in self.ended:
                return None
        elif first > hole.last_seq:
            return None
        return hole_entry(msgspec.structs.replace(hole, first_seq=first))


def position_of(stored: Iterable[tuple[int, Entry]]) -> Position:
    """The position that the last messages of an engine's subjects show. Each has its place in the stream."""
    ordered = [entry for _, entry in sorted(stored, key=lambda pair: pair[0])]
    position = Position(run=ordered[-1].run) if ordered else Position()
    for entry in ordered:
        if entry.run == position.run:
            position = position.after(entry)
    return position


def _with(position: Position, **fields: object) -> Position:
    return msgspec.structs.replace(position, **fields)


def filled(hole: Hole, lines: Iterable[bytes]) -> Iterator[Entry]:
    """What to send for `hole`. `lines` are those of the engine's transcript file, the oldest first.

    It is the messages that the file has, in order, and holes for those that it shows to be missing. `prev` of a message
    is the `seq` of the one before it. It is 0 in a supervisor's first message: of the supervisor before, the file has
    all.
    """
    expected, is_known = hole.first_seq, False
    for line in lines:
        entry = _line(line)
        if entry is None or entry[0].run != hole.run or entry[0].topic != hole.topic:
            continue
        message, prev = entry
        if message.seq < expected:
            is_known = True
            continue
        if hole.last_seq is not None and message.seq > hole.last_seq:
            is_known = True
            break
        if prev >= expected:
            yield hole_entry(msgspec.structs.replace(hole, first_seq=expected, last_seq=prev))
        yield message
        expected, is_known = message.seq + 1, True
    if hole.last_seq is None:
        if not is_known:
            yield hole_entry(hole)
    elif expected <= hole.last_seq:
        yield hole_entry(msgspec.structs.replace(hole, first_seq=expected))


def _line(line: bytes) -> tuple[Entry, int] | None:
    item = read_kept(line)
    if not item.stamp.seq or item.topic not in KEPT:
        return None
    return Entry(item.topic, item.stamp.run, line, seq=item.stamp.seq), item.stamp.prev
