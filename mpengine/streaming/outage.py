"""The outage: from a failed connection to the next final. Which failures end the engine, and how long to wait. Pure.

A refusal ends the process only while `refusals_end`: before the first result of the run, and where nobody asked the
engine to wait. The service's own word is enough for that. A bare refusal may come from somebody on the way, whom the
next try may not meet: it has to come three times in a row. Once there is a result, no answer of anybody ends anything.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

from mpengine.dialects.causes import Cause
from mpengine.shared.deciding import full_jitter_s

_ENOUGH = 3  # bare refusals with one code in a row
_LONGEST_WAIT_S = 300.0


class _Wait(enum.Enum):
    """The waits after failures of one kind: the base, which doubles with each failure, and the ceiling, in seconds."""

    LOST = (0.5, 10.0)
    SLOW = (2.0, 30.0)
    REFUSED = (1.0, _LONGEST_WAIT_S)


class Verdict(NamedTuple):
    """What follows from a failure. `is_news`: it is to be told as an error; otherwise it shows in the status alone."""

    ends: bool
    wait_s: float
    is_news: bool


class Outage:
    """Counts failed attempts since the last final. `chance` gives random numbers in [0, 1).

    An outage is one error, and one more where it turns into a refusal.
    """

    def __init__(self, chance: Callable[[], float], *, refusals_end: bool) -> None:
        self.awaits_result = True
        """Whether a result changes anything: `heard` is called for each one, and mostly there is nothing to do."""
        self._chance = chance
        self._refusals_end = refusals_end
        self._begin()

    def _begin(self) -> None:
        self._failures = dict.fromkeys(_Wait, 0)
        self._last_code, self._in_a_row = "", 0
        self._is_told = self._is_refusal_told = self._has_complained = False

    def heard(self, *, is_final: bool) -> None:
        """A result came. From now on no refusal ends the process; a final ends the outage."""
        self._refusals_end = False
        if is_final:
            self._begin()
            self.awaits_result = False

    def complains(self) -> bool:
        """The recogniser has sent an error. Returns whether to tell it: during an outage, only the first one."""
        is_news = not (self._has_complained and self._is_told)
        self._has_complained = self.awaits_result = True
        return is_news

    def renewed(self) -> None:
        """The secret is another one: the refusals before do not count."""
        self._failures[_Wait.REFUSED] = self._in_a_row = 0

    def failed(self, cause: Cause, *, is_young: bool = True, is_told: bool = False) -> Verdict:
        """An attempt has failed. `is_told`: the recogniser's own error about it has been told.

        `is_young`: the connection was not open for long. One that lived had been accepted, and was lost: gateways close
        idle connections with codes of refusals.
        """
        is_refusal = cause.exit_code is not None and is_young
        self._in_a_row = self._in_a_row + 1 if cause.code == self._last_code else 1
        self._last_code = cause.code if is_refusal else ""
        is_enough = cause.signed or self._in_a_row >= _ENOUGH
        is_news = not (is_told or (self._is_refusal_told if is_refusal else self._is_told))
        self._is_told = self.awaits_result = True
        self._is_refusal_told |= is_refusal
        wait = _Wait.REFUSED if is_refusal else _Wait.SLOW if cause.slow else _Wait.LOST
        self._failures[wait] += 1
        base_s, ceiling_s = wait.value
        # Three refusals at nearly the same moment would show nothing: somebody on the way may be being restarted.
        chance = (1 + self._chance()) / 2 if is_refusal else self._chance()
        wait_s = full_jitter_s(self._failures[wait], base_s=base_s, ceiling_s=ceiling_s, chance=chance)
        wait_s = max(wait_s, min(cause.retry_after_s, _LONGEST_WAIT_S))
        return Verdict(is_refusal and is_enough and self._refusals_end, wait_s, is_news)
