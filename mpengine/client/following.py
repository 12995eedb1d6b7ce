"""Following one engine over losses, reconnects and restarts: what to hand over, what to ask for, what to tell. Pure.

A subscriber listens on one socket and asks on another, and between the two things get lost, unless: it waits for the
answer to a `sync` subscription (then all earlier subscriptions are live), only then asks for a snapshot, holds back
what is published meanwhile, and merges both by `seq`. That is one round of catching up. There is one at the start, at
every reconnect, whenever `boot` has changed, and whenever `prev`, or `last` in the metrics, shows a loss.

    WAITING ──engine heard──> SYNCING ──sync answered──> ASKING ──last page──> LIVE
                                 ^                                               │
                                 └──────── reconnect, other boot, loss ──────────┘

What can be had comes once and in order; what cannot is told. A round that does not end in time is given up.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from mpengine.client.known import Deliver, End, Item, Known, Tell, read, read_kept
from mpengine.shared.snapshot import SnapshotAnswer

# How long messages are held back, and how many, for what was lost before them.
_HOLD_LIMIT_S = 10.0
_MOST_HELD = 10_000
# An engine that publishes but does not answer is asked again.
_ASK_AGAIN_S = 1.0
_FOREVER = float("inf")

Since = tuple[str, int] | int | Literal["start"] | None


class Sync(NamedTuple):
    """Subscribe to the sync topic with this number, instead of the one before."""

    number: int


class Ask(NamedTuple):
    """Ask for a snapshot; the answer shall come back with `number`."""

    number: int
    since: int


Action = Deliver | Tell | Sync | Ask


class Phase(enum.Enum):
    """See above."""

    WAITING = enum.auto()
    SYNCING = enum.auto()
    ASKING = enum.auto()
    LIVE = enum.auto()


class Follower:
    """Takes what an engine publishes and answers, and says what is to be done about it, in order."""

    def __init__(self, *, wants: Callable[[str], bool], since: Since, can_ask: bool) -> None:
        """`wants`: of which topics (without the engine's name). Without `can_ask` what is lost is only told."""
        self._known = Known(wants)
        self._since = since
        self._can_ask = can_ask and bool(self._known.followed)
        self.phase = Phase.WAITING if self._can_ask and since is not None else Phase.LIVE
        self._boot = ""
        self._number = self._asked_since = 0
        self._ask_again_at = _FOREVER
        self._held: list[Item] = []
        self._found: list[Item] = []
        self._hold_until = _FOREVER
        # Whether messages may be missing that neither `prev` nor `last` would show: at the start, and of another boot.
        self._is_uncertain = False
        self._end = End()

    @property
    def asks(self) -> bool:
        """Whether it is to hear of every reconnect (`synced` with number 0), and of metrics."""
        return self._can_ask

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        return self._hold_until

    def tick(self, now: float) -> list[Action]:
        """Give up a round that takes too long."""
        return self._give_up() if now >= self._hold_until else []

    def heard(self, topic: str, body: bytes, now: float) -> list[Action]:
        """A message was published."""
        item = read(topic, body)
        if not item.stamp.seq:
            return self._hold(item, now) if self._held else [*self._known.take(item)]
        actions = self._meet(item.stamp.run, item.stamp.boot, None, item.stamp.seq, now)
        if self.phase is Phase.WAITING or (self.phase is not Phase.LIVE and now >= self._ask_again_at):
            actions += self._sync(now)
        if self.phase is not Phase.LIVE:
            return actions + self._hold(item, now)
        if self._can_ask and self._known.lacks(item):
            return actions + self._sync(now) + self._hold(item, now)
        return actions + self._take(item)

    def synced(self, number: int, run: str, boot: str, seq: int, now: float) -> list[Action]:
        """The sync subscription with `number` was answered; number 0 is the one that tells of every reconnect."""
        actions = self._meet(run, boot, seq, seq, now)
        if number == 0:
            return actions if Sync(self._number) in actions else actions + self._sync(now)
        if number != self._number or self.phase is not Phase.SYNCING:
            return actions
        self._known.adopt(seq)
        self.phase = Phase.ASKING
        return [*actions, self._ask(self._known.since, now)]

    def answered(self, number: int, answer: SnapshotAnswer | None, now: float) -> list[Action]:
        """A snapshot came; None for an answer that is none."""
        if number != self._number or self.phase is not Phase.ASKING:
            return []
        if answer is None:
            return self._give_up()
        if (answer.run, answer.boot) != (self._known.run, self._boot):
            return []  # of an engine that was not heard yet: it will be, or is asked again
        self._found += (read_kept(bytes(body)) for body in answer.messages)
        last = max((item.stamp.seq for item in self._found), default=0)
        if answer.more and last > self._asked_since:
            return [self._ask(last, now)]
        self._found += (read("status", bytes(answer.status)), read("transcript.interim", bytes(answer.interim)))
        return self._merge(answer, now)

    # Which engine

    def _meet(self, run: str, boot: str, through: int | None, seq: int, now: float) -> list[Action]:
        """Something of `run` and `boot` was heard, at `seq`; is it the engine that was heard before?"""
        if run == self._known.run and boot == self._boot:
            return []
        actions: list[Action] = []
        if not self._known.run:
            actions += self._begin(run, through, seq)
        elif run != self._known.run:
            if self._held or self._found:
                self._is_uncertain = False  # the end of the run is told below in any case
                actions += self._give_up()
            actions += [] if self._end.was_heard else self._known.lose_the_end()
            self._known.begin(run, 0)
            self._is_uncertain = True
        else:
            self._is_uncertain = True
        is_first, self._boot = not self._boot, boot
        self._end = End()
        if self._can_ask and not (is_first and self.phase is Phase.LIVE):
            actions += self._sync(now)
        return actions

    def _begin(self, run: str, through: int | None, seq: int) -> list[Action]:
        """The first run that is heard of: from where on does it count?"""
        actions: list[Action] = []
        if isinstance(self._since, tuple):
            wanted, through = self._since
            if wanted != run:
                self._known.begin(wanted, through)
                actions += self._known.lose_the_end()
                through = 0
        elif isinstance(self._since, int):
            through = self._since if self._since <= seq else 0
        elif self._since == "start":
            through = 0
        self._is_uncertain = self._since is not None
        self._known.begin(run, through if self._can_ask else None)
        return actions

    # Catching up

    def _sync(self, now: float) -> list[Action]:
        self.phase = Phase.SYNCING
        self._found = []
        self._number += 1
        self._ask_again_at = now + _ASK_AGAIN_S
        return [Sync(self._number)]

    def _ask(self, since: int, now: float) -> Ask:
        self._number += 1
        self._asked_since = since
        self._ask_again_at = now + _ASK_AGAIN_S
        return Ask(self._number, since)

    def _hold(self, item: Item, now: float) -> list[Action]:
        if not self._held:
            self._hold_until = now + _HOLD_LIMIT_S
        self._held.append(item)
        return self._give_up() if len(self._held) >= _MOST_HELD else []

    def _merge(self, answer: SnapshotAnswer, now: float) -> list[Action]:
        """All there is, in order. Where more was lost meanwhile, another round begins there."""
        items = self._release()
        actions: list[Action] = []
        is_behind = False  # what the answer holds is dealt with
        for number, item in enumerate(items):
            if item.stamp.seq > answer.seq and not is_behind:
                is_behind = True
                actions += self._settle(answer)
            if is_behind and self._known.lacks(item):
                actions += self._sync(now)
                for rest in items[number:]:
                    actions += self._hold(rest, now)
                return actions
            actions += self._take(item, answer.complete)
        return actions if is_behind else actions + self._settle(answer)

    def _settle(self, answer: SnapshotAnswer) -> list[Action]:
        actions: list[Action] = []
        for topic in self._known.followed:
            actions += self._lose(topic, answer.complete)
        self._known.caught_up(answer.seq)
        self._is_uncertain = False
        return actions

    def _lose(self, topic: str, complete: Mapping[str, int]) -> list[Deliver | Tell]:
        return self._known.lose(topic, complete.get(topic, 0))

    def _give_up(self) -> list[Action]:
        """Nothing more can be had: go on with what there is, and tell what may be missing."""
        is_uncertain, self._is_uncertain = self._is_uncertain, False
        items = self._release()
        complete: dict[str, int] = {}
        if is_uncertain:
            highest = max((item.stamp.seq for item in items), default=0)
            for topic in self._known.followed:
                same = [item.stamp for item in items if item.topic == topic]
                first_of_boot = max((stamp.seq - 1 for stamp in same if not stamp.prev), default=0)
                complete[topic] = first_of_boot if same else highest
        actions: list[Action] = []
        for item in items:
            actions += self._take(item, complete)
        for topic in complete:
            actions += self._lose(topic, complete)
        return actions

    def _release(self) -> list[Item]:
        """What was held and what was found, in order; what has no number keeps its place."""
        found = [(item.stamp.seq, item) for item in self._found if item.stamp.seq]
        place = 0
        for item in self._held:
            place = item.stamp.seq or place
            found.append((place, item))
        self._held, self._found = [], []
        self._hold_until = self._ask_again_at = _FOREVER
        self.phase = Phase.LIVE
        return [item for _, item in sorted(found, key=lambda pair: pair[0])]

    def _take(self, item: Item, complete: Mapping[str, int] | None = None) -> list[Action]:
        self._end.note(item)
        return [*self._known.take(item, complete)]
