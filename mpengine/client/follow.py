"""Following one engine over losses, reconnects and restarts: what to deliver, to ask for, and to report. Pure.

A subscriber listens on one socket and asks on another. To miss nothing between the two, it waits for the answer to a
`sync` subscription (then all earlier subscriptions are live), then asks for a snapshot, holds back messages that are
published meanwhile, and merges both by `seq`. That is one round of filling. A round begins at the start, at every
reconnect, whenever `boot` has changed, and whenever `prev`, or `last` in the metrics, shows a loss.

    waiting ──engine heard──> synced ──asked──> answered, page by page ──> live
                                ^                                           │
                                └─────── reconnect, other boot, loss ───────┘

An engine answers a new subscription with its last status, and repeats open interims, with their old `seq`: within a
topic messages come in order, across topics they need not.

Every message that can be had comes once and in order; the others are reported as holes. A round that does not end in
time is given up. Only `tick` decides that, after all that has come was handed in: the answer may be waiting there.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from mpengine.client.position import Deliver, End, Item, Known, Report, read, read_kept
from mpengine.shared.deciding import NEVER
from mpengine.shared.messages import OVER, SnapshotAnswer

# How long messages are held back, and how many, while earlier ones are missing.
_HOLD_LIMIT_S = 10.0
_MOST_HELD = 10_000
# An engine that publishes but does not answer is asked again.
_ASK_AGAIN_S = 1.0
# The time between two looks counts as this long at most. So limits are as long for a program that looks with every
# frame of its screen as for one that waits inside a look; and a program that seldom looks gets as many looks.
_LONGEST_ABSENCE_S = 0.1
# A snapshot has the last message of these topics, besides all kept ones.
_LAST_IN_SNAPSHOT = ("status", "transcript.interim")

Since = tuple[str, int] | int | Literal["start"] | None


class Round:
    """One round of filling: the messages that it holds back, those that it has found, and its time limits.

    A round begins with a sync. After its answer a snapshot is asked for, page by page. A round can begin again: it
    keeps the messages that it holds back, and gets no more time.
    """

    def __init__(self, number: int) -> None:
        """`number` is that of the sync."""
        self.held: list[Item] = []
        self._give_up_at = NEVER
        self.begin_again(number)

    def begin_again(self, number: int) -> None:
        """Begin again with the sync `number`. Answers to earlier questions no longer count."""
        self.number = number
        self.found: list[Item] = []
        self.since: int | None = None  # the snapshot, or its next page, was asked for after this `seq`
        self._ask_again_at = NEVER

    def ask(self, number: int, since: int) -> None:
        """Note that the question with `number` goes out."""
        self.number, self.since = number, since
        self._ask_again_at = NEVER

    def hold(self, item: Item) -> bool:
        """Hold `item` back; False when the limit is reached."""
        self.held.append(item)
        return len(self.held) < _MOST_HELD

    # Time counts from the first `wait` on, when all that has come was handed in. It counts only while messages are held
    # back, because these show that the engine lives.

    def wait(self, now: float) -> None:
        """Note that all that has come was handed in."""
        if self.held:
            self._give_up_at = min(self._give_up_at, now + _HOLD_LIMIT_S)
            self._ask_again_at = min(self._ask_again_at, now + _ASK_AGAIN_S)

    @property
    def deadline(self) -> float:
        """The time at which the round is given up or begins again."""
        return min(self._give_up_at, self._ask_again_at)

    def takes_too_long(self, now: float) -> bool:
        """Whether the round must be given up."""
        return now >= self._give_up_at

    def is_unanswered(self, now: float) -> bool:
        """Whether the round must begin again."""
        return now >= self._ask_again_at

    def has_ended(self, boot: str) -> bool:
        """Whether the last status of `boot` is held back: then that engine does not answer any more."""
        return any(item.state in OVER and item.stamp.boot == boot for item in self.held)

    def all_in_order(self) -> list[Item]:
        """The held and the found messages by `seq`; a message without one keeps its place."""
        placed = [(item.stamp.seq, item) for item in self.found if item.stamp.seq]
        place = 0
        for item in self.held:
            place = item.stamp.seq or place
            placed.append((place, item))
        return [item for _, item in sorted(placed, key=lambda pair: pair[0])]


class Sync(NamedTuple):
    """Subscribe to the sync topic with this number, instead of the previous one."""

    number: int


class Ask(NamedTuple):
    """Ask for a snapshot after the message `since`. The answer must carry `number`."""

    number: int
    since: int


Action = Deliver | Report | Sync | Ask


class Follower:
    """Takes an engine's published messages and answers. Each method returns the actions to perform, in order."""

    def __init__(self, *, wants: Callable[[str], bool], since: Since, can_ask: bool) -> None:
        """`wants` says whether the user wants a topic, given without the engine's name.

        Without `can_ask` the engine is not asked for lost messages: they are only reported.
        """
        self._known = Known(wants, can_fill=can_ask)
        self._since = since
        self._asks = can_ask and (bool(self._known.followed) or any(map(wants, _LAST_IN_SNAPSHOT)))
        self._waits = self._asks and since is not None
        self._boot = ""
        self._began: int | None = None  # the last `seq` before this boot, if known
        self._number = 0
        self._round: Round | None = None
        # Whether messages may be missing that neither `prev` nor `last` shows: at the start, and after another boot.
        self._is_uncertain = False
        self._end = End()

    @property
    def asks(self) -> bool:
        """Whether the follower needs metrics, and `synced` with number 0 at every reconnect."""
        return self._asks

    @property
    def is_live(self) -> bool:
        """Whether published messages are delivered at once."""
        return self._round is None and not self._waits

    @property
    def deadline(self) -> float:
        """The time of the next `tick`."""
        return NEVER if self._round is None else self._round.deadline

    def tick(self, now: float) -> list[Action]:
        """Repeat an unanswered question, or give up a round that takes too long. Call it with nothing left to take."""
        if self._round is None:
            return []
        is_unanswered = self._round.is_unanswered(now)
        if self._round.takes_too_long(now) or (is_unanswered and self._round.has_ended(self._boot)):
            return self._give_up()
        actions = self._fill() if is_unanswered else []
        self._round.wait(now)
        return actions

    def heard(self, topic: str, body: bytes) -> list[Action]:
        """Take a published message."""
        item = read(topic, body)
        if not item.stamp.seq:
            return self._hold(item, self._round) if self._round and self._round.held else [*self._known.take(item)]
        actions = self._meet(item.stamp.run, item.stamp.boot, None, is_status=topic == "status")
        if self._waits or (self._asks and self._round is None and self._known.lacks(item)):
            actions += self._fill()
        if self._round is None or not self._known.followed:  # without followed topics nothing can be missing
            return actions + self._take(item)
        return actions + self._hold(item, self._round)

    def synced(self, number: int, run: str, boot: str, seq: int, began: int | None = None) -> list[Action]:
        """Take the answer to the sync subscription `number`. Number 0 is answered at every reconnect.

        `seq`, `began`: the last one used by this supervisor, and by the one before it in this run.
        """
        actions = self._meet(run, boot, seq)
        self._began = began
        if number == 0:
            return actions if Sync(self._number) in actions else actions + self._fill()
        if self._round is None or number != self._round.number or self._round.since is not None:
            return actions
        # `seq` is the last one in use. All that was known before the sync went out must be at or before it.
        if self._known.is_beyond(seq):
            self._known.begin(run, 0)
        self._known.adopt(seq)
        return [*actions, self._ask(self._round, self._known.since if self._known.followed else seq)]

    def answered(self, number: int, answer: SnapshotAnswer | None) -> list[Action]:
        """Take a snapshot, or one of its pages; None for an answer that is no snapshot."""
        if self._round is None or number != self._round.number or self._round.since is None:
            return []
        if answer is None:
            return self._give_up()
        if (answer.run, answer.boot) != (self._known.run, self._boot):
            return []  # from an engine that was not heard yet: its messages will come, or it is asked again
        found = self._round.found
        found += (read_kept(bytes(body)) for body in answer.messages)
        last = max((item.stamp.seq for item in found), default=0)
        if answer.more and last > self._round.since:
            return [self._ask(self._round, last)]
        found.append(read("status", bytes(answer.status)))
        found += (read("transcript.interim", bytes(interim)) for interim in answer.interims or [answer.interim])
        return self._merge(answer)

    # Which engine

    def _meet(self, run: str, boot: str, through: int | None, *, is_status: bool = False) -> list[Action]:
        """Note the `run` and `boot` of a message. `through`: the engine's last `seq`, if known.

        A status may be an answer to our subscriptions: the answer to the sync with number 0 comes next.
        """
        if run == self._known.run and boot == self._boot:
            return []
        actions: list[Action] = []
        if not self._known.run:
            actions += self._begin(run, through)
        elif run != self._known.run:
            actions += [] if self._round is None else self._give_up()
            actions += [] if self._end.was_heard else self._known.lose_the_end()
            self._known.begin(run, 0)
            self._is_uncertain = True
        else:
            actions += [] if self._asks or self._end.was_heard else self._known.lose_the_end()
            self._is_uncertain = True
        is_first, self._boot = not self._boot, boot
        self._began, self._end = None, End()
        if self._asks and not (is_first and self.is_live):
            if is_status:
                self._begin_round(0)
            else:
                actions += self._fill()
        return actions

    def _begin(self, run: str, through: int | None) -> list[Action]:
        """Begin with the first run, at the position that `since` asks for. The next sync checks that position."""
        actions: list[Action] = []
        if isinstance(self._since, tuple):
            wanted, through = self._since
            if wanted != run:
                self._known.begin(wanted, through)
                actions += self._known.lose_the_end()
                through = 0
        elif isinstance(self._since, int):
            through = self._since
        elif self._since == "start":
            through = 0
        self._is_uncertain = self._since is not None
        self._known.begin(run, through if self._asks else None)
        return actions

    # Filling

    def _fill(self) -> list[Action]:
        """Begin a round, or begin it again, with a new sync."""
        self._number += 1
        self._begin_round(self._number)
        return [Sync(self._number)]

    def _begin_round(self, number: int) -> None:
        self._waits = False
        if self._round is None:
            self._round = Round(number)
        else:
            self._round.begin_again(number)

    def _ask(self, filling: Round, since: int) -> Ask:
        self._number += 1
        filling.ask(self._number, since)
        return Ask(self._number, since)

    def _hold(self, item: Item, filling: Round) -> list[Action]:
        return [] if filling.hold(item) else self._give_up()

    def _merge(self, answer: SnapshotAnswer) -> list[Action]:
        """Deliver all messages in order. Where one shows another loss after the answer, a new round begins there."""
        items = self._release()
        actions: list[Action] = []
        is_after = False  # whether all messages of the answer are delivered
        for number, item in enumerate(items):
            if item.stamp.seq > answer.seq and not is_after:
                is_after = True
                actions += self._settle(answer)
            if is_after and self._known.lacks(item):
                actions += self._fill()
                for rest in items[number:]:
                    actions += self._hold(rest, self._round) if self._round else self._take(rest)
                return actions
            actions += self._take(item, answer.complete)
        return actions if is_after else actions + self._settle(answer)

    def _settle(self, answer: SnapshotAnswer) -> list[Action]:
        actions: list[Action] = []
        for topic in self._known.followed:
            actions += self._known.lose(topic, answer.complete.get(topic, 0))
        self._known.caught_up(answer.seq)
        self._is_uncertain = False
        return actions

    def _give_up(self) -> list[Action]:
        """Deliver what is there, and report what may be missing: no more can be had."""
        is_uncertain, self._is_uncertain = self._is_uncertain, False
        items = self._release()
        complete: dict[str, int] = {}
        if is_uncertain:
            highest = max((item.stamp.seq for item in items), default=0)
            for topic in self._known.followed:
                is_shown = any(item.stamp.boot == self._boot and item.topic in {topic, "metrics"} for item in items)
                if is_shown and self._began is not None:  # `prev` and `last` show what this boot has lost
                    complete[topic] = self._began
                    continue
                same = [item.stamp for item in items if item.topic == topic]
                first_of_boot = max((stamp.seq - 1 for stamp in same if not stamp.prev), default=0)
                complete[topic] = first_of_boot if same else highest
        actions: list[Action] = []
        for item in items:
            actions += self._take(item, complete)
        for topic, seq in complete.items():
            actions += self._known.lose(topic, seq)
        return actions

    def _release(self) -> list[Item]:
        """End the round; returns its messages in order."""
        ended, self._round = self._round, None
        return [] if ended is None else ended.all_in_order()

    def _take(self, item: Item, complete: Mapping[str, int] | None = None) -> list[Action]:
        self._end.note(item)
        return [*self._known.take(item, complete)]


class LookClock:
    """A clock that nearly stands still between looks: messages that came meanwhile are not late.

    `now` is monotonic time. Limits are measured in the `waited` time of this clock.
    """

    def __init__(self, now: float) -> None:
        self._left_at = now
        self._missed_s = 0.0

    def back(self, now: float) -> None:
        """Note that a look begins."""
        self._missed_s += max(0.0, now - self._left_at - _LONGEST_ABSENCE_S)
        self._left_at = now

    def leave(self, now: float) -> None:
        """Note that a look is over."""
        self._left_at = now

    def waited(self, now: float) -> float:
        """Monotonic time to the time of this clock."""
        return now - self._missed_s

    def clock(self, waited: float) -> float:
        """The time of this clock to monotonic time, if the look goes on until then."""
        return waited + self._missed_s
