"""How often the end of a file is sent again to a recogniser that never confirms it. Pure."""

MOST_TRIES = 3


class Ends:
    """Counts the tries that brought nothing: each replays audio, which may be billed."""

    def __init__(self) -> None:
        self._tries = 0
        self._acknowledged = -1

    @property
    def may_try_again(self) -> bool:
        """Whether another try is worth it."""
        return self._tries < MOST_TRIES

    def sent(self, acknowledged: int) -> None:
        """The end went out once more; with `acknowledged` moved since, the recogniser is merely slow."""
        self._tries = self._tries + 1 if acknowledged == self._acknowledged else 1
        self._acknowledged = acknowledged
