"""Failed attempts in a row, and how long to wait before the next one. Pure."""

from collections.abc import Callable

from mpengine.shared.backoff import full_jitter_s

_BASE_S, _CEILING_S = 0.5, 10.0
_SLOW_BASE_S, _SLOW_CEILING_S = 2.0, 30.0


class Outage:
    """Counts what failed since the recogniser last worked. `chance` gives random numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.failures = 0

    def over(self) -> None:
        """The recogniser has worked."""
        self.failures = 0

    def failed(self, *, slow: bool) -> float:
        """Another attempt failed; seconds until the next. `slow`: the service asks for patience."""
        self.failures += 1
        base_s, ceiling_s = (_SLOW_BASE_S, _SLOW_CEILING_S) if slow else (_BASE_S, _CEILING_S)
        return full_jitter_s(self.failures, base_s=base_s, ceiling_s=ceiling_s, chance=self._chance())
