"""What a subscriber is handed, and what it knows of a run: up to which `seq` of each topic all is dealt with. Pure.

Finals, gaps, errors and the service's notes count one by one: what is missing is told as a `Hole`. Of interims, status,
level and metrics each replaces the one before it, so that the next one heals a loss.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from mpengine.shared.messages import KEPT, OVER, TOPICS, UNREADABLE, Published, Stamp, Topic, read_stamp

_UNKNOWN = Topic()
HOLE = "hole"
"""The topic of a loss. No engine publishes it."""


class Hole(msgspec.Struct, tag_field="type", tag="hole", frozen=True, kw_only=True):
    """Messages of `topic` were missed and cannot be had any more: some of those from `first_seq` to `last_seq`.

    `last_seq` is None when nobody can say: the run, or its supervisor, was over before its end was heard.
    """

    topic: str
    run: str
    first_seq: int
    last_seq: int | None = None


class Received(NamedTuple):
    """A message of `topic` (without the engine's name) as it came; or a loss, which alone has a `hole`."""

    name: str
    topic: str
    body: bytes
    hole: Hole | None = None

    @property
    def message(self) -> Published | Hole | None:
        """What it means; None for a type that this version does not know, and for what is no message at all."""
        return self.hole or decode(self.body)


def loss(name: str, hole: Hole) -> Received:
    """A loss, which has JSON of its own too."""
    return Received(name, HOLE, msgspec.json.encode(hole), hole)


def decode(body: bytes) -> Published | None:
    """The message in `body`; None for one of a type that this version does not know, and for what is none at all."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None


class Deliver(NamedTuple):
    """Hand a message to the user."""

    topic: str
    body: bytes


class Tell(NamedTuple):
    """Tell the user of a loss."""

    hole: Hole


class _Metrics(msgspec.Struct):
    last: dict[str, int] = {}


class _Status(msgspec.Struct):
    state: str = ""


class Item(NamedTuple):
    """A message, and what counts of it here. `last` is that of metrics, without the engine's name."""

    topic: str
    body: bytes
    stamp: Stamp
    last: Mapping[str, int] = {}
    state: str = ""


_decoder: msgspec.json.Decoder[Published] = msgspec.json.Decoder(Published)
_read_metrics = msgspec.json.Decoder(_Metrics).decode
_read_status = msgspec.json.Decoder(_Status).decode


def read(topic: str, body: bytes) -> Item:
    """What is no message has an empty stamp; it is handed on as it came."""
    try:
        stamp = read_stamp(body)
        if topic == "metrics":
            last = {key.partition(".")[2]: seq for key, seq in _read_metrics(body).last.items()}
            return Item(topic, body, stamp, last=last)
        return Item(topic, body, stamp, state=_read_status(body).state if topic == "status" else "")
    except UNREADABLE:
        return Item(topic, body, Stamp())


def read_kept(body: bytes) -> Item:
    """A message out of a snapshot, where its topic is not written beside it."""
    item = read("", body)
    return item._replace(topic=item.stamp.topic)


class Known:
    """One run as far as it was heard."""

    def __init__(self, wants: Callable[[str], bool], *, can_fill: bool) -> None:
        """`wants` says of a topic whether the user does; `can_fill`, whether what is lost can be asked for."""
        self.run = ""
        self.followed = tuple(topic for topic in KEPT if wants(topic))
        self._wants = wants
        self._can_fill = can_fill
        self._through: dict[str, int] = {}  # of a topic that is missing, the next message is the first

    def begin(self, run: str, through: int | None) -> None:
        """From now on `run`; everything up to `through` is known, or is none of our business if it is None."""
        self.run = run
        self._through = {} if through is None else dict.fromkeys(self.followed, through)

    def adopt(self, seq: int) -> None:
        """What is up to `seq` and was not followed yet is none of our business."""
        for topic in self.followed:
            self._through.setdefault(topic, seq)

    def is_beyond(self, seq: int) -> bool:
        """Whether more is known than there can be where `seq` is the last one."""
        return any(through > seq for through in self._through.values())

    @property
    def since(self) -> int:
        """Up to here, nothing need be asked for."""
        return min((self._through.get(topic, 0) for topic in self.followed), default=0)

    def lacks(self, item: Item) -> bool:
        """Whether `item` shows that something before it is missing which can be asked for."""
        if item.topic == "metrics":
            return any(item.last.get(topic, 0) > self._through.get(topic, item.stamp.seq) for topic in self.followed)
        return item.topic in self.followed and item.stamp.prev > self._through.get(item.topic, item.stamp.seq)

    def take(self, item: Item, complete: Mapping[str, int] | None = None) -> list[Deliver | Tell]:
        """Hand `item` over, unless it came before, behind a word on what is missing.

        `complete`: up to there, of each topic, something may be missing though `item` does not show it.
        """
        topic, stamp = item.topic, item.stamp
        if not stamp.seq:
            return [Deliver(topic, item.body)] if self._wants(topic) else []
        through = self._through.get(topic)
        if through is not None and stamp.seq <= through:
            return []
        actions: list[Deliver | Tell] = []
        if through is not None and TOPICS.get(topic, _UNKNOWN).counts:
            lost = stamp.prev or min((complete or {}).get(topic, 0), stamp.seq - 1)
            actions += self.lose(topic, lost)
        if topic == "metrics":
            for other, last in item.last.items():
                actions += self.lose(other, last) if other in self.followed else []
            # They speak for their supervisor alone. What the one before it said last may still be missing: in a merge,
            # and for ever where nothing can be asked for.
            if self._can_fill and complete is None:
                self.caught_up(stamp.seq)
            else:
                self.adopt(stamp.seq)
        self._through[topic] = stamp.seq
        if self._wants(topic):
            actions.append(Deliver(topic, item.body))
        return actions

    def lose(self, topic: str, last: int) -> list[Deliver | Tell]:
        """What is not known of `topic` up to `last` will not come any more."""
        through = self._through.get(topic)
        if through is None or last <= through:
            return []
        self._through[topic] = last
        hole = Hole(topic=topic, run=self.run, first_seq=through + 1, last_seq=last)
        return [Tell(hole)] if self._wants(topic) else []

    def caught_up(self, seq: int) -> None:
        """Of all that is followed, nothing is missing up to `seq`."""
        for topic in self.followed:
            self._through[topic] = max(seq, self._through.get(topic, 0))

    def lose_the_end(self) -> list[Deliver | Tell]:
        """The run is over, or its supervisor, and nobody knows what else there was."""
        return [
            Tell(Hole(topic=topic, run=self.run, first_seq=self._through[topic] + 1))
            for topic in self.followed
            if topic in self._through
        ]


class End:
    """Whether the last word of a supervisor was heard, and with it that nothing before it is missing.

    It ends with its status and with metrics, in one order or the other.
    """

    def __init__(self) -> None:
        self._status = self._metrics = 0

    def note(self, item: Item) -> None:
        """`item` was handed over."""
        if item.topic == "metrics":
            self._metrics = item.stamp.seq
        elif item.state in OVER:
            self._status = item.stamp.seq

    @property
    def was_heard(self) -> bool:
        """Whether nothing can have followed."""
        return bool(self._status) and self._metrics >= self._status - 1
