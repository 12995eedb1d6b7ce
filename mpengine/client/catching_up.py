"""One round of catching up: what waits for it, what it has found, and how long it may take. Pure."""

from mpengine.client.position import Item

# How long messages are held back, and how many, for what was lost before them.
_HOLD_LIMIT_S = 10.0
_MOST_HELD = 10_000
# An engine that publishes but does not answer is asked again.
_ASK_AGAIN_S = 1.0
_FOREVER = float("inf")


class Round:
    """Begins with a sync; once that is answered a snapshot is asked for, page by page.

    It can be begun again with what it holds back, which does not make its time any longer.
    """

    def __init__(self, number: int) -> None:
        """`number`: that of the sync."""
        self.held: list[Item] = []
        self._give_up_at = _FOREVER
        self.begin_again(number)

    def begin_again(self, number: int) -> None:
        """With another sync; answers to what was asked before count no more."""
        self.number = number
        self.found: list[Item] = []
        # Behind which `seq` the snapshot, or its next page, was asked for.
        self.since: int | None = None
        self._ask_again_at = _FOREVER

    def ask(self, number: int, since: int) -> None:
        """The question with `number` goes out."""
        self.number, self.since = number, since
        self._ask_again_at = _FOREVER

    def hold(self, item: Item) -> bool:
        """Hold `item` back; False when these are more than may be held."""
        self.held.append(item)
        return len(self.held) < _MOST_HELD

    # Time. It counts from the first `wait` on: only there is known that nothing else has come. And it counts only while
    # something is held back, by which the engine is seen to live.

    def wait(self, now: float) -> None:
        """All that has come was dealt with."""
        if self.held:
            self._give_up_at = min(self._give_up_at, now + _HOLD_LIMIT_S)
            self._ask_again_at = min(self._ask_again_at, now + _ASK_AGAIN_S)

    @property
    def deadline(self) -> float:
        """When it takes too long, or the engine for its answer."""
        return min(self._give_up_at, self._ask_again_at)

    def takes_too_long(self, now: float) -> bool:
        """Whether it is to be given up."""
        return now >= self._give_up_at

    def is_unanswered(self, now: float) -> bool:
        """Whether it is to be begun again."""
        return now >= self._ask_again_at

    def all_in_order(self) -> list[Item]:
        """What was held and what was found; what has no number keeps its place."""
        placed = [(item.stamp.seq, item) for item in self.found if item.stamp.seq]
        place = 0
        for item in self.held:
            place = item.stamp.seq or place
            placed.append((place, item))
        return [item for _, item in sorted(placed, key=lambda pair: pair[0])]
