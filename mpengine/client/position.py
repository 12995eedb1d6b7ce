"""The messages that a subscriber gets, and its position in a run: the last `seq` of each topic that it has got. Pure.

Finals, gaps, errors and the recogniser's notes count one by one: a missing one is reported as a `Hole`. Of interims,
status, level and metrics each message replaces the one before it, so that the next one makes up for a loss.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from mpengine.shared.messages import KEPT, OVER, TOPICS, UNREADABLE, Published, Stamp, Topic, read_stamp

_UNKNOWN = Topic()
HOLE = "hole"
"""The topic of holes. No engine publishes it."""


class Hole(msgspec.Struct, tag_field="type", tag="hole", frozen=True, kw_only=True):
    """Messages of `topic` are missing and cannot be had any more: some of those from `first_seq` to `last_seq`.

    `last_seq` is None where it is unknown: the run, or its supervisor, has ended, and its last messages did not come.
    """

    topic: str
    run: str
    first_seq: int
    last_seq: int | None = None


class Received(NamedTuple):
    """A message of `topic` (without the engine's name) as it came, or a `hole` as JSON. `name` is the engine's."""

    name: str
    topic: str
    body: bytes
    hole: Hole | None = None

    @property
    def message(self) -> Published | Hole | None:
        """The message or hole; None for a message of an unknown type, and for bytes that are no message."""
        return self.hole or decode(self.body)


def loss(name: str, hole: Hole) -> Received:
    """`hole` as it is handed to the user of a Subscriber, with JSON of its own."""
    return Received(name, HOLE, msgspec.json.encode(hole), hole)


def decode(body: bytes) -> Published | None:
    """The message in `body`; None for a message of an unknown type, and for bytes that are no message."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None


class Deliver(NamedTuple):
    """Hand a message to the user."""

    topic: str
    body: bytes


class Report(NamedTuple):
    """Report a hole to the user."""

    hole: Hole


class _Metrics(msgspec.Struct):
    last: dict[str, int] = {}


class _Status(msgspec.Struct):
    state: str = ""


class Item(NamedTuple):
    """A message with the fields that a position needs. `last`: of metrics, its topics without the engine's name."""

    topic: str
    body: bytes
    stamp: Stamp
    last: Mapping[str, int] = {}
    state: str = ""


_decoder: msgspec.json.Decoder[Published] = msgspec.json.Decoder(Published)
_read_metrics = msgspec.json.Decoder(_Metrics).decode
_read_status = msgspec.json.Decoder(_Status).decode


def read(topic: str, body: bytes) -> Item:
    """`body` as an item. Bytes that are no message get an empty stamp, and are delivered as they came."""
    try:
        stamp = read_stamp(body)
        if topic == "metrics":
            last = {key.partition(".")[2]: seq for key, seq in _read_metrics(body).last.items()}
            return Item(topic, body, stamp, last=last)
        return Item(topic, body, stamp, state=_read_status(body).state if topic == "status" else "")
    except UNREADABLE:
        return Item(topic, body, Stamp())


def read_kept(body: bytes) -> Item:
    """A message of a snapshot, which does not name the topic."""
    item = read("", body)
    return item._replace(topic=item.stamp.topic)


class Known:
    """The position in one run."""

    def __init__(self, wants: Callable[[str], bool], *, can_fill: bool) -> None:
        """`wants`: whether the user wants a topic. `can_fill`: whether the engine can be asked for lost messages."""
        self.run = ""
        self.followed = tuple(topic for topic in KEPT if wants(topic))
        self._wants = wants
        self._can_fill = can_fill
        self._through: dict[str, int] = {}  # a topic that is not in it begins with its next message

    def begin(self, run: str, through: int | None) -> None:
        """Begin `run` after the message `through`; with None, each topic with its next message."""
        self.run = run
        self._through = {} if through is None else dict.fromkeys(self.followed, through)

    def adopt(self, seq: int) -> None:
        """Begin each topic that has not begun yet after the message `seq`."""
        for topic in self.followed:
            self._through.setdefault(topic, seq)

    def is_beyond(self, seq: int) -> bool:
        """Whether the position is after `seq`, the last message of the engine: then it is of another engine."""
        return any(through > seq for through in self._through.values())

    @property
    def since(self) -> int:
        """The `seq` after which messages may be missing."""
        return min((self._through.get(topic, 0) for topic in self.followed), default=0)

    def lacks(self, item: Item) -> bool:
        """Whether `item` shows that an earlier message is missing which can be asked for."""
        if item.topic == "metrics":
            return any(item.last.get(topic, 0) > self._through.get(topic, item.stamp.seq) for topic in self.followed)
        return item.topic in self.followed and item.stamp.prev > self._through.get(item.topic, item.stamp.seq)

    def take(self, item: Item, complete: Mapping[str, int] | None = None) -> list[Deliver | Report]:
        """Report what is missing before `item`, then deliver `item`, unless it came before.

        `complete` has for each topic a `seq` up to which messages may be missing though `item` does not show it.
        """
        topic, stamp = item.topic, item.stamp
        if not stamp.seq:
            return [Deliver(topic, item.body)] if self._wants(topic) else []
        through = self._through.get(topic)
        if through is not None and stamp.seq <= through:
            return []
        actions: list[Deliver | Report] = []
        if through is not None and TOPICS.get(topic, _UNKNOWN).counts:
            lost = stamp.prev or min((complete or {}).get(topic, 0), stamp.seq - 1)
            actions += self.lose(topic, lost)
        if topic == "metrics":
            for other, last in item.last.items():
                actions += self.lose(other, last) if other in self.followed else []
            # Metrics know their own supervisor's messages only. The last messages of the previous supervisor may still
            # be missing: during a merge, and for ever where the engine cannot be asked.
            if self._can_fill and complete is None:
                self.caught_up(stamp.seq)
            else:
                self.adopt(stamp.seq)
        self._through[topic] = stamp.seq
        if self._wants(topic):
            actions.append(Deliver(topic, item.body))
        return actions

    def lose(self, topic: str, last: int) -> list[Deliver | Report]:
        """Report the missing messages of `topic` up to `last`, which will not come any more."""
        through = self._through.get(topic)
        if through is None or last <= through:
            return []
        self._through[topic] = last
        hole = Hole(topic=topic, run=self.run, first_seq=through + 1, last_seq=last)
        return [Report(hole)] if self._wants(topic) else []

    def caught_up(self, seq: int) -> None:
        """Note that no followed topic misses anything up to `seq`."""
        for topic in self.followed:
            self._through[topic] = max(seq, self._through.get(topic, 0))

    def lose_the_end(self) -> list[Deliver | Report]:
        """Report that messages may be missing at the end of the run, or of its supervisor."""
        return [
            Report(Hole(topic=topic, run=self.run, first_seq=self._through[topic] + 1))
            for topic in self.followed
            if topic in self._through
        ]


class End:
    """Whether the last messages of a supervisor were heard: a status and metrics, in either order.

    They show that nothing before them is missing.
    """

    def __init__(self) -> None:
        self._status = self._metrics = 0

    def note(self, item: Item) -> None:
        """Note that `item` was delivered."""
        if item.topic == "metrics":
            self._metrics = item.stamp.seq
        elif item.state in OVER:
            self._status = item.stamp.seq

    @property
    def was_heard(self) -> bool:
        """Whether both were heard."""
        return bool(self._status) and self._metrics >= self._status - 1
