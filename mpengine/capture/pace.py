"""When a microphone is read next. Pure.

Each read costs a wake-up, whatever it brings. So reads are close together only where the time matters: for a moment
after an opening, when the length of the gap is decided, and while somebody speaks.
"""

from mpengine.capture.cutting import LOOKS
from mpengine.capture.ear import LOWEST_FLOOR_DB, Ear, samples_of

# No whole number of these makes a period of a card, so fast reads come at all distances from a period's end.
_FAST_S = 0.0029
# A device that hands over a lot at once, and seldom, gets no more fast reads than these.
_MOST_FAST_LOOKS = 200
_SPEAKING_S = 0.04
# So long after the last loud block the room is quiet.
_HOLD_S = 2.0
_EVERY = 5  # of so many samples one is listened to, those of all channels together
# The buffer must have room for two late reads.
_SHARE_OF_BUFFER = 1 / 3
# What a card has ready moves once a period, and a read tells the time only right after the end of one. So reads are
# whole periods apart, and come a little sooner each time, until one comes before the end and brings a period less: the
# one before came right after it. Then the reads move a little behind the end again.
_SOONER = 600e-6
_BEHIND_S = 0.001
_MOST_LOOKS_BEHIND = 5
_MISSES_EVERY_S = 1.0
# Shorter periods tell the time well enough. What comes without periods has no common part that is so long.
_SHORTEST_PERIOD_S = 0.005
_FEWEST_PERIODS = 3
# Where that has not been seen for so long, reads are fast until what is ready moves.
_FOLLOWS_EVERY_S = 8.0
# A read that brings more than its step and these is late.
_LATE_FACTOR, _LATE_S = 1.5, 0.05
# A read leaves no more than this over, which waits for the next one to fill a block. Then reads follow the device.
_REMAINDER_S = 0.003
_AIM_S = 0.001


class Pace:
    """How far apart the reads are. It begins with the fast ones."""

    def __init__(self, *, block_s: float, quiet_s: float, buffer_s: float, has_periods: bool = True) -> None:
        """`buffer_s` is the length of the device's buffer. `has_periods`: what is ready may move by periods."""
        most_s = buffer_s * _SHARE_OF_BUFFER
        # With short blocks the delay matters more than the cost.
        self._speaking_s = min(max(block_s, min(2 * block_s, _SPEAKING_S)), most_s)
        self._quiet_s = max(self._speaking_s, min(quiet_s, most_s))
        self._block_s = block_s
        self._most_s = most_s
        self._fast_left = self._empty_looks = 0
        self._has_periods = has_periods
        self._moves_by_steps = False
        self._period_s = 0.0  # of a card that moves by periods; 0 for all other sources
        self._brought_s: list[float] = []  # by the fast reads
        self._expected_s = 0.0  # what the next read brings of a card that moves by periods
        self._more_s = 0.0  # than expected, which the last one brought
        self._follows_in_s = _FOLLOWS_EVERY_S - _MISSES_EVERY_S
        self._looks_for_s = 0.0  # reads are so far apart until what is ready moves; 0: they do not wait for that
        self._loud_for_s = _HOLD_S
        # The first loud block counts after digital silence, too. The gate has a pre-roll for that.
        self._ear = Ear(silent_db=LOWEST_FLOOR_DB)
        self.hurry()

    def hurry(self) -> None:
        """Samples were lost, or may have been: how many is decided with the next reads."""
        self._fast_left, self._empty_looks = LOOKS, 0
        self._brought_s.clear()
        self._looks_for_s = 0.0
        self._most_fast_left = _MOST_FAST_LOOKS

    @property
    def step_s(self) -> float:
        """Seconds from one read to the next."""
        if self._fast_left > 0:
            return _FAST_S
        if self._looks_for_s:
            return self._looks_for_s
        return self._steady_s * (1 - _SOONER) if self._period_s else self._steady_s

    @property
    def most_s(self) -> float:
        """The longest audio that a read brings, unless it was late or the device has a backlog."""
        return self.step_s * _LATE_FACTOR + _LATE_S

    def first_step_s(self, remainder_s: float) -> float:
        """Seconds to the next read, after which the reads are `step_s` apart; `remainder_s` waits to fill a block.

        Where this is less than `step_s`, the reads move to where whole blocks are ready.
        """
        step_s = self.step_s
        if self._period_s or step_s == _FAST_S or remainder_s <= _REMAINDER_S:
            self._expected_s = self._steady_s
            return step_s
        return max(_FAST_S, step_s - remainder_s + _AIM_S)

    def has_looked(self, brought_s: float) -> None:
        """A read brought so much audio, or nothing."""
        if self._fast_left > 0:
            self._look_fast(brought_s)
        elif self._looks_for_s:
            self._look_for_the_end(brought_s)
        elif self._moves_by_steps:
            self._follows_in_s -= self._expected_s
            more_s, before_s = brought_s - self._expected_s, self._more_s
            self._more_s = more_s
            # After a late read, which brought a period more, a read with a period less came in time.
            is_missing = self._period_s and max(more_s, more_s + before_s) < -self._period_s / 2
            if is_missing and self._follows_in_s <= _FOLLOWS_EVERY_S - _MISSES_EVERY_S:
                self._looks_for_s, self._empty_looks, self._follows_in_s = _BEHIND_S, 1, _FOLLOWS_EVERY_S
            elif self._follows_in_s <= 0:
                self._looks_for_s, self._empty_looks = _FAST_S, 0
                self._follows_in_s = _FOLLOWS_EVERY_S - _MISSES_EVERY_S

    def _look_fast(self, brought_s: float) -> None:
        has_come = brought_s > 0
        self._most_fast_left -= 1
        self._fast_left = self._fast_left - has_come if self._most_fast_left else 0
        self._empty_looks += not has_come
        if has_come:
            self._brought_s.append(brought_s)
        if not self._fast_left:
            self._period_s = _period_s(self._brought_s[1:]) if self._has_periods else 0.0
            self._moves_by_steps = self._period_s > 0 or self._empty_looks >= LOOKS

    def _look_for_the_end(self, brought_s: float) -> None:
        """Reads are close together until one brings what was not there at the one before."""
        if brought_s > 0 and self._empty_looks:
            self._looks_for_s = 0.0
            return
        self._empty_looks += not brought_s
        if self._empty_looks > _MOST_LOOKS_BEHIND:
            self._looks_for_s = _FAST_S

    @property
    def _steady_s(self) -> float:
        """Seconds from one read to the next, where nothing is decided: whole periods, if they fit into the buffer."""
        step_s = self._speaking_s if self._loud_for_s > 0 else self._quiet_s
        if not 0 < self._period_s <= self._most_s:
            return step_s
        return self._period_s * max(1, min(round(step_s / self._period_s), int(self._most_s / self._period_s)))

    def heard(self, pcm: bytes) -> None:
        """A block has come."""
        values = samples_of(pcm)[::_EVERY].tolist()
        is_loud = bool(values) and self._ear.is_loud(values, self._block_s)
        self._loud_for_s = _HOLD_S if is_loud else self._loud_for_s - self._block_s


def _period_s(brought_s: list[float]) -> float:
    """The period of a card, by what came at once: always one period, or a few. 0 where it is something else."""
    if len(brought_s) < _FEWEST_PERIODS:
        return 0.0
    common_s = brought_s[0]
    for each in brought_s[1:]:
        rest_s = each
        while rest_s > _SHORTEST_PERIOD_S / 2:  # Euclid's algorithm, with rounded durations
            common_s, rest_s = rest_s, common_s % rest_s
    return common_s if common_s >= _SHORTEST_PERIOD_S else 0.0
