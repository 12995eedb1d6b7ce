"""When a microphone is read next. Pure.

Each read costs a wake-up, whatever it brings. So reads are close together only where the time matters: for a moment
after an opening, when the length of the gap is decided, and while somebody speaks.
"""

from mpengine.capture.cutting import LOOKS
from mpengine.capture.ear import LOWEST_FLOOR_DB, Ear, samples_of

_FAST_S = 0.003
# A device that hands over a lot at once, and seldom, gets no more fast reads than these.
_MOST_FAST_LOOKS = 200
_SPEAKING_S = 0.04
# So long after the last loud block the room is quiet.
_HOLD_S = 2.0
_EVERY = 5  # of so many samples one is listened to, those of all channels together
# The buffer must have room for two late reads.
_SHARE_OF_BUFFER = 1 / 3
# What a card has ready moves once a period. Now and then reads are fast until it moves, and the later ones follow that:
# otherwise all of them might come long after it, and the time of samples would be as wrong.
_FOLLOWS_EVERY_S = 8.0
# A read that brings more than its step and these is late.
_LATE_FACTOR, _LATE_S = 1.5, 0.05
# A read leaves no more than this over, which waits for the next one to fill a block. Then reads follow the device.
_REMAINDER_S = 0.003
_AIM_S = 0.001


class Pace:
    """How far apart the reads are. It begins with the fast ones."""

    def __init__(self, *, block_s: float, quiet_s: float, buffer_s: float) -> None:
        """`buffer_s` is the length of the device's buffer."""
        most_s = buffer_s * _SHARE_OF_BUFFER
        # With short blocks the delay matters more than the cost.
        self._speaking_s = min(max(block_s, min(2 * block_s, _SPEAKING_S)), most_s)
        self._quiet_s = max(self._speaking_s, min(quiet_s, most_s))
        self._block_s = block_s
        self._fast_left = self._empty_looks = 0
        self._moves_by_steps = False
        self._follows_in_s = _FOLLOWS_EVERY_S
        self._awaits_step = False  # reads are fast until what is ready moves
        self._loud_for_s = _HOLD_S
        # The first loud block counts after digital silence, too. The gate has a pre-roll for that.
        self._ear = Ear(silent_db=LOWEST_FLOOR_DB)
        self.hurry()

    def hurry(self) -> None:
        """Samples were lost, or may have been: how many is decided with the next reads."""
        self._fast_left, self._empty_looks = LOOKS, 0
        self._most_fast_left = _MOST_FAST_LOOKS

    @property
    def step_s(self) -> float:
        """Seconds from one read to the next."""
        if self._fast_left > 0 or self._awaits_step:
            return _FAST_S
        return self._speaking_s if self._loud_for_s > 0 else self._quiet_s

    @property
    def most_s(self) -> float:
        """The longest audio that a read brings, unless it was late or the device has a backlog."""
        return self.step_s * _LATE_FACTOR + _LATE_S

    def first_step_s(self, remainder_s: float) -> float:
        """Seconds to the next read, after which the reads are `step_s` apart; `remainder_s` waits to fill a block.

        Where this is less than `step_s`, the reads move to where whole blocks are ready.
        """
        step_s = self.step_s
        if step_s == _FAST_S or remainder_s <= _REMAINDER_S:
            return step_s
        return max(_FAST_S, step_s - remainder_s + _AIM_S)

    def has_looked(self, *, has_come: bool) -> None:
        """A read brought samples, or nothing."""
        if self._fast_left > 0:
            self._most_fast_left -= 1
            self._fast_left = self._fast_left - has_come if self._most_fast_left else 0
            self._empty_looks += not has_come
            self._moves_by_steps = self._empty_looks >= LOOKS
            self._awaits_step = False
        elif self._awaits_step:
            self._empty_looks += not has_come
            self._awaits_step = not (has_come and self._empty_looks)
        elif self._moves_by_steps:
            self._follows_in_s -= self.step_s
            if self._follows_in_s <= 0:
                self._follows_in_s, self._awaits_step, self._empty_looks = _FOLLOWS_EVERY_S, True, 0

    def heard(self, pcm: bytes) -> None:
        """A block has come."""
        values = samples_of(pcm)[::_EVERY].tolist()
        is_loud = bool(values) and self._ear.is_loud(values, self._block_s)
        self._loud_for_s = _HOLD_S if is_loud else self._loud_for_s - self._block_s
